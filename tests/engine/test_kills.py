"""The kill rows of the table in docs/running.md: what is lost, and seconds until all is well."""

import random
import signal
import statistics
import sys
import time

import pytest

from store import create_run, run
from tests.engine.conftest import essence, spec, uninterrupted

ROUNDS = 6
KINDS = ("worker", "server", "worker and server together")


@pytest.fixture(scope="module")
def server(dashboards):
    return dashboards(BITDIAL_WORKERS="1", BITDIAL_LEASE_S="20", BITDIAL_TRIES="1").start()


def kill(server, kind, run_id):
    """Kill -9; the server is started again at once."""
    for process in server.workers(run_id) if kind != "server" else ():
        process.kill()
    if kind != "worker":
        server.signal(signal.SIGKILL)
        server.start()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(
    server, store, eventually, hurry, kind
):
    wanted = spec(0.2, search="cmaes", params={"evaluations": 120, "population": 8})
    rng, waits = random.Random(11), []
    run_id = create_run(store, wanted)
    for _ in range(ROUNDS):
        seen = run(store, run_id).evaluations
        eventually(lambda seen=seen: run(store, run_id).evaluations > seen + 1)
        time.sleep(rng.random() / 2)  # in the middle of whatever it does
        kill(server, kind, run_id)
        before, began = run(store, run_id).evaluations, time.monotonic()
        eventually(lambda before=before: run(store, run_id).evaluations > before)
        waits.append(time.monotonic() - began)
    hurry()
    eventually(lambda: run(store, run_id).state == "done")
    assert essence(store, run_id) == uninterrupted(wanted)
    eventually(lambda: server.workers(run_id) == [])
    place = store.url.partition(":")[0]
    sys.stderr.write(
        f"{kind}, {place}: {len(waits)} kills, nothing lost, next point after "
        f"{statistics.median(waits):.1f} s, at most {max(waits):.1f} s\n"
    )
