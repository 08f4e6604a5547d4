"""A folder may have any name: the database, its locks and its copies lie in it and nowhere else."""

import os
import sqlite3
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from subprocess import run

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from qcore.data_folder import data_folder
from qcore.errors import DatabaseUnavailable, InvalidParams
from qcore.run_spec import check_run
from store import all_runs, create_run, open_store
from store.__main__ import main
from store.database import connect, upgrade
from store.database.locations import SQLITE, database_url, shown_url, sqlite_file
from store.health import backup
from store.health.doctor import findings
from store.health.status import health
from store.runs import queue
from store.runs.checkpoints import FileCheckpoints
from store.runs.files import run_lock
from tests.store.fake import SPEC
from tests.variants import some

ODD = ["100% #1?", "a?mode=ro", "a#b", "%20", "a b ", " a", "it's \"so\"", "Ärger", "日本", "-dash",
       "back\\slash", "\\\\server\\share", "new\nline", "file:x", "sqlite:", "~no-one",
       "a&b;c|d", "{x}", "$HOME", "*", ":memory:", "@", "+", "C:"]  # fmt: skip


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)


@pytest.mark.parametrize("name", some(ODD, 8))
def test_a_database_lies_where_its_path_says_and_its_address_finds_it(tmp_path, name):
    file = tmp_path / name / f"{name}.db"
    store = open_store(file)
    create_run(store, SPEC)
    assert sqlite_file(store.url) == file
    assert make_url(store.url).database == str(file)
    assert {p.name for p in tmp_path.iterdir()} == {name}
    assert file.read_bytes().startswith(b"SQLite format 3")
    again = open_store(store.url)
    assert (again.url, again.folder) == (store.url, store.folder)
    assert len(all_runs(again)) == 1
    assert health(again).size >= file.stat().st_size
    for one in (store, again):
        one.engine.dispose()
    assert {found.subject: found.verdict for found in findings(store.url)}["Database"] == "ok"


@pytest.mark.parametrize("name", some(ODD, 8))
def test_a_data_folder_may_have_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITDIAL_DATA", name)
    assert data_folder() == tmp_path / name
    store = open_store()
    store.engine.dispose()
    assert (tmp_path / name / "bitdial.db").is_file()
    assert {p.name for p in tmp_path.iterdir()} == {name}


@pytest.mark.parametrize("name", some(ODD, 8))
def test_an_older_database_is_copied_beside_itself(tmp_path, name):
    file = tmp_path / name / "a.db"
    open_store(file).engine.dispose()
    connection = sqlite3.connect(file)
    connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.commit()
    connection.close()
    url = database_url(file)
    engine = connect(url, foreign_keys=False)
    upgrade.bring_up_to_date(engine, url, lambda config, revision: None)
    engine.dispose()
    [copy] = [path for path in file.parent.iterdir() if path.suffix == ".bak"]
    assert copy.name.startswith("a.db.0001.")
    assert {p.name for p in tmp_path.iterdir()} == {name}


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=("Cs",)), min_size=1))
def test_the_address_of_any_path_is_read_as_that_path(name):
    path = Path("/data") / f"x{name}"
    url = database_url(path)
    assert sqlite_file(url) == path
    assert database_url(url) == url
    assert make_url(url).database == str(path)
    assert shown_url(url) == f"{SQLITE}{path}"


@given(st.binary(min_size=1).filter(lambda b: b"\0" not in b and b"/" not in b))
def test_bytes_that_are_no_text_are_kept(name):
    path = Path("/data") / ("x" + os.fsdecode(name))
    assert sqlite_file(database_url(database_url(path))) == path
    shown_url(database_url(path)).encode()


def test_a_database_in_a_folder_whose_name_is_no_text_opens(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    store = open_store(folder / "a.db")
    create_run(store, SPEC)
    store.engine.dispose()
    assert (folder / "a.db").is_file()


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite:////data/a%20b.db", "/data/a b.db"),
        ("sqlite:////data/100%25.db", "/data/100%.db"),
        ("sqlite:////data/100% sure?.db", "/data/100% sure?.db"),
        ("sqlite:////data/a#b.db", "/data/a#b.db"),
        ("/data/a%20b.db", "/data/a%20b.db"),
        ("/data/x://y.db", "/data/x:/y.db"),
        ("C:\\data\\a.db", None),
        ("-a.db", None),
    ],
)
def test_paths_are_paths_and_addresses_spell_what_is_special(tmp_path, monkeypatch, address, path):
    monkeypatch.chdir(tmp_path)
    found = sqlite_file(database_url(None, {"BITDIAL_DATABASE_URL": address}))
    assert found == (Path(path) if path else tmp_path / address)


def test_addresses_of_servers_stay_as_they_are():
    for url in ("postgresql+psycopg://ann:p%40ss@h/x?sslmode=require", "oracle+x://h", "sqlite://"):
        assert database_url(url) == url


def test_a_database_in_memory_is_refused():
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(DatabaseUnavailable, match="keeps nothing"):
            open_store(url)


def test_a_path_too_long_is_explained(tmp_path):
    with pytest.raises(DatabaseUnavailable, match="cannot be written"):
        open_store(tmp_path / ("x" * 300) / "a.db")


@pytest.mark.parametrize("name", ["100% #1?", "-Ü b"])
def test_another_process_is_led_to_the_same_database(tmp_path, name):
    store = open_store(tmp_path / name / "a.db")
    create_run(store, SPEC)
    store.engine.dispose()
    for words in ([], [f"--database={tmp_path / name / 'a.db'}"]):
        env = {**os.environ, "BITDIAL_DATABASE_URL": "" if words else store.url}
        command = [sys.executable, "-m", "store", *words, "list"]
        said = run(command, env=env, capture_output=True, text=True, check=True).stdout
        assert SPEC.model in said


LETTERS = ("x" * 200, "\u00e9" * 100)
"""Two names of 200 bytes."""


@pytest.fixture
def short():
    """A folder of a short path: SQLite takes 512 bytes, and tests side by side have long ones."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


@pytest.mark.parametrize("name", LETTERS)
def test_a_name_of_two_hundred_bytes_is_a_name_with_all_that_lies_beside_it(
    short, monkeypatch, name
):
    tmp_path = short
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / name))
    open_store().engine.dispose()
    file = tmp_path / name / f"{name}.db"
    store = open_store(file)
    run_id = create_run(store, SPEC, name)
    assert queue.claim(store, queue.host_name(store)) == (run_id, 1)
    run_lock(store, run_id).touch()
    FileCheckpoints(store, run_id, 1).save(name[:100], 1, b"weights")
    assert FileCheckpoints(store, run_id, 1).load(name[:100]) == (1, b"weights")
    weekly = backup.back_up_weekly(store, 1)
    store.engine.dispose()
    assert backup.restore(file, weekly).name.endswith(".bak")
    again = open_store(file)
    assert all_runs(again)[0].name == name
    again.engine.dispose()


def test_a_database_whose_backups_would_have_no_name_is_refused(tmp_path):
    with pytest.raises(DatabaseUnavailable, match=r"has 223 bytes\. Give it 215 at most"):
        open_store(tmp_path / ("x" * 220 + ".db"))
    with pytest.raises(DatabaseUnavailable, match="has 403 bytes"):
        open_store(tmp_path / ("\u00e9" * 200 + ".db"))


@pytest.mark.parametrize("name", ["x" * 200, "\u00e9" * 200, "x" * 5000])
def test_a_long_name_is_taken_or_refused_in_words_by_every_command(
    tmp_path, monkeypatch, capsys, name
):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    networks, costs = tmp_path / "data" / "networks", tmp_path / "data" / "costs"
    for place in (networks, costs):
        place.mkdir(parents=True)
    if len(os.fsencode(name)) < 250:
        (networks / name).mkdir()
        (networks / name / "card.json").write_text("{}")
        (costs / f"{name}.csv").write_text("layer,weight_bits,activation_bits,latency_us\na,1,8,1")
    file, table = str(tmp_path / name), str(tmp_path / f"{name[:-4]}.npz")
    data = ("run", "--search", "random", "--detach", "--data")
    for words in (
        ("list", "--database", f"{file}.db"),
        ("backup", file),
        ("restore", f"{file}2"),
        ("repair", "--aside", file),
        ("export", "1", "--out", file),
        ("run", "--search", "random", "--detach", "--name", name),
        ("run", "--search", "random", "--detach", "--model", name),
        ("run", "--search", "random", "--detach", "--device", name),
        ("run", "--search", "random", "--detach", "--rules", file),
        *((*data, f"{kind}:{table}") for kind in ("tensors", "texts", "imagefolder", "pairs")),
        ("rules", "--model", name),
        ("add-model", name, "--source", "onnx", "--weights", file, "--shape", "1,8,8"),
        ("add-model", "mine", "--source", "onnx", "--weights", file, "--shape", "1,8,8"),
        ("list",),
        ("doctor",),
    ):
        code = main(words)
        said = capsys.readouterr()
        assert code in (0, 1, 2), words
        assert code != 2 or 20 < len(said.err) < 1200 + 2 * len(name), words
        assert "Traceback" not in said.err


def test_data_whose_name_no_database_keeps_is_refused_before_it_is_queued():
    spec = replace(SPEC, data="imagefolder:/" + "x/" * 500)
    with pytest.raises(InvalidParams, match="has 1,013 letters; at most 900"):
        check_run(spec, None)
