"""Greedy, exact and portfolio against the true optimum of small problems."""

import dataclasses
import itertools

import numpy as np
import pytest

from qcore.allocation import BitAllocation
from qcore.costs.budget import Budget
from qcore.engine import drive
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.front import dominates
from qcore.problem import SensitivityTable
from qcore.searches import SEARCHES
from qcore.solvers.descent import descend
from qcore.solvers.space import space_of
from tests.helpers import Toy, toy_problem, with_budget
from tests.variants import some


def search(name: str, toy: Toy, **params):
    chosen = SEARCHES[name].read_params(params)
    return drive(SEARCHES[name], toy.problem, chosen, 0, score=toy.score)


def best(toy: Toy, outcome) -> float:
    return min(toy.damage(p.allocation) for p in outcome.points if toy.problem.admits(p.allocation))


additive_toys = [
    with_budget(toy_problem(5, seed=seed), share) for seed in range(4) for share in (0.05, 0.3, 0.7)
] + [
    with_budget(with_budget(toy_problem(3, (2, 4, 8), (2, 4, 8), seed=seed), 0.3), 0.3, "bit_ops")
    for seed in range(3)
]
interaction_toys = [
    with_budget(toy_problem(5, seed=seed, interaction=1.0), share)
    for seed in range(6)
    for share in (0.1, 0.3)
]


@pytest.mark.parametrize("toy", additive_toys)
def test_exact_finds_the_optimum_of_additive_problems(toy):
    assert best(toy, search("exact", toy)) == pytest.approx(toy.optimum())


@pytest.mark.parametrize("toy", additive_toys)
def test_greedy_is_never_better_than_the_optimum_and_is_within_the_budget(toy):
    regret = best(toy, search("greedy", toy)) - toy.optimum()
    assert regret >= -1e-12


@pytest.mark.parametrize("toy", some(additive_toys[:13] + interaction_toys, 9))
def test_portfolio_is_never_worse_than_any_optimum_it_solved(toy):
    kinds = ("gradient", "kl", "weight_mse")
    found = best(toy, search("portfolio", toy, kinds=kinds, exchanges=0))
    for kind in kinds:
        assert found <= best(toy, search("exact", toy, sensitivity=kind, points=1)) + 1e-12
    assert best(toy, search("portfolio", toy, kinds=kinds)) <= found


@pytest.mark.parametrize("toy", interaction_toys)
def test_portfolio_finds_the_optimum_of_interacting_layers(toy):
    kinds = ("gradient", "gradient_pairs", "kl", "weight_mse")
    assert best(toy, search("portfolio", toy, kinds=kinds)) == pytest.approx(toy.optimum())


def test_by_default_the_portfolio_measures_the_optima_of_gradient_pairs_and_kl():
    toy = interaction_toys[0]
    asked = []
    counted = dataclasses.replace(
        toy.problem, sensitivity=lambda kind: asked.append(kind) or toy.problem.sensitivity(kind)
    )
    params = SEARCHES["portfolio"].read_params({"points": 1, "exchanges": 0})
    outcome = drive(SEARCHES["portfolio"], counted, params, 0, score=toy.score)
    assert set(asked) == {"gradient", "kl"}
    assert 1 <= outcome.evaluations <= 3


def test_logit_gram_takes_part_in_the_portfolio_with_its_pairs():
    """It finds what gradients with the same pairs find, and not what its diagonal alone does."""
    better = worse = 0
    for toy in interaction_toys:
        alone = {"points": 1, "exchanges": 0}
        found = best(toy, search("portfolio", toy, kinds=["logit_gram"], **alone))
        assert found == best(toy, search("portfolio", toy, kinds=["gradient_pairs"], **alone))
        diagonal = best(toy, search("exact", toy, sensitivity="logit_gram", points=1))
        better, worse = better + (found < diagonal), worse + (found > diagonal)
    assert better > worse


def test_the_additive_optimum_of_interacting_layers_is_wrong_somewhere():
    regrets = [
        best(toy, search("exact", toy, points=1)) - toy.optimum() for toy in interaction_toys
    ]
    assert min(regrets) >= -1e-12
    assert max(regrets) > 0.001


def test_exchanges_improve_on_a_misleading_sensitivity():
    improved = 0
    for toy in interaction_toys:
        options = {"kinds": ["weight_mse"], "points": 1}
        alone = best(toy, search("portfolio", toy, **options, exchanges=0))
        exchanged = best(toy, search("portfolio", toy, **options, exchanges=60))
        assert exchanged <= alone
        improved += exchanged < alone
    assert improved >= len(interaction_toys) // 2


def test_portfolio_spends_at_most_its_exchanges():
    toy = with_budget(toy_problem(6, interaction=1.0), 0.3)
    none = len(search("portfolio", toy, points=1, exchanges=0).points)
    some = len(search("portfolio", toy, points=1, exchanges=6).points)
    assert none <= 4
    assert none < some <= none + 6


def test_portfolio_measures_the_budget_before_lower_levels():
    toy = with_budget(toy_problem(6), 0.5)
    points = search("portfolio", toy, kinds=["kl"], points=5, exchanges=0).points
    costs = [toy.cost(point.allocation) for point in points]
    assert len(costs) == 5
    assert costs == sorted(costs, reverse=True)


def test_portfolio_needs_a_kind_and_looks_each_table_up():
    with pytest.raises(InvalidParams, match="at least one sensitivity"):
        search("portfolio", toy_problem(2), kinds=[])
    toy = toy_problem(3)
    search("portfolio", toy, kinds=["hessian", "gradient_pairs"])
    assert toy.tables == ["hessian", "gradient"]


def test_exact_measures_the_whole_front_where_it_is_short():
    toy = toy_problem(3, (2, 8))
    everything = toy.all_allocations()

    def price(allocation):
        return toy.cost(allocation), toy.damage(allocation)

    dominated = [a for a in everything if any(dominates(price(b), price(a)) for b in everything)]
    found = {point.allocation for point in search("exact", toy).points}
    assert found == set(everything) - set(dominated)


def test_exact_spreads_its_points_over_the_cost_range():
    toy = toy_problem(8, (2, 3, 4, 6, 8))
    costs = [toy.cost(point.allocation) for point in search("exact", toy, points=6).points]
    everything = [toy.cost(a) for a in (toy_uniform(toy, 2), toy_uniform(toy, 8))]
    assert len(costs) == 6
    assert costs == sorted(costs, reverse=True)
    assert [min(costs), max(costs)] == everything
    ratios = np.array(costs[:-1]) / np.array(costs[1:])
    assert ratios.max() / ratios.min() < 1.2


def toy_uniform(toy: Toy, bits: int):
    return BitAllocation.uniform(toy.problem.model.layers, bits)


def test_greedy_steps_lower_cost_and_end_at_the_cheapest():
    toy = toy_problem(5, (2, 3, 4, 8))
    space = space_of(toy.problem)
    path = descend(space, space.scores(toy.problem.sensitivity("kl")))
    costs = [int(space.price(choice)[0]) for choice in path]
    assert all(after < before for before, after in itertools.pairwise(costs))
    assert costs[-1] == space.cheapest[0]
    assert space.allocation(path[0]) == toy_uniform(toy, 8)


def test_greedy_measures_the_first_that_fits_and_the_one_before():
    toy = with_budget(toy_problem(6), 0.4)
    space = space_of(toy.problem)
    path = descend(space, space.scores(toy.problem.sensitivity("kl")))
    prices = [int(space.price(choice)[0]) for choice in path]
    first = next(i for i, price in enumerate(prices) if price <= space.limits[0])
    measured = {point.allocation for point in search("greedy", toy, points=5).points}
    assert {space.allocation(path[first]), space.allocation(path[first - 1])} <= measured
    assert sum(not toy.problem.admits(a) for a in measured) == 1
    assert 3 <= len(measured) <= 5


def test_scores_that_are_not_finite_are_refused():
    toy = toy_problem(2, (2, 4))
    rows = {name: {2: float("nan"), 4: 0.0} for name in toy.problem.model.names}
    broken = SensitivityTable("kl", "nats", rows)
    problem = dataclasses.replace(toy.problem, sensitivity=lambda kind: broken)
    with pytest.raises(InvalidParams, match="layer 'layer0' is not a finite number"):
        search("exact", dataclasses.replace(toy, problem=problem), sensitivity="kl")


def test_a_budget_only_on_fixed_parts_names_the_smallest_total():
    toy = toy_problem(2, (2, 4))
    with pytest.raises(InfeasibleBudget) as info:
        search("exact", with_limit(toy, "model_bytes", 10.0))
    cheapest = min(toy.cost(a, "model_bytes") for a in toy.all_allocations())
    assert info.value.cheapest == {"model_bytes": cheapest}


def with_limit(toy: Toy, cost: str, limit: float) -> Toy:
    budget = Budget({cost: limit})
    return dataclasses.replace(toy, problem=dataclasses.replace(toy.problem, budget=budget))
