"""A time budget becomes epochs that take about so long, whatever the machine and the search."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.errors import InvalidData, InvalidParams
from qcore.qat.pace import MINUTES, Pace, epochs_words, paced, seconds_of
from qcore.searches import SEARCHES

TRAINED = [search for search in SEARCHES.values() if search.work is not None]
every = pytest.mark.parametrize("search", TRAINED, ids=lambda search: search.name)
PACE = Pace(1 / 650, 1 / 2500, 12.0, 6362, 1024, 10_000)


def test_what_trains_weights_of_its_own_says_what_takes_time():
    trained = {search.name for search in SEARCHES.values() if search.trains}
    assert {search.name for search in TRAINED} == trained - {"metanetwork"}


@every
@given(
    minutes=st.floats(20, 120),
    rate=st.floats(100, 5_000),
    images=st.integers(3_000, 60_000),
    switches=st.integers(2, 6),
)
def test_a_run_takes_about_the_minutes_that_are_given(search, minutes, rate, images, switches):
    pace = Pace(1 / rate, 1 / (4 * rate), 10.0, images, 1024, 10_000)
    found = paced(search, minutes, pace, switches)
    params = search.read_params(found)
    seconds = seconds_of(search, params, pace, switches)
    epoch = images / rate * search.work.passes(params, switches)
    # within an epoch, or a tenth, of the budget
    assert seconds <= 1.1 * 60 * minutes + 1
    assert seconds >= 0.88 * 60 * minutes - 2.1 * epoch
    assert all(
        (getattr(params, name) > 0) == (getattr(search.params(), name) > 0)
        for name in search.work.epochs
    )


@every
def test_more_minutes_train_more(search):
    images = []
    for minutes in MINUTES:
        params = search.read_params(paced(search, minutes, PACE, 4))
        epochs = sum(getattr(params, name) for name in search.work.epochs)
        images.append(epochs * (params.epoch_images or PACE.images))
    assert images == sorted(images)
    assert images[2] > 3 * images[1] > 9 * images[0] / 3


def test_stages_keep_their_proportions_and_what_was_set_stays():
    found = paced(SEARCHES["dq"], 30, PACE, 4, {"penalty": 0.2, "final_epochs": 6})
    assert found["penalty"] == 0.2
    assert found["final_epochs"] == pytest.approx(2 * found["bits_epochs"], rel=0.05)


def test_no_stage_that_is_off_is_switched_on():
    found = paced(SEARCHES["dq"], 30, PACE, 4, {"final_epochs": 0})
    assert found["final_epochs"] == 0
    assert found["bits_epochs"] > 10


@pytest.mark.parametrize(
    ("name", "field"), [("gradfreebits", "evaluations"), ("bitmixer", "points")]
)
def test_a_short_budget_looks_at_fewer_candidates(name, field):
    search, slow = SEARCHES[name], dataclasses.replace(PACE, look_seconds=1 / 400)
    params = search.read_params(paced(search, 5, slow, 4))
    assert 0 < getattr(params, field) < getattr(search.params(), field)
    assert seconds_of(search, params, slow, 4) <= 1.1 * 300


def test_a_short_budget_has_shorter_epochs():
    slow = dataclasses.replace(PACE, train_seconds=1 / 30)
    found = paced(SEARCHES["dq"], 5, slow, 4)
    assert 0 < found["epoch_images"] < PACE.images


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 0.001])
def test_minutes_that_buy_nothing_are_refused(minutes):
    with pytest.raises(InvalidParams, match="minutes"):
        paced(SEARCHES["dq"], minutes, PACE, 4)


def test_a_search_that_trains_nothing_has_no_minutes():
    with pytest.raises(InvalidParams, match="trains nothing"):
        paced(SEARCHES["portfolio"], 5, PACE, 4)


def test_a_pace_survives_json_and_a_damaged_one_is_refused():
    written = json.loads(json.dumps(PACE.to_json()))
    assert Pace.from_json(written) == PACE
    for field in written:
        for wrong in (None, "x", -1, float("nan"), [], 10**400):
            with pytest.raises(InvalidData, match="measure it again"):
                Pace.from_json({**written, field: wrong})
    for wrong in (None, 3, [], {}):
        with pytest.raises(InvalidData, match="measure it again"):
            Pace.from_json(wrong)


def test_what_minutes_buy_is_said_in_epochs_and_samples():
    said = epochs_words(SEARCHES["dq"], paced(SEARCHES["dq"], 30, PACE, 4), PACE)
    assert said.startswith("Epochs of bits: ")
    assert said.endswith("of 6,362 samples each, at 650 samples a second here")
