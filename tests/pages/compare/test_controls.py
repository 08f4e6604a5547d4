from types import SimpleNamespace

import pytest

from pages.compare import controls
from pages.compare.controls import FROM, TO, clicked

RUNS = {7: 1, 9: 2}


@pytest.fixture
def state(monkeypatch):
    session = SimpleNamespace(session_state={})
    monkeypatch.setattr(controls, "st", session)
    return session.session_state


def click(state, *points):
    state["chart"] = {"selection": {"points": list(points)}}
    clicked("chart", RUNS.get)


def test_a_click_takes_a_point_and_moves_the_one_before_to_the_other_side(state):
    click(state, {"customdata": [7, "words"]})
    assert state[TO] == "1:7"
    assert FROM not in state
    click(state, {"customdata": [9, "words"]})
    assert (state[FROM], state[TO]) == ("1:7", "2:9")
    click(state, {"customdata": [9, "words"]})
    assert (state[FROM], state[TO]) == ("1:7", "2:9")


def test_a_click_on_anything_else_changes_nothing(state):
    state[TO] = "1:7"
    for point in ({}, {"customdata": []}, {"customdata": ["x"]}, {"customdata": [11, "gone"]}):
        click(state, point)
    clicked("no such figure", RUNS.get)
    assert state[TO] == "1:7"
    assert FROM not in state
