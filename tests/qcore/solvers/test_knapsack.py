"""The exact solver where labels are many: cut, rounded, or of a real network's size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.costs.budget import Budget, make_options
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.problem import Problem, SensitivityTable
from qcore.solvers import lagrangian
from qcore.solvers.knapsack import exact_front, layer_tables
from qcore.solvers.lagrangian import exact_best
from tests.strategies import model
from tests.variants import examples


def tables(seed, layers, kinds, options=4):
    rng = np.random.default_rng(seed)
    prices = [rng.integers(0, 50, (options, kinds)) for _ in range(layers)]
    scores = [rng.integers(0, 400, options) / 8 for _ in range(layers)]
    return prices, scores


def total(tables_, choice):
    return sum(row[i] for row, i in zip(tables_, choice, strict=True))


@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 2**31), kinds=st.integers(1, 2), room=st.floats(0, 1))
@pytest.mark.parametrize("widths", [lagrangian.WIDTHS, (1, 3, 10**6), (2, 10**6)])
def test_the_optimum_is_the_best_of_the_front_however_few_labels_come_first(
    widths, seed, kinds, room
):
    prices, scores = tables(seed, 6, kinds)
    low, high = (
        total([p.min(0) for p in prices], [...] * 6),
        total([p.max(0) for p in prices], [...] * 6),
    )
    limits = low + room * (high - low)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lagrangian, "WIDTHS", widths)
        choice = exact_best(prices, scores, limits.tolist())
    front = exact_front(prices, scores, limits.tolist())
    assert (choice is None) == (len(front.scores) == 0)
    if choice is not None:
        assert total(scores, choice) == front.scores.min()
        cheapest = front.costs[front.scores == front.scores.min(), 0].min()
        assert total(prices, choice)[0] == cheapest
        assert (total(prices, choice) <= limits).all()


@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 2**31), tolerance=st.sampled_from([0.01, 0.1, 1.0]))
def test_a_tolerance_is_kept(seed, tolerance):
    prices, scores = tables(seed, 6, 2)
    limits = [150, 150]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lagrangian, "WIDTHS", (1, 1, 4, 10**6))
        choice = exact_best(prices, scores, limits, tolerance=tolerance)
    front = exact_front(prices, scores, limits)
    assert (choice is None) == (len(front.scores) == 0)
    if choice is not None:
        assert (total(prices, choice) <= limits).all()
        found = total(scores, choice)
        assert found - front.scores.min() <= tolerance * found + 1e-9


@settings(max_examples=examples(80), deadline=None)
@given(seed=st.integers(0, 2**31), kinds=st.integers(1, 2), step=st.integers(1, 20))
def test_a_resolution_loses_no_more_than_it_promises(seed, kinds, step):
    layers = 4
    prices, scores = tables(seed, layers, kinds)
    limits = np.full(kinds, 100)
    rough = exact_front(prices, scores, limits.tolist(), resolution=[step] * kinds)
    assert (rough.costs <= limits).all()
    for costs, score, choice in zip(rough.costs, rough.scores, rough.choices, strict=True):
        assert (total(prices, choice) == costs).all()
        assert total(scores, choice) == score
    exact = exact_front(prices, scores, (limits - layers * (step - 1)).tolist())
    if len(exact.scores):
        assert rough.scores.min() <= exact.scores.min()


def test_a_resolution_of_one_is_exact():
    prices, scores = tables(3, 5, 2)
    fine, exact = exact_front(prices, scores, resolution=[1, 1]), exact_front(prices, scores)
    assert np.array_equal(fine.costs, exact.costs)
    assert np.array_equal(fine.scores, exact.scores)


def test_equal_scores_give_the_cheapest():
    prices = [np.array([[3], [1], [2]])] * 2
    choice = exact_best(prices, [np.zeros(3)] * 2, [6])
    assert choice is not None
    assert choice.tolist() == [1, 1]


def test_limits_may_be_infinite_or_exactly_the_cheapest():
    prices, scores = tables(4, 4, 2)
    free = exact_best(prices, scores, [np.inf, np.inf])
    assert total(scores, free) == sum(s.min() for s in scores)
    one_way = [np.array([[1, 1], [2, 2], [3, 3]])] * 4
    falling = [np.array([2.0, 1.0, 0.0])] * 4
    cheapest = exact_best(one_way, falling, [4, 4])
    assert cheapest is not None
    assert cheapest.tolist() == [0, 0, 0, 0]
    assert exact_best(one_way, falling, [4, 3]) is None


def test_a_network_of_fifty_layers_is_solved_whole():
    rng = np.random.default_rng(0)
    widths = np.arange(2, 9)
    sizes = rng.integers(1_000, 2_000_000, 54)
    prices = [(size * widths // 8)[:, None] for size in sizes]
    scores = [rng.lognormal() * 4.0**-widths * rng.lognormal(0, 0.2, 7) for _ in sizes]
    front = exact_front(prices, scores)
    assert len(front.scores) > 1000
    assert (np.diff(front.costs[:, 0]) > 0).all()
    assert (np.diff(front.scores) < 0).all()
    assert front.costs[0, 0] == sum(p.min() for p in prices)
    for member in range(0, len(front.scores), len(front.scores) // 10):
        choice = exact_best(prices, scores, [float(front.costs[member, 0])])
        assert total(scores, choice) == pytest.approx(front.scores[member], rel=1e-9)


@pytest.mark.parametrize(("prices", "scores", "words"), [
    ([], [], "at least one"),
    ([np.ones((2, 1))], [], "same layers"),
    ([np.ones((2, 1)), np.ones((2, 2))], [np.ones(2)] * 2, "one or two costs"),
    ([np.ones((2, 1))], [np.ones(3)], "one score for each option"),
    ([np.ones((0, 1))], [np.ones(0)], "at least one"),
    ([np.full((2, 1), 1.5)], [np.ones(2)], "whole numbers"),
    ([np.ones((2, 1))], [np.array([1.0, np.nan])], "finite"),
])  # fmt: skip
def test_tables_that_do_not_fit_are_refused(prices, scores, words):
    with pytest.raises(InvalidParams, match=words):
        exact_front(prices, scores)


def test_limits_and_resolutions_are_one_for_each_cost():
    prices, scores = tables(0, 2, 2)
    with pytest.raises(InvalidParams, match="one limit for each of the 2 costs"):
        exact_best(prices, scores, [1])
    for resolution in ([1], [1, 0]):
        with pytest.raises(InvalidParams, match="one resolution"):
            exact_front(prices, scores, resolution=resolution)


def make_problem(limits):
    options = make_options(model().layers, (2, 4), (4, 8))
    return Problem(model(), options, Budget(limits))


TABLE = SensitivityTable(
    "kl",
    "nats",
    {"conv": {2: 1.0, 4: 0.5}, "fc": {2: 2.0, 4: 0.25}},
    {"conv": {4: 0.125, 8: 0.0}, "fc": {4: 0.0, 8: 0.0}},
)


def test_layer_tables_hold_every_option_with_its_prices_and_score():
    options, prices, scores = layer_tables(make_problem({}), TABLE, ("weight_bytes", "bit_ops"))
    assert [(b.weight, b.activation) for b in options[0]] == [(2, 4), (2, 8), (4, 4), (4, 8)]
    assert prices[0].tolist() == [[18, 14400], [18, 28800], [36, 28800], [36, 57600]]
    assert scores[0].tolist() == [1.125, 1.0, 0.625, 0.5]


def test_a_limit_on_the_largest_activation_leaves_options_out():
    problem = make_problem({"activation_bytes_max": 25})
    options, _, _ = layer_tables(problem, TABLE, ("weight_bytes",))
    assert {bits.activation for row in options for bits in row} == {4}
    with pytest.raises(InfeasibleBudget, match="'conv'"):
        layer_tables(make_problem({"activation_bytes_max": 24}), TABLE, ("weight_bytes",))
    with pytest.raises(InvalidParams, match="maximum over layers"):
        layer_tables(problem, TABLE, ("activation_bytes_max",))
