"""What runs at a demand, and along a trace of demands."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.run_time import demand
from qcore.errors import InvalidParams

ROWS = st.lists(
    st.tuples(*(st.integers(0, 20).map(float) for _ in range(3))), min_size=1, max_size=12
)
LEVELS = st.lists(st.integers(-2, 25).map(float), min_size=1, max_size=20)


@given(ROWS, LEVELS)
def test_within_a_limit_the_best_runs_as_brute_force_finds_it(rows, levels):
    costs, values, _ = zip(*rows, strict=True)
    for limit, pick in zip(
        levels, demand.replay(lambda x: demand.within(costs, values, x), levels), strict=True
    ):
        fitting = [at for at, cost in enumerate(costs) if cost <= limit]
        assert pick.met == bool(fitting)
        if fitting:
            assert costs[pick.at] <= limit
            assert values[pick.at] == min(values[at] for at in fitting)
            best = [at for at in fitting if values[at] == values[pick.at]]
            assert costs[pick.at] == min(costs[at] for at in best)
        else:
            assert costs[pick.at] == min(costs)


@given(ROWS, LEVELS)
def test_for_a_least_score_the_cheapest_that_has_it_runs(rows, levels):
    costs, values, scores = zip(*rows, strict=True)
    for least in levels:
        pick = demand.at_least(costs, values, scores, least)
        fitting = [at for at, score in enumerate(scores) if score >= least]
        assert pick.met == bool(fitting)
        if fitting:
            assert scores[pick.at] >= least
            assert costs[pick.at] == min(costs[at] for at in fitting)
        else:
            assert scores[pick.at] == max(scores)


@given(ROWS, LEVELS)
def test_a_replay_is_choosing_at_each_step(rows, levels):
    costs, values, _ = zip(*rows, strict=True)
    picks = demand.replay(lambda level: demand.within(costs, values, level), levels)
    assert picks == [demand.within(costs, values, level) for level in levels]
    changes = sum(picks[at].at != picks[at + 1].at for at in range(len(picks) - 1))
    assert demand.switches(picks) == changes


@pytest.mark.parametrize("name", list(demand.TRACES))
def test_made_traces_stay_within_their_ends_and_come_again(name):
    for seed in range(20):
        made = demand.trace(name, 10.0, 50.0, seed)
        assert len(made) == demand.STEPS
        assert all(10 <= level <= 50 for level in made)
        assert made == demand.trace(name, 10.0, 50.0, seed)
    assert len(set(made)) > 3


def test_walks_of_different_seeds_differ():
    assert demand.trace("Random walk", 0, 1, 1) != demand.trace("Random walk", 0, 1, 2)


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=50), st.sampled_from([" ", ", ", ";\n"]))
def test_pasted_numbers_are_read_as_they_were_written(numbers, between):
    assert demand.read_trace(between.join(map(repr, numbers))) == numbers
    assert demand.read_trace("40,30, 20") == [40, 30, 20]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "Paste the demands"),
        (" ,; ", "Paste the demands"),
        ("1 2 x 4", "Step 3 of the trace is 'x'"),
        ("1 -2", "Step 2 of the trace is '-2'"),
        ("nan", "Step 1"),
        ("1e999", "Step 1"),
        ("1 " * 501, "500 steps at most; this one has 501"),
        ("1,5 20,3", "In '1,5' the comma may mean"),
        ("20.5;1,5", "In '1,5' the comma may mean"),
        ("1,5\n2,5", "In '1,5' the comma may mean"),
        ("1" * 20_000, "10,000 characters at most"),
    ],
)
def test_what_is_no_trace_is_refused_in_words(words, said):
    with pytest.raises(InvalidParams, match=said):
        demand.read_trace(words)


@given(st.integers(0, 9), st.floats(0, 100), st.sampled_from([1, 2, 5]))
def test_playing_goes_forward_at_its_speed_and_stops_at_the_end(first, seconds, speed):
    at = demand.step_at(first, seconds, speed, 10)
    assert first <= at <= 9
    assert at == min(9, first + math.floor(seconds * speed))
