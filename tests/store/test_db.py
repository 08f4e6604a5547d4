"""The database opens, migrates, explains itself, and bears several writers."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect

from qcore.errors import DatabaseTooNew, DatabaseUnavailable
from store import create_run, open_store, runs
from store.schema import Base
from tests.store.fake import SPEC

ROOT = Path(__file__).parents[2]


def test_the_migrations_make_exactly_the_tables_of_the_schema(store):
    found = inspect(store.engine)
    tables = set(found.get_table_names()) - {"alembic_version"}
    assert tables == set(Base.metadata.tables)
    for name, table in Base.metadata.tables.items():
        columns = {c["name"]: c["nullable"] for c in found.get_columns(name)}
        assert columns == {c.name: c.nullable for c in table.columns}


def test_opening_twice_keeps_what_is_there(tmp_path):
    first = open_store(tmp_path / "a.db")
    create_run(first, SPEC)
    assert len(runs(open_store(tmp_path / "a.db"))) == 1


def test_it_writes_ahead_so_that_readers_never_block_writers(store):
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_failed_write_leaves_nothing(store):
    def fail():
        with store.write() as connection:
            connection.exec_driver_sql("CREATE TABLE half (x)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "half" not in inspect(store.engine).get_table_names()


def test_a_later_schema_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "a.db"
    open_store(path).engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(DatabaseTooNew, match=r"9999.*Update bitdial"):
        open_store(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    connection.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"my diary, page one" * 100)
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        open_store(path)
    assert path.read_bytes().startswith(b"my diary")


def test_a_location_that_cannot_be_a_folder_is_explained(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DatabaseUnavailable, match="Choose another folder"):
        open_store(tmp_path / "file" / "a.db")


def test_a_read_only_database_refuses_writes_and_still_reads(store):
    create_run(store, SPEC)
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(DatabaseUnavailable, match="read-only"):
        create_run(store, SPEC)
    assert len(runs(store)) == 1


def test_a_full_disk_loses_nothing_stored(store):
    create_run(store, SPEC)
    with store.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    def fill():
        for _ in range(2000):
            create_run(store, SPEC)

    with pytest.raises(DatabaseUnavailable, match="disk is full"):
        fill()
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert runs(store)[-1].id == 1


WRITER = """
import sys
from store import create_run, open_store, request_cancel
from tests.store.fake import SPEC
store = open_store(sys.argv[1])
for _ in range(50):
    request_cancel(store, create_run(store, SPEC))
"""


def test_four_writers_and_a_reader_never_meet_a_lock_error(store, tmp_path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, store.url], cwd=ROOT, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    while any(writer.poll() is None for writer in writers):
        runs(store)
    errors = [writer.communicate()[1].decode() for writer in writers]
    assert errors == ["", "", "", ""]
    found = runs(store)
    assert len(found) == 200
    assert {run.state for run in found} == {"cancelled"}


def test_two_processes_may_create_the_database_at_once(tmp_path):
    code = "import sys; from store import open_store; open_store(sys.argv[1])"
    url = str(tmp_path / "new.db")
    openers = [
        subprocess.Popen([sys.executable, "-c", code, url], cwd=ROOT, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [opener.communicate()[1].decode() for opener in openers] == ["", ""]
    assert runs(open_store(url)) == []


def test_another_programs_database_is_left_alone(tmp_path):
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (id)")
    connection.close()
    with pytest.raises(DatabaseUnavailable, match="another program"):
        open_store(path)
    with sqlite3.connect(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert names == [("photos",)]


@pytest.mark.parametrize("url", ["sqlite://", "nonsense://x", "sqlite+other://"])
def test_an_address_that_is_no_database_is_explained(url):
    with pytest.raises(DatabaseUnavailable, match=r"give the path|Give a file"):
        open_store(url)


def test_a_relative_address_means_the_same_file_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_store("sqlite:///a.db").url == f"sqlite:///{tmp_path / 'a.db'}"
