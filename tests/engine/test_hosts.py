"""Two hosts on one database: own folders, own servers, nothing in common but PostgreSQL."""

import signal

import pytest

from store import create_run, run
from tests.engine.conftest import essence, spec, uninterrupted
from tests.postgres import new_database

LEASE_S = 4


@pytest.fixture(scope="module")
def database():
    with new_database() as url:
        yield url


@pytest.fixture(scope="module")
def hosts(dashboards):
    return [dashboards(BITDIAL_WORKERS="1", BITDIAL_LEASE_S=str(LEASE_S)) for _ in range(2)]


@pytest.fixture(scope="module")
def store(hosts):
    opened = hosts[0].store()
    yield opened
    opened.engine.dispose()


@pytest.fixture(autouse=True)
def up(hosts):
    for host in hosts:
        if not host.alive():
            host.start()


def holder(hosts, run_id):
    """The host that works on a run, and the other one."""
    return sorted(hosts, key=lambda host: not host.workers(run_id))


def all_get(host, number):
    for process in host.processes():
        process.send_signal(number)


def test_a_dead_host_is_taken_over_after_the_lease(hosts, store, eventually, hurry):
    wanted = spec()
    run_id = create_run(store, wanted)
    eventually(lambda: run(store, run_id).evaluations > 4)
    dead, other = holder(hosts, run_id)
    all_get(dead, signal.SIGKILL)
    dead.server.wait()
    assert run(store, run_id).attempt == 1
    eventually(lambda: other.workers(run_id))
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt == 2
    assert essence(store, run_id) == uninterrupted(wanted)
    eventually(lambda: dead.processes() + other.workers() == [])


def test_a_host_that_froze_and_wakes_is_fenced(hosts, store, eventually, hurry):
    wanted = spec()
    run_id = create_run(store, wanted)
    eventually(lambda: run(store, run_id).evaluations > 4)
    frozen, other = holder(hosts, run_id)
    try:
        all_get(frozen, signal.SIGSTOP)
        before = run(store, run_id).evaluations
        eventually(lambda: run(store, run_id).evaluations > before + 1)
    finally:
        all_get(frozen, signal.SIGCONT)
    assert run(store, run_id).state == "running"
    eventually(lambda: frozen.workers() == [])
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert run(store, run_id).attempt == 2
    assert run(store, run_id).host.endswith(str(other.data))
    assert essence(store, run_id) == uninterrupted(wanted)
    again = create_run(store, spec(0.0))
    eventually(lambda: run(store, again).state == "done")
    eventually(lambda: frozen.workers() + other.workers() == [])
    assert frozen.alive()
