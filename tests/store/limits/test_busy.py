"""On a machine with more to do than it can, workers beat and follow a server that was killed."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from store import create_run, run
from store.runs import files, queue
from store.workers import children
from tests.store.fake import SPEC, command

SLOW = replace(SPEC, params={"evaluations": 60}, data="slow toys")
SPIN = "import time; end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


@contextmanager
def busy(loops):
    """Some programs that never wait."""
    running = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(loops)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


@pytest.fixture
def worker(sqlite_store, eventually):
    """A worker of its own, once it has measured something, and the number of its run."""
    run_id = create_run(sqlite_store, SLOW)
    _, attempt = queue.claim(sqlite_store, "here")
    log = files.log_file(sqlite_store, run_id, attempt)
    child = children.start(command(run_id, attempt), os.environ, log, attempt, "cpu")
    eventually(lambda: run(sqlite_store, run_id).evaluations > 0)
    yield child, run_id
    child.kill("the test is over")
    child.process.wait()
    child.close()


def nice_of(thread):
    """Field 19 of /proc/PID/task/TID/stat; the name before it is in brackets."""
    return int(thread.joinpath("stat").read_text().rpartition(")")[2].split()[16])


@pytest.mark.skipif(sys.platform != "linux", reason="threads are nice one by one on Linux only")
def test_a_worker_computes_after_all_others_but_beats_like_any(worker):
    threads = Path(f"/proc/{worker[0].process.pid}/task")
    main, *others = sorted(threads.iterdir(), key=lambda path: int(path.name))
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert nice_of(main) == min(19, mine + 10)
    assert [nice_of(other) for other in others][:2] == [mine, mine]


@pytest.mark.slow
def test_a_busy_machine_keeps_no_worker_from_beating_and_from_following_its_server(
    worker, sqlite_store
):
    child, run_id = worker
    with busy(8):
        before, until = run(sqlite_store, run_id).beat, time.monotonic() + 6
        while run(sqlite_store, run_id).beat < before + 2:
            assert time.monotonic() < until, "no two beats, of 2 s each, in 6 s"
            time.sleep(0.1)
        # what a killed server leaves: a pipe that has ended
        began = time.monotonic()
        child.close()
        child.process.wait(20)
        assert time.monotonic() - began < 6
