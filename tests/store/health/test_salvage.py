"""A file with damaged pages keeps all that can be read, and no interruption leaves none."""

import os
import shutil
import sqlite3
from contextlib import closing

import pytest

from qcore.errors import DatabaseUnavailable, StoreError
from store import all_runs, configs, create_run, open_store, points_of
from store.__main__ import main
from store.health import backup, salvage, swap
from store.runs import queue
from tests.pages import sample

PAGE = 4096
HEAD = 100
"""Bytes that say what kind of a database it is, and how often it was changed."""
RUNS = 12
POINTS = 60


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A database with a few hundred pages."""
    path = tmp_path_factory.mktemp("full") / "bitdial.db"
    store = open_store(path)
    sample.fill(store)
    scored = [sample.point(a, 500 + at) for at, a in enumerate(sample.allocations(POINTS, seed=4))]
    for _ in range(RUNS):
        queue.finish(store, *sample.add_run(store, "random", scored), "done")
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM runs WHERE id = (SELECT max(id) FROM runs)")
    store.engine.dispose()
    return path


@pytest.fixture
def file(full, tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    return shutil.copy(full, tmp_path / "bitdial.db")


def pages_of(file, name):
    """Numbers of a table's or an index's pages, from 1."""
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
        try:
            return [row[0] for row in connection.execute(query, (name,))]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite cannot say where its pages are (no dbstat)")


def ruin(file, *pages):
    with file.open("r+b") as stream:
        for page in pages:
            stream.seek((page - 1) * PAGE)
            stream.write(b"\xa5" * PAGE)


def essence(file):
    """What is stored: points of each run, and names of configurations."""
    store = open_store(file)
    try:
        found = {
            run.id: [(s.id, s.point) for s in points_of(store, [run.id])] for run in all_runs(store)
        }
        return found, [kept.name for kept in configs(store)]
    finally:
        store.engine.dispose()


def test_a_sound_file_is_left_alone(file, capsys):
    before = file.read_bytes()
    assert salvage.damaged_pages(file) == ""
    assert main(["repair"]) == 0
    assert capsys.readouterr().out == "every row can be read\n"
    assert [path.name for path in file.parent.glob("*.bak")] == []
    assert len(before) == file.stat().st_size


@pytest.mark.parametrize("count", [1, 3, 12])
def test_points_on_other_pages_are_all_kept(file, count, capsys):
    whole = essence(file)[0]
    leaves = pages_of(file, "points")
    ruined = leaves[5 : 5 + 9 * count : 9]
    ruin(file, *ruined)
    damaged = file.read_bytes()[HEAD:]
    assert salvage.damaged_pages(file)
    assert main(["repair"]) == 0
    said = capsys.readouterr().out
    assert "what was there before" in said
    found = essence(file)[0]
    assert found.keys() == whole.keys()
    everything = {number: point for points in whole.values() for number, point in points}
    kept = {number: point for points in found.values() for number, point in points}
    assert kept.items() <= everything.items()
    # a page holds few points, and nothing but those on it is lost
    most = -(-len(everything) // (len(leaves) - 1)) * 2
    assert 0 < len(everything) - len(kept) <= most * count
    [aside] = file.parent.glob("*.replaced.*.bak")
    assert aside.read_bytes()[HEAD:] == damaged
    assert salvage.damaged_pages(file) == ""


def test_a_damaged_index_loses_nothing(file):
    whole = essence(file)
    ruin(file, pages_of(file, "points_by_run")[0])
    done = salvage.salvage(file)
    assert done.lost == {}
    assert essence(file) == whole


def test_numbers_of_lost_and_deleted_runs_are_not_given_again(file):
    with closing(sqlite3.connect(file)) as connection:
        [[last]] = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'runs'")
    ruin(file, pages_of(file, "runs")[-1])
    assert main(["repair"]) == 0
    store = open_store(file)
    assert create_run(store, sample.spec_of("random")) == last + 1
    store.engine.dispose()


def test_without_the_names_of_its_tables_a_file_is_refused_and_kept(file):
    ruin(file, 1)
    damaged = file.read_bytes()
    with pytest.raises(StoreError, match=r"first page.*restore"):
        salvage.salvage(file)
    assert file.read_bytes() == damaged
    assert not [path for path in file.parent.iterdir() if "salvage" in path.name]


def test_what_is_no_database_at_all_is_refused_and_kept(file, capsys):
    file.write_text("dear diary " * 1000)
    assert main(["repair"]) == 2
    assert "restore" in capsys.readouterr().err
    assert file.read_text().startswith("dear diary")


def test_a_database_in_use_is_not_salvaged(file):
    store = open_store(file)
    with store.read() as connection:
        connection.exec_driver_sql("SELECT 1 FROM runs")
        with pytest.raises(DatabaseUnavailable, match="in use"):
            salvage.salvage(file)
    store.engine.dispose()


CALLS = ("link", "replace", "unlink", "fsync")


def cut(step, moment):
    """Take a step in a process that dies before its nth change of files; whether it got so far."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    left = [moment]

    def dying(real):
        def call(*words, **more):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return real(*words, **more)

        return call

    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))
    try:
        step()
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.parametrize("what", ["repair", "restore"])
def test_a_power_cut_at_any_moment_leaves_the_old_file_or_the_new_one(file, tmp_path, what):
    whole = essence(file)[0]
    store = open_store(file)
    backup.back_up(store, tmp_path / "copy")
    store.engine.dispose()
    ruin(file, pages_of(file, "points")[5])
    assert not swap._is_open(file)  # which merges its log, and says so in its head
    damaged, kept = file.read_bytes(), None
    steps = {
        "repair": lambda: salvage.salvage(file),
        "restore": lambda: backup.restore(file, tmp_path / "copy"),
    }
    for moment in range(200):
        file.write_bytes(damaged)
        done = cut(steps[what], moment)
        assert file.exists()
        if file.read_bytes() == damaged:
            assert not done
            continue
        # the new file: whole, and the damaged one is kept
        assert salvage.damaged_pages(file) == ""
        found = essence(file)[0]
        kept = kept or found
        assert found == (whole if what == "restore" else kept)
        assert any(p.read_bytes() == damaged for p in tmp_path.glob("*.replaced.*.bak"))
        if done:
            break
    assert done
    assert kept.keys() == whole.keys()


def test_two_files_of_one_second_are_both_kept(file, monkeypatch):
    monkeypatch.setattr(swap, "stamp", lambda: "20260101000000")
    for content in (b"one", b"two"):
        file.write_bytes(content)
        (file.parent / "fresh").write_bytes(b"new")
        swap.put_in_place(file.parent / "fresh", file)
    assert sorted(p.read_bytes() for p in file.parent.glob("*.bak")) == [b"one", b"two"]
