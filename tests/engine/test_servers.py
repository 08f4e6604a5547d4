"""The server dies in every way there is; its searches do not."""

import signal

import pytest

from store import create_run, events, run
from tests.engine.conftest import essence, spec, uninterrupted

ENDS = {
    "killed": (signal.SIGKILL, False),
    "terminated": (signal.SIGTERM, False),
    "interrupted": (signal.SIGINT, True),
}
"""How a server ends -> the signal, and whether its whole process group gets it."""


@pytest.fixture(scope="module")
def server(dashboards):
    return dashboards(BITDIAL_WORKERS="1", BITDIAL_LEASE_S="4").start()


@pytest.fixture(autouse=True)
def up(server):
    """The server is up, whatever the test before did to it."""
    if not server.alive():
        server.start()


def test_a_server_that_ends_leaves_nobody_behind_and_goes_on_when_it_is_back(
    server, store, eventually, hurry
):
    wanted = spec()
    run_id = create_run(store, wanted)
    for attempt, (number, group) in enumerate(ENDS.values(), 1):
        before = run(store, run_id).evaluations
        eventually(lambda before=before: run(store, run_id).evaluations > before + 2)
        server.signal(number, group)
        eventually(lambda: server.processes() == [])
        assert run(store, run_id).state == "queued" or number == signal.SIGKILL
        assert run(store, run_id).attempt == attempt
        server.start()  # nobody opens a page
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt == len(ENDS) + 1
    assert essence(store, run_id) == uninterrupted(wanted)
    assert len(server.scored(wanted.seed)) <= 30 + len(ENDS)
    eventually(lambda: server.workers() == [])


def test_a_worker_frozen_when_its_server_dies_is_ended_by_the_next_one(
    server, store, eventually, hurry
):
    wanted = spec()
    run_id = create_run(store, wanted)
    eventually(lambda: run(store, run_id).evaluations > 4)
    [process] = server.workers(run_id)
    process.send_signal(signal.SIGSTOP)
    server.signal(signal.SIGKILL)
    assert server.processes() == [process]
    server.start()
    eventually(lambda: not process.is_running())
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt == 2
    assert essence(store, run_id) == uninterrupted(wanted)


# two supervisors do so by default in store/test_supervisor.py
@pytest.mark.slow
def test_a_second_server_on_the_folder_stands_by_and_takes_over(
    server, store, dashboards, eventually, hurry
):
    second = dashboards(server.data, BITDIAL_WORKERS="1").start()
    wanted = spec()
    run_id = create_run(store, wanted)
    eventually(lambda: run(store, run_id).evaluations > 4)
    [process] = server.workers(run_id)
    assert process.ppid() == server.pid
    server.signal(signal.SIGKILL)
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt == 2
    assert essence(store, run_id) == uninterrupted(wanted)
    assert "requeued" in [event.kind for event in events(store, run_id)]
    second.signal(signal.SIGTERM)
    eventually(lambda: server.processes() == [])
