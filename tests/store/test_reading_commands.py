"""Commands that read make no database, and end quietly when nobody reads what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qcore.errors import NoDatabase
from store import all_runs, create_run, open_store
from store.__main__ import main, parser
from store.jobs.output import CLOSED
from tests.store.fake import SPEC
from tests.store.test_command_line import EVERY

ROOT = Path(__file__).parents[2]
MAKE = {"run", "add-model", "pace", "restore", "doctor"}
"""Those that measure make a database; `restore` makes one from a copy, `doctor` needs none."""

READ = {name: words for name, words in EVERY.items() if name not in MAKE}


def test_those_that_make_a_database_are_those_that_measure():
    read = parser().parse_args
    making = {name for name, words in EVERY.items() if read([name, *words]).creates}
    assert making == {"run", "add-model", "pace"}


@pytest.mark.parametrize("name", READ)
def test_a_mistyped_path_is_refused_and_nothing_is_made(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    empty = tmp_path / "empty.db"
    empty.touch()
    for place in (tmp_path / "none" / "a.db", tmp_path / "a.db", empty):
        assert main([name, *READ[name], "--database", str(place)]) == 2
        said = capsys.readouterr().err
        assert f"There is no database of bitdial at sqlite:///{place}" in said
        assert said.count("\n") == 1
    monkeypatch.setenv("BITDIAL_DATABASE_URL", str(tmp_path / "b.db"))
    assert main([name, *READ[name]]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]
    assert empty.stat().st_size == 0


def test_who_only_reads_makes_no_tables_either(empty_location):
    with pytest.raises(NoDatabase, match="reading makes none"):
        open_store(empty_location, create=False)
    opened = open_store(empty_location)
    create_run(opened, SPEC)
    opened.engine.dispose()
    again = open_store(empty_location, create=False)
    assert len(all_runs(again)) == 1
    again.engine.dispose()


def test_rules_of_a_shipped_network_need_no_database(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("BITDIAL_DATABASE_URL", raising=False)
    assert main(["rules", "--model", "resnet20"]) == 0
    assert capsys.readouterr().out
    assert not (tmp_path / "data").exists()


def command(store, *words, output):
    env = {**os.environ, "BITDIAL_DATABASE_URL": store.url, "PYTHONUNBUFFERED": ""}
    program = [sys.executable, "-m", "store", *words]
    return subprocess.run(
        program, cwd=ROOT, env=env, stdout=output, stderr=subprocess.PIPE, text=True, check=False
    )


@pytest.mark.parametrize("words", [("list",), ("--help",)])
def test_a_command_ends_quietly_when_nobody_reads_it(sqlite_store, words):
    create_run(sqlite_store, SPEC)
    read, write = os.pipe()
    os.close(read)
    done = command(sqlite_store, *words, output=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (CLOSED, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_the_output_is_said_once(sqlite_store):
    create_run(sqlite_store, SPEC)
    with open("/dev/full", "w") as full:
        done = command(sqlite_store, "list", output=full)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert done.stderr.count("\n") == 1
