"""Clocks jump by hours, forward and back: no search notices, and what is newest stays newest."""

import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from store import Supervisor, create_run, events, model_spec, points_of, run, save_model, tables
from store import database as database_module
from store.runs import points, queue
from store.workers import worker
from tests.pages import sample
from tests.store.fake import SPEC, FakePrepared, command, prepare

JUMPS = (0, 7, -3, 24 * 400, -24 * 30, 0.5)
"""Hours by which the clock is wrong, each time that somebody looks."""

COMPILER = shutil.which("cc")

WRONG_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

/* seconds by which the clock of the wall is wrong, from a file; other clocks are left alone */
static long wrong(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("WRONG_CLOCK"), "r");
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}
int clock_gettime(clockid_t which, struct timespec *found) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(which, found);
    if (!code && which == CLOCK_REALTIME) found->tv_sec += wrong();
    return code;
}
int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    int code = clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec; found->tv_usec = now.tv_nsec / 1000;
    return code;
}
time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
"""
"""A library that, loaded before all others, sets the clock of a process. faketime does it this way,
but makes Python's sleep fail."""


class Jumping(datetime):
    hours = itertools.cycle(JUMPS)

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(hours=next(cls.hours))


@pytest.fixture
def jumps(monkeypatch):
    """What the database's rows and everybody else here take for the time."""
    real = time.time
    monkeypatch.setattr(database_module, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * next(Jumping.hours))


def measured(store, run_id):
    return [(s.point.key, s.point.search) for s in points_of(store, [run_id])]


def test_a_search_measures_the_same_and_keeps_its_order(store, monkeypatch, request):
    spec = dataclasses.replace(SPEC, params={"evaluations": 12})
    calm = create_run(store, spec)
    assert worker.work(store, *queue.claim(store, "here"), worker.Signals(), prepare) == 0
    request.getfixturevalue("jumps")
    wild = create_run(store, spec)
    claimed = queue.claim(store, "here")
    queue.beat(store, *claimed)
    assert worker.work(store, *claimed, worker.Signals(), prepare) == 0
    assert run(store, wild).state == "done"
    assert measured(store, wild) == measured(store, calm)
    told = [[e.kind for e in events(store, number)] for number in (calm, wild)]
    assert told[0] == told[1]
    moments = [event.at for event in events(store, wild)]
    assert moments != sorted(moments)


def test_a_supervised_worker_is_not_taken_for_dead(sqlite_store, jumps, eventually, monkeypatch):
    monkeypatch.setenv("BITDIAL_LEASE_S", "20")
    run_id = create_run(sqlite_store, dataclasses.replace(SPEC, params={"evaluations": 12}))
    one = Supervisor(sqlite_store, cap=1, command=command, tick_s=0.05, gpus=())
    one.start()
    try:
        eventually(lambda: run(sqlite_store, run_id).state == "done")
    finally:
        one.stop()
    assert run(sqlite_store, run_id).attempt == 1


def test_what_was_stored_last_is_the_latest_whatever_the_clock_said(store, jumps):
    for number in range(2 * len(JUMPS)):
        points.save_table(store, f"kl/{number}", sample.MODEL.digest, sample.table())
        assert tables(store, sample.MODEL.digest)[0][0] == f"kl/{number}"
        spec = dataclasses.replace(sample.MODEL, digest=f"{number:064}")
        save_model(store, spec, f"data {number % 3}", FakePrepared().float_point)
        assert model_spec(store, spec.name).digest == spec.digest


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler, to set the clock of a process")
@pytest.mark.skipif(sys.platform != "linux", reason="libraries are put before others on Linux only")
@pytest.mark.parametrize("hours", [9, -9])
def test_the_systems_own_clock_may_jump_under_a_worker(
    sqlite_store, eventually, monkeypatch, tmp_path, hours
):
    (tmp_path / "clock.c").write_text(WRONG_CLOCK)
    library, wrong = tmp_path / "clock.so", tmp_path / "wrong"
    build = [COMPILER, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"]
    subprocess.run(build, check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("WRONG_CLOCK", str(wrong))
    monkeypatch.setenv("BITDIAL_LEASE_S", "20")
    spec = dataclasses.replace(SPEC, params={"evaluations": 40}, data="slow toys")
    run_id = create_run(sqlite_store, spec)
    one = Supervisor(sqlite_store, cap=1, command=command, tick_s=0.05, gpus=())
    one.start()
    try:
        eventually(lambda: run(sqlite_store, run_id).evaluations > 3)
        fresh = tmp_path / "fresh"
        fresh.write_text(str(3600 * hours))
        os.replace(fresh, wrong)
        seen = run(sqlite_store, run_id)
        eventually(lambda: run(sqlite_store, run_id).beat > seen.beat + 2)
        (tmp_path / "hurry").touch()
        eventually(lambda: run(sqlite_store, run_id).state == "done")
    finally:
        one.stop()
    found = run(sqlite_store, run_id)
    assert (found.attempt, found.evaluations) == (1, 40)
    # it really did: the end that its worker wrote is hours away from what it is here
    end = datetime.fromisoformat(found.finished)
    assert abs((end - datetime.now(UTC)).total_seconds() - 3600 * hours) < 600
