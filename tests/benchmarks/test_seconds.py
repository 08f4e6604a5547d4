"""Every function whose seconds a phase counts is there, and seconds are counted once."""

import pytest

from benchmarks.dashboard import seconds


@pytest.mark.parametrize("place", [p for places in seconds.PHASES.values() for p in places])
def test_what_is_counted_is_there(place):
    holder, name = seconds.held(place)
    assert callable(getattr(holder, name))


def test_a_second_belongs_to_the_innermost_phase_and_to_what_keeps_its_own(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(seconds.time, "process_time", lambda: float(next(now)))
    clock = seconds.Clock()
    inner = clock.watched("evaluations", lambda: None)
    outer = clock.watched("solving", inner)
    outer()
    assert dict(clock.seconds) == {seconds.OTHER: 1, "solving": 2, "evaluations": 1}
    clock.watched(seconds.TEST, inner)()
    assert clock.seconds["evaluations"] == 1
    assert clock.seconds[seconds.TEST] == 3
    assert (clock.calls["evaluations"], clock.calls[seconds.TEST]) == (1, 1)
