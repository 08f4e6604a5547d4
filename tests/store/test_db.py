"""The database opens, explains itself, and never keeps half of anything."""

import dataclasses
import math
import os
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from qcore.errors import DatabaseUnavailable, StoreError
from store import Store, all_runs, create_run, open_store, points_of
from store.runs import queue
from store.runs.points import add_point
from tests.store.fake import SPEC, FakePrepared


def test_opening_twice_keeps_what_is_there(empty_location):
    first = open_store(empty_location)
    create_run(first, SPEC)
    first.engine.dispose()
    second = open_store(empty_location)
    assert len(all_runs(second)) == 1
    second.engine.dispose()


def test_it_writes_ahead_so_that_readers_never_block_writers(sqlite_store):
    with sqlite_store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_failed_write_leaves_nothing(store):
    def fail():
        with store.write() as connection:
            connection.exec_driver_sql("CREATE TABLE half (x INTEGER)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "half" not in inspect(store.engine).get_table_names()


def test_what_a_write_reads_stays_true_until_it_has_written(store):
    with store.write() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM runs").scalar()
        second = open_store(store.url)
        with second.read() as other:  # readers are not held up
            assert other.exec_driver_sql("SELECT count(*) FROM runs").scalar() == 0
        now_or_never = {"sqlite": "PRAGMA busy_timeout=1", "postgresql": "SET lock_timeout='1ms'"}
        with second.read() as other:
            other.exec_driver_sql(now_or_never[second.engine.dialect.name])
        with pytest.raises(DatabaseUnavailable, match="another program keeps it locked"):
            create_run(second, SPEC)
        second.engine.dispose()


def test_scores_of_a_diverged_network_come_back(store):
    create_run(store, SPEC)
    prepared = FakePrepared()
    point = prepared.float_point
    broken = dataclasses.replace(point.search, kl=math.inf, loss=math.nan)
    held = queue.claim(store, "here")
    add_point(store, *held, dataclasses.replace(point, search=broken, test=None))
    found = points_of(store, [held[0]])[0].point.search
    assert found.kl == math.inf
    assert math.isnan(found.loss)


def test_a_location_that_cannot_be_a_folder_is_explained(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DatabaseUnavailable, match="choose another folder"):
        open_store(tmp_path / "file" / "a.db")


@pytest.fixture
def closed_folder(tmp_path):
    """A folder in which this process may write nothing; root gives up its rights for that."""
    folder, root = tmp_path / "data", hasattr(os, "geteuid") and os.geteuid() == 0
    folder.mkdir()
    folder.chmod(0o500)
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o700)


def test_a_data_folder_without_write_permission_is_explained(closed_folder):
    with pytest.raises(DatabaseUnavailable, match=r"cannot be written \(Permission denied\)"):
        open_store(closed_folder / "bitdial.db")


def test_a_read_only_database_refuses_writes_and_still_reads(store):
    create_run(store, SPEC)
    refuse = {
        "sqlite": "PRAGMA query_only=ON",
        "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    }
    with store.read() as connection:
        connection.exec_driver_sql(refuse[store.engine.dialect.name])
    with pytest.raises(DatabaseUnavailable, match="read-only"):
        create_run(store, SPEC)
    assert len(all_runs(store)) == 1


def test_a_full_disk_loses_nothing_stored(sqlite_store):
    store = sqlite_store
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
    assert all_runs(store)[-1].id == 1


@pytest.mark.skipif(os.name != "posix", reason="sizes of files are limited on POSIX only")
def test_a_disk_without_room_for_a_byte_is_read_and_says_that_it_is_full(tmp_path):
    import resource

    file = tmp_path / "bitdial.db"
    store = open_store(file)
    create_run(store, SPEC)
    with store.read() as connection:
        connection.exec_driver_sql("SELECT 1 FROM runs")
        # as after a power cut: a log that was not merged yet, and no index of it
        left = {ending: Path(f"{file}{ending}").read_bytes() for ending in ("", "-wal")}
    store.engine.dispose()
    for ending, data in left.items():
        Path(f"{file}{ending}").write_bytes(data)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        full = open_store(file)
        runs = [all_runs(full), all_runs(full)]
        with pytest.raises(DatabaseUnavailable, match="disk is full"):
            create_run(full, SPEC)
        full.engine.dispose()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [len(found) for found in runs] == [1, 1]
    again = open_store(file)
    assert len(all_runs(again)) == 1
    again.engine.dispose()


@pytest.mark.parametrize(
    "url", ["sqlite://", "nonsense://x", "sqlite+other://", "postgresql://h:x"]
)
def test_an_address_that_is_no_database_is_explained(url):
    with pytest.raises(DatabaseUnavailable, match=r"give the path|Give a file"):
        open_store(url)


def test_a_relative_address_means_the_same_file_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_store("sqlite:///a.db").url == f"sqlite:///{tmp_path / 'a.db'}"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://ann:geheim@127.0.0.1:1/results",
        "postgresql+psycopg://ann:geheim@127.0.0.1:1/results?sslpassword=geheim",
        "postgresql+psycopg://ann:@geheim@127.0.0.1:1/results",
        "postgresql+psycopg://ann:geheim@127.0.0.1:geheim/results",
        "oracle+oracledb://ann:geheim@127.0.0.1/results",
        "postgres://ann:geheim@127.0.0.1/results",
    ],
)
def test_no_message_shows_a_password(address, tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    with pytest.raises(DatabaseUnavailable) as caught:
        open_store(address)
    assert "geheim" not in str(caught.value)


def test_an_open_database_does_not_print_its_password():
    url = "postgresql+psycopg://ann:geheim@127.0.0.1:1/x"
    store = Store(create_engine("sqlite://"), url, Path("/nowhere"))
    assert "geheim" not in repr(store) + store.shown


def test_a_server_that_does_not_answer_is_explained(tmp_path, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    with pytest.raises(DatabaseUnavailable, match="no server answers there") as caught:
        open_store("postgresql+psycopg://ann:geheim@127.0.0.1:1/results")
    assert "BITDIAL_DATABASE_URL" in str(caught.value)


def test_a_database_that_is_not_on_the_server_is_explained(postgres_store):
    with pytest.raises(DatabaseUnavailable, match="no such database"):
        open_store(postgres_store.url.replace("bitdial_test_", "missing_"))


def test_a_lost_connection_is_explained_and_the_next_one_works(postgres_store):
    store = postgres_store
    create_run(store, SPEC)
    end_all = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    other = open_store(store.url)

    def write_while_it_goes():
        with store.write() as connection:
            with other.read() as administrator:
                administrator.exec_driver_sql(end_all)
            connection.exec_driver_sql("DELETE FROM runs")

    with pytest.raises(DatabaseUnavailable, match="connection was lost"):
        write_while_it_goes()
    assert len(all_runs(store)) == 1
    other.engine.dispose()


def test_a_host_that_freezes_in_mid_transaction_is_cut_off(postgres_store):
    store = postgres_store
    with store.read() as connection:
        limit = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar()
    assert limit == "10s"


def test_a_text_that_the_server_cannot_hold_is_one_plain_error(postgres_store):
    store = postgres_store
    with pytest.raises(StoreError, match="does not fit into the database"):
        create_run(store, SPEC, "a\0b")
    assert all_runs(store) == []
