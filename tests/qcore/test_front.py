"""Fronts equal brute force, and the picking rule is the one that is written down."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.errors import InvalidParams
from qcore.front import best_within, dominates, front_points, hypervolume
from qcore.solvers.knapsack import exact_front, problem_front
from qcore.solvers.lagrangian import exact_best
from tests.helpers import toy_problem, with_budget
from tests.variants import examples

NUMBERS = st.lists(st.tuples(st.integers(0, 9), st.integers(-3, 9)), min_size=0, max_size=12)


@given(NUMBERS)
def test_the_front_is_what_nothing_dominates(points):
    front = {points[i] for i in front_points([p[0] for p in points], [p[1] for p in points])}
    assert front == {p for p in points if not any(dominates(o, p) for o in points)}


@given(NUMBERS)
def test_the_front_rises_in_cost_and_falls_in_value(points):
    front = [points[i] for i in front_points([p[0] for p in points], [p[1] for p in points])]
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in itertools.pairwise(front))


@given(NUMBERS)
def test_hypervolume_counts_the_dominated_cells(points):
    cells = {(x, y) for c, v in points for x in range(c, 8) for y in range(v, 6)}
    found = hypervolume([p[0] for p in points], [p[1] for p in points], (8, 6))
    assert found == pytest.approx(len(cells))


def test_the_best_is_the_lowest_value_then_the_cheapest_then_the_first():
    costs = {"weight_bytes": [5, 3, 3, 9], "bit_ops": [1, 2, 2, 1]}
    values = [0.1, 0.1, 0.1, 0.05]
    assert best_within(costs, values, {"weight_bytes": 8}) == 1
    assert best_within(costs, values, {"weight_bytes": 9}) == 3
    assert best_within(costs, values, {"weight_bytes": 8, "bit_ops": 1}) == 0
    assert best_within(costs, values, {"weight_bytes": 2}) is None
    assert best_within(costs, values, {}) == 3


def test_a_limit_equal_to_a_cost_admits_it():
    assert best_within({"c": [0.1 + 0.2]}, [1.0], {"c": 0.3}) == 0


@st.composite
def knapsacks(draw):
    seed, kinds, layers = draw(
        st.tuples(st.integers(0, 2**31), st.integers(1, 2), st.integers(1, 4))
    )
    rng = np.random.default_rng(seed)
    prices = [rng.integers(0, 12, (rng.integers(1, 5), kinds)) for _ in range(layers)]
    scores = [rng.integers(-2, 6, len(p)).astype(float) for p in prices]
    limits = rng.integers(0, 30, kinds).tolist() if draw(st.booleans()) else None
    return prices, scores, limits


def brute_force(prices, scores, limits):
    for choice in itertools.product(*[range(len(p)) for p in prices]):
        cost = tuple(int(c) for c in sum(p[i] for p, i in zip(prices, choice, strict=True)))
        score = sum(s[i] for s, i in zip(scores, choice, strict=True))
        if limits is None or all(c <= limit for c, limit in zip(cost, limits, strict=True)):
            yield (*cost, float(score))


@settings(max_examples=examples(400), deadline=None)
@given(knapsacks())
def test_the_exact_front_equals_brute_force_for_one_and_two_costs(problem):
    prices, scores, limits = problem
    solutions = set(brute_force(prices, scores, limits))
    wanted = {s for s in solutions if not any(dominates(o, s) for o in solutions)}
    front = exact_front(prices, scores, limits)
    found = [(*map(int, c), float(s)) for c, s in zip(front.costs, front.scores, strict=True)]
    assert sorted(found) == sorted(wanted)
    for row, solution in zip(front.choices, found, strict=True):
        cost = sum(p[i] for p, i in zip(prices, row, strict=True))
        score = sum(s[i] for s, i in zip(scores, row, strict=True))
        assert (*map(int, cost), float(score)) == solution


@settings(max_examples=examples(300), deadline=None)
@given(knapsacks())
def test_the_exact_optimum_equals_brute_force(problem):
    prices, scores, limits = problem
    limits = limits or [20] * prices[0].shape[1]
    solutions = list(brute_force(prices, scores, limits))
    choice = exact_best(prices, scores, limits)
    if not solutions:
        assert choice is None
        return
    score = sum(s[i] for s, i in zip(scores, choice, strict=True))
    cost = sum(p[i] for p, i in zip(prices, choice, strict=True))
    assert score == min(s[-1] for s in solutions)
    assert all(c <= limit for c, limit in zip(cost, limits, strict=True))


def test_three_costs_are_refused():
    with pytest.raises(InvalidParams, match="one or two"):
        exact_front([np.ones((2, 3))], [np.zeros(2)])


def test_the_front_of_a_problem_keeps_its_budget_and_prices_every_byte():
    toy = with_budget(toy_problem(), 0.6, "weight_bytes")
    problem = toy.problem
    front = problem_front(problem, problem.sensitivity("gradient"), ("weight_bytes", "bit_ops"))
    assert front
    for allocation, costs, score in front:
        assert problem.admits(allocation)
        from qcore.costs import costs_of

        assert costs == {n: costs_of(problem.model, allocation)[n] for n in costs}
        table = problem.sensitivity("gradient")
        assert score == pytest.approx(sum(table.score(n, b) for n, b in allocation.items()))
