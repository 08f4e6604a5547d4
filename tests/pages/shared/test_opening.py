"""A file is opened on a page by a child whose progress, bounds and end the reader has in hand."""

from streamlit.testing.v1 import AppTest

from pages.shared.opening import progress_words, share_of
from store.jobs import opening, reading
from store.jobs.opening import Look
from tests.pages import sample

SCRIPT = """
import streamlit as st
from pages.shared import session
from pages.shared.opening import opened
from tests.pages import sample

found = opened(session.database(), "it", {data!r}, sample.MODEL)
st.write("nothing" if found is None else found.format)
"""


def drawn(data):
    return AppTest.from_string(SCRIPT.format(data=data), default_timeout=120)


def test_what_was_read_is_not_read_again(place, monkeypatch):
    monkeypatch.setattr(reading, "SMALL", 0)
    text = sample.config_of(sample.point(sample.uniform(4), 900)).encode()
    at = drawn(text).run()
    assert not at.exception
    assert at.markdown[-1].value == "json"
    monkeypatch.setattr(opening, "start", lambda *_: 1 / 0)
    assert not at.run().exception
    assert at.markdown[-1].value == "json"


def test_what_was_cancelled_is_read_only_when_asked_for(place):
    text = sample.config_of(sample.point(sample.uniform(4), 900)).encode()
    at = drawn(text).run()
    what = at.session_state["it-opened"][0]
    again = drawn(text)
    again.session_state["it-cancelled"] = what
    again.run()
    assert "Cancelled" in again.info[0].value
    assert again.markdown[-1].value == "nothing"
    again.button(key="it-again").click().run()
    assert not again.exception
    assert again.markdown[-1].value == "json"
    assert not again.info


def test_progress_says_what_is_taken_of_the_bounds():
    look = Look("running", "Reading *it*", seconds=20, most_s=80, memory_gb=2, most_gb=4)
    assert progress_words(look) == (
        r"Reading \*it\* (20 s of at most 80 s; 2.0 of at most 4.0 GB of memory)"
    )
    assert share_of(look) == 0.5
    assert share_of(Look("running", done=3, total=12, seconds=70, most_s=80)) == 0.25
    assert share_of(Look("running", seconds=200)) == 0
    assert progress_words(Look("running", "Counting", done=1, total=9)) == "Counting 1 of 9 (0 s)"
