"""A folder may have any name: the database, its locks and its copies lie in it and nowhere else."""

import os
import sqlite3
import sys
from pathlib import Path
from subprocess import run

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from qcore.data_folder import data_folder
from qcore.errors import DatabaseUnavailable
from store import all_runs, create_run, open_store
from store.database import connect, upgrade
from store.database.locations import SQLITE, database_url, shown_url, sqlite_file
from store.health.doctor import findings
from store.health.status import health
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
