"""Several processes write one database, and are killed while they do."""

import os
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import text

from store import create_run, events, open_store, points_of, run
from tests.engine.conftest import spec
from tests.engine.dashboard import ROOT

WRITERS, WRITES, ROUNDS = 4, 60, 10


@pytest.fixture
def store(database, tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    opened = open_store(database or tmp_path / "bitdial.db")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def writers(store, tmp_path):
    """Starts writers, one for each run; (the process that waits for them, their numbers)."""
    started = []

    def start(count, run_ids):
        words = [sys.executable, "-m", "benchmarks.dashboard.writer", store.url, str(count)]
        process = subprocess.Popen(
            [*words, *map(str, run_ids)],
            cwd=ROOT,
            env={**os.environ, "BITDIAL_DATA": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        children = [int(word) for word in process.stdout.readline().split()]
        started.append(process)
        return process, children

    yield start
    for process in started:
        process.stdout.close()
        process.kill()
        process.wait()


def wrote(store, run_id):
    return [event.text for event in events(store, run_id, ["wrote"])]


def test_four_writers_and_a_reader_never_meet_a_lock(store, writers):
    ids = [create_run(store, spec(), host="here") for _ in range(WRITERS)]
    process, _ = writers(WRITES, ids)
    slowest, reads = 0.0, 0
    while process.poll() is None:
        started = time.monotonic()
        assert len(points_of(store, ids)) <= WRITERS * WRITES
        slowest, reads = max(slowest, time.monotonic() - started), reads + 1
        time.sleep(0.02)
    assert process.returncode == 0
    assert [run(store, run_id).evaluations for run_id in ids] == [WRITES] * WRITERS
    assert reads > 5
    assert slowest < 5.0


def test_writers_killed_in_mid_write_leave_whole_transactions_only(store, writers, eventually):
    ids = [create_run(store, spec(), host="here") for _ in range(ROUNDS)]
    process, children = writers(100_000, ids)
    for run_id, child in zip(ids, children, strict=True):
        eventually(lambda run_id=run_id: len(wrote(store, run_id)) > 2)
        os.kill(child, signal.SIGKILL)
        if store.engine.dialect.name == "sqlite":
            with store.read() as connection:
                assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    assert process.wait(30) == 1
    for run_id in ids:
        stages = [stored.point.stage for stored in points_of(store, [run_id])]
        lines = wrote(store, run_id)
        # a line of history and the run's message are one transaction; a point comes just before
        assert run(store, run_id).message == lines[-1]
        assert lines == [f"stage {number}" for number in range(len(lines))]
        assert stages[: len(lines)] == lines
        assert len(stages) - len(lines) in (0, 1)
