"""What pages say of times that a clock made up: nothing below zero, and nothing again and again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pages.compare.methods import run_seconds
from pages.searches.launch_batch import estimate, seconds_of
from pages.searches.notes import finished_since
from pages.searches.run_table import left, speed
from pages.shared.text import ago
from tests.pages import sample

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(hours):
    return (NOW + timedelta(hours=hours)).isoformat()


def a_run(started, finished=None, state="done"):
    run = replace(sample.run_of(1, "random", state), started=at(started))
    return replace(run, finished=None if finished is None else at(finished))


def test_a_run_that_ended_before_it_began_took_a_time_that_is_not_known():
    back = a_run(0, -3)
    assert seconds_of(back) is None
    assert run_seconds(back) is None
    assert speed(back) is None
    words = estimate([back.spec], [back, a_run(-3, -1)], 1)
    assert "2.0 h" in words
    assert "-" not in estimate([back.spec], [back], 1)


def test_a_run_that_begins_in_the_future_has_no_speed_yet():
    running = a_run(5, state="running")
    assert speed(running, NOW) is None
    assert left(running, NOW) == ""
    assert speed(running, NOW + timedelta(hours=6)) > 0


def test_a_moment_to_come_is_a_date():
    assert ago(at(-1 / 60), NOW) == "60 s ago"
    assert ago(at(1 / 60), NOW) == "0 s ago"
    assert ago(at(7), NOW) == "2026-05-01 19:00 UTC"


def test_news_are_told_once():
    ended = [a_run(-5, hours) for hours in (-4, -1, 3)]
    assert finished_since(ended, NOW - timedelta(hours=2), NOW) == [ended[1]]
    assert finished_since(ended, NOW + timedelta(hours=9), NOW) == []
