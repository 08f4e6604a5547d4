"""Candidates spread over processes of the worker's own, and these die."""

import pytest

from store import create_run, run
from tests.engine.conftest import essence, spec, uninterrupted


@pytest.fixture(scope="module")
def database():
    """A file: processes that only score never see the database."""
    return None


@pytest.fixture(scope="module")
def server(dashboards):
    return dashboards(BITDIAL_WORKERS="1", BITDIAL_EVALUATOR="procs:2").start()


def scorers(worker):
    """The processes a worker scores with."""
    return [p for p in worker.children() if any("spawn_main" in word for word in p.cmdline())]


def test_a_killed_scoring_process_and_a_killed_worker_change_nothing(
    server, store, eventually, hurry
):
    wanted = spec()
    run_id = create_run(store, wanted)
    eventually(lambda: run(store, run_id).evaluations > 4)
    [worker] = server.workers(run_id)
    first, second = scorers(worker)
    first.kill()
    eventually(lambda: not first.is_running() and len(scorers(worker)) == 2)
    done = run(store, run_id).evaluations
    eventually(lambda: run(store, run_id).evaluations > done)
    assert run(store, run_id).attempt == 1
    worker.kill()
    eventually(lambda: not second.is_running())
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt == 2
    assert essence(store, run_id) == uninterrupted(wanted)
    # in hand: one allocation at the first kill; two, and what they had finished, at the second
    assert len(server.scored(wanted.seed)) <= 30 + 1 + 4
    eventually(lambda: [p.pid for p in server.processes()] == [server.pid])
