"""Real worker processes: started, capped, cancelled, killed, and never left over."""

import dataclasses
import os
import signal

import pytest
from filelock import FileLock, Timeout

from store import Supervisor, create_run, events, points_of, request_cancel, run
from tests.store.fake import SPEC, command

SLOW = dataclasses.replace(SPEC, data="slow toys")


@pytest.fixture
def supervisor(store):
    running = []

    def start(cap=1):
        one = Supervisor(store, cap=cap, command=command(store.url), tick_s=0.05)
        one.start()
        running.append(one)
        return one

    yield start
    for one in running:
        one.stop()


def pids(supervisor):
    return {n: child.process.pid for n, child in list(supervisor._children.items())}


def test_a_queued_run_is_done_without_anybody_looking(store, supervisor, eventually):
    run_id = create_run(store, SPEC)
    supervisor()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).evaluations == 30


def test_no_more_than_the_cap_work_at_once(store, supervisor, eventually):
    ids = [create_run(store, SLOW) for _ in range(3)]
    one = supervisor(cap=2)
    eventually(lambda: len(pids(one)) == 2)
    assert sorted(run(store, i).state for i in ids) == ["queued", "running", "running"]


def test_a_cancelled_run_stops_and_keeps_its_points(store, supervisor, eventually):
    run_id = create_run(store, SLOW)
    supervisor()
    eventually(lambda: run(store, run_id).evaluations > 2)
    request_cancel(store, run_id)
    eventually(lambda: run(store, run_id).state == "cancelled")
    assert 2 < run(store, run_id).evaluations < 30


def test_a_killed_worker_loses_nothing_but_what_it_had_in_hand(store, supervisor, eventually):
    whole, killed = create_run(store, SPEC), None
    one = supervisor()
    eventually(lambda: run(store, whole).state == "done")
    killed = create_run(store, SLOW)
    eventually(lambda: run(store, killed).evaluations > 4)
    os.kill(pids(one)[killed], signal.SIGKILL)
    eventually(lambda: run(store, killed).state == "done")
    assert run(store, killed).attempt == 2
    points = [[s.point.allocation for s in points_of(store, [i])] for i in (whole, killed)]
    assert points[0] == points[1]
    assert "requeued" in [event.kind for event in events(store, killed)]


def test_a_worker_that_dies_at_once_again_and_again_is_a_failed_run(store, supervisor, eventually):
    run_id = create_run(store, dataclasses.replace(SPEC, data="deadly"))
    supervisor()
    eventually(lambda: run(store, run_id).state == "failed")
    assert run(store, run_id).attempt == 3
    assert "3 times in a row" in run(store, run_id).error


def test_stopping_the_server_stops_its_workers_and_queues_their_runs(store, supervisor, eventually):
    run_id = create_run(store, SLOW)
    one = supervisor()
    eventually(lambda: run(store, run_id).evaluations > 2)
    pid = pids(one)[run_id]
    one.stop()
    assert run(store, run_id).state == "queued"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_second_server_stands_by_and_takes_over(store, supervisor, eventually):
    first = supervisor()
    eventually(lambda: first.leading)
    second = supervisor()
    run_id = create_run(store, SPEC)
    eventually(lambda: run(store, run_id).state == "done")
    assert not second.leading
    first.stop()
    eventually(lambda: second.leading)
    again = create_run(store, SPEC)
    eventually(lambda: run(store, again).state == "done")
    with pytest.raises(Timeout):
        FileLock(store.folder / "supervisor.lock", timeout=0).acquire()
