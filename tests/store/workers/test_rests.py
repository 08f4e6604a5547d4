"""A run that found no database waits, longer each time, and begins afresh after a good time."""

from store.workers import rests
from store.workers.rests import Rests


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def waited(clock, rest):
    """Seconds from the begin of a rest to its end, a tenth at a time."""
    rest.begin(7)
    began = clock.now
    while rest.resting(7):
        clock.now += 0.1
    return round(clock.now - began)


def test_it_waits_twice_as_long_each_time_up_to_a_minute():
    clock = Clock()
    rest = Rests(clock)
    assert not rest.resting(7)
    assert [waited(clock, rest) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert not rest.resting(8)


def test_after_a_good_time_it_waits_as_at_first():
    clock = Clock()
    rest = Rests(clock)
    for _ in range(5):
        waited(clock, rest)
    clock.now += rests.LONGEST_S
    assert waited(clock, rest) == 1
