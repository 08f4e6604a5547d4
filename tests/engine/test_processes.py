"""One server, and whatever may happen to its tabs and workers."""

import os
import random
import signal

import pytest

from store import create_run, events, request_cancel, request_pause, resume, run, stop_now
from store.runs.queue import ACTIVE
from tests.engine.conftest import essence, spec, uninterrupted
from tests.engine.dashboard import Tab

KILLS = 3

shown_without_a_server = pytest.mark.slow
"""What store/test_supervisor.py shows by default, of the same workers and no server."""


@pytest.fixture(scope="module")
def server(dashboards):
    return dashboards(BITDIAL_WORKERS="2", BITDIAL_LEASE_S="4").start()


@pytest.fixture
def stuck(server):
    """While this file exists, scoring hangs."""
    path = server.data / "stuck"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


def test_closing_the_tab_stops_nothing(server, store, eventually, hurry):
    wanted = spec()
    with Tab(server) as tab:
        assert "delta" in tab.view()
        run_id = create_run(store, wanted)
        eventually(lambda: run(store, run_id).evaluations > 4)
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt == 1
    assert essence(store, run_id) == uninterrupted(wanted)
    with Tab(server) as back:
        assert "delta" in back.view()
    eventually(lambda: server.workers(run_id) == [])


def test_a_worker_killed_at_random_moments_repeats_only_what_was_in_hand(
    server, store, eventually, hurry
):
    wanted = spec(0.15, search="cmaes", params={"evaluations": 40, "population": 8})
    whole = uninterrupted(wanted)
    moments = sorted(random.Random(7).sample(range(2, len(whole) // 2), KILLS))
    run_id = create_run(store, wanted)
    for attempt, moment in enumerate(moments, 1):
        eventually(lambda moment=moment: run(store, run_id).evaluations >= moment)
        [process] = server.workers(run_id)
        process.kill()
        eventually(lambda attempt=attempt: run(store, run_id).attempt == attempt + 1)
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt == KILLS + 1
    assert essence(store, run_id) == whole
    scored = server.scored(wanted.seed)
    assert len(set(scored)) == len(whole)
    assert len(scored) <= len(whole) + KILLS
    eventually(lambda: server.workers(run_id) == [])


@shown_without_a_server
def test_a_frozen_worker_is_given_up_and_cannot_come_back(server, store, eventually, hurry):
    wanted = spec()
    run_id = create_run(store, wanted)
    eventually(lambda: run(store, run_id).evaluations > 4)
    [process] = server.workers(run_id)
    os.kill(process.pid, signal.SIGSTOP)
    eventually(lambda: run(store, run_id).attempt == 2)
    eventually(lambda: not process.is_running())
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt == 2
    assert essence(store, run_id) == uninterrupted(wanted)
    assert len(server.scored(wanted.seed)) <= 30 + 1
    eventually(lambda: server.workers(run_id) == [])


def test_a_stuck_batch_can_be_cancelled(server, store, stuck, eventually):
    wanted = spec(0.0)
    run_id = create_run(store, wanted)
    eventually(lambda: run(store, run_id).evaluations == 5)
    request_cancel(store, run_id)
    eventually(lambda: run(store, run_id).state == "cancelled")
    assert run(store, run_id).evaluations == 5
    assert essence(store, run_id) == [(*row[:3], None, False) for row in uninterrupted(wanted)[:5]]
    eventually(lambda: server.workers(run_id) == [])
    assert "cancelled" in [event.kind for event in events(store, run_id)]


@shown_without_a_server
def test_a_paused_run_has_no_process_and_goes_on_where_it_was(server, store, eventually, hurry):
    wanted = spec()
    run_id = create_run(store, wanted)
    eventually(lambda: run(store, run_id).evaluations > 4)
    request_pause(store, run_id)
    eventually(lambda: run(store, run_id).state == "paused")
    eventually(lambda: server.workers(run_id) == [])
    assert 4 < run(store, run_id).evaluations < 30
    resume(store, run_id)
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert essence(store, run_id) == uninterrupted(wanted)
    assert len(server.scored(wanted.seed)) == 30


@shown_without_a_server
def test_stop_now_ends_a_stuck_batch_and_loses_only_that(server, store, stuck, eventually):
    wanted = spec(0.0)
    run_id = create_run(store, wanted)
    eventually(lambda: run(store, run_id).evaluations == 5)
    stop_now(store, run_id)
    eventually(lambda: run(store, run_id).state == "paused")
    eventually(lambda: server.workers(run_id) == [])
    stuck.unlink()
    resume(store, run_id)
    eventually(lambda: run(store, run_id).state == "done")
    assert essence(store, run_id) == uninterrupted(wanted)
    assert len(server.scored(wanted.seed)) == 30


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    server, store, eventually, hurry
):
    if server.database is not None:
        pytest.skip("the disk of a database server is that server's")
    wanted, full = spec(), server.data / "full"
    full.touch()
    hurry()
    run_id = create_run(store, wanted)
    eventually(lambda: "disk is full" in (run(store, run_id).message or ""))
    # it is tried again for as long as that takes, and is no fault of the run
    assert run(store, run_id).state in ACTIVE
    assert run(store, run_id).evaluations < 30
    full.unlink()
    eventually(lambda: run(store, run_id).state == "done")
    assert essence(store, run_id) == uninterrupted(wanted)
