"""The sidebar says what finished since the dashboard was last looked at."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pages.searches.notes import FILE, _read, failures, finished_since, words
from store.runs.files import files_folder
from store.runs.queue import finish
from tests.pages import sample


def notes(at):
    """Words of the sidebar about finished searches, and where they lead."""
    links = [link.proto for link in at.sidebar.get("page_link")]
    found = [(link.label, link.query_string) for link in links if "finished" in link.label]
    return found + [(c.value, "") for c in at.sidebar.caption if "finished" in c.value]


def end(store, state, error=""):
    held = sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    finish(store, *held, state, error)
    return held[0]


def test_what_finished_between_two_visits_is_told_until_it_was_looked_at(app, store):
    end(store, "done")
    assert notes(app()) == []
    end(store, "done")
    last = end(store, "failed", "The disk is full.")
    at = app()
    ((label, query),) = notes(at)
    assert label == "2 finished since the last visit"
    assert f"run={last}" in query
    at.switch_page("pages/views/compare.py").run()
    assert len(notes(at)) == 1
    at.switch_page("pages/views/searches.py").run()
    assert notes(at) == [(f"{label}. 1 of them failed.", "")]
    at.switch_page("pages/views/explore.py").run()
    assert not at.exception
    assert notes(at) == []
    assert notes(app()) == []


def test_a_damaged_note_of_the_last_visit_says_nothing(app, store):
    end(store, "done")
    (files_folder(store) / FILE).write_text('{"seen": "yesterday"}')
    assert notes(app()) == []
    assert _read(files_folder(store) / FILE) is not None


@pytest.mark.parametrize(
    ("states", "expected", "bad"),
    [
        (["done"], "1 finished since the last visit", ""),
        (["failed"], "1 finished since the last visit", "It failed."),
        (
            ["done", "cancelled", "running", "failed"],
            "2 finished since the last visit",
            "1 of them failed.",
        ),
    ],
)
def test_only_searches_that_ended_by_themselves_count(states, expected, bad):
    before, later = datetime(2026, 1, 1, tzinfo=UTC), "2026-01-02T00:00:00.000+00:00"
    known = [sample.run_of(at, "exact", state) for at, state in enumerate(states)]
    ended = [replace(run, finished=later) for run in known]
    news = finished_since(ended, before)
    assert (words(news), failures(news)) == (expected, bad)
    assert finished_since(ended, datetime(2026, 1, 3, tzinfo=UTC)) == []
    recorded = [replace(run, finished=later, origin="recorded") for run in known]
    assert finished_since(recorded, before) == []
