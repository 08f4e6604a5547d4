"""Silence counts only while somebody listened."""

import pytest

from store.runs.lease import Open
from store.workers.beats import START_S, Beats

LEASE_S = 8.0


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def beats(clock):
    return Beats(LEASE_S, clock)


def a_run(beat=0, attempt=1, pid=7):
    return Open(1, "running", "run", attempt, 0, beat, "there", pid, "cpu")


def watch(beats, clock, seconds, run):
    """Look at the same sign of life every second."""
    beats.look([run])
    for _ in range(round(seconds)):
        clock.now += 1
        beats.look([run])
    return beats.silent(run)


def test_a_beat_that_stands_still_for_the_lease_is_silence(beats, clock):
    assert not watch(beats, clock, LEASE_S, a_run())
    assert watch(beats, clock, 1, a_run())


def test_every_new_beat_and_every_new_attempt_starts_afresh(beats, clock):
    watch(beats, clock, LEASE_S, a_run())
    assert not watch(beats, clock, LEASE_S, a_run(beat=1))
    assert not watch(beats, clock, LEASE_S, a_run(beat=1, attempt=2))
    assert watch(beats, clock, 1, a_run(beat=1, attempt=2))


def test_an_observer_that_slept_hears_them_out_before_it_judges(beats, clock):
    watch(beats, clock, 1, a_run())
    clock.now += 3600
    assert not watch(beats, clock, 1, a_run())
    assert not watch(beats, clock, LEASE_S, a_run(beat=1))


def test_a_worker_that_is_still_starting_has_more_time(beats, clock):
    assert not watch(beats, clock, START_S, a_run(pid=None))
    assert watch(beats, clock, 1, a_run(pid=None))


def test_a_run_never_looked_at_is_not_silent(beats):
    assert not beats.silent(a_run())
