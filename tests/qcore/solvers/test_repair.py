"""Repair ends within the limits whatever they are, checked against trying everything."""

import dataclasses
import itertools

import numpy as np
import pytest

from qcore.allocation import LayerBits
from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.costs.formulas import CostModel
from qcore.errors import InfeasibleBudget
from qcore.solvers.genes import genes_of
from qcore.solvers.repair import best_uniform, fitting, repair_of
from qcore.solvers.space import space_of
from tests.helpers import toy_problem, with_budget

MIXES = [
    ("weight_bytes",),
    ("weight_bytes", "bit_ops"),
    ("weight_bytes", "activation_bytes_max"),
    ("weight_bytes", "bit_ops", "activation_bytes_sum", "activation_bytes_max"),
]


def every_choice(space):
    options = map(range, space.sizes)
    return [np.array(choice) for choice in itertools.product(*options)]


@pytest.mark.parametrize("costs", MIXES, ids="+".join)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_every_choice_is_brought_within_all_limits(costs, share):
    toy = toy_problem(3, (2, 4, 8), (2, 8), seed=4)
    for cost in costs:
        toy = with_budget(toy, share, cost)
    space = space_of(toy.problem)
    repair, rng = repair_of(space), np.random.default_rng(0)
    for choice in every_choice(space):
        fitted = repair.within(choice, rng)
        assert toy.problem.admits(space.allocation(fitted))
        if toy.problem.admits(space.allocation(choice)):
            assert (fitted == choice).all()


def trading(limits):
    """Options that trade weights for activations, so that lowering one cost raises another."""
    toy = toy_problem(4, (2, 8), (2, 8), seed=2)
    pairs = (LayerBits(2, 8), LayerBits(3, 3), LayerBits(8, 2))
    options = dict.fromkeys(toy.problem.model.names, pairs)
    problem = dataclasses.replace(toy.problem, options=options, budget=Budget(limits))
    return dataclasses.replace(toy, problem=problem)


@pytest.mark.parametrize("seed", range(8))
def test_options_that_trade_costs_are_repaired_wherever_anything_fits(seed):
    toy, rng = trading({}), np.random.default_rng(seed)
    prices = [
        {c: toy.cost(a, c) for c in ("weight_bytes", "activation_bytes_sum", "bit_ops")}
        for a in toy.all_allocations()
    ]
    # limits of which some pair of costs is met by hardly any allocation
    first, second = rng.choice(len(prices), 2)
    limits = {c: max(prices[first][c], prices[second][c]) for c in prices[0]}
    limits["bit_ops"] = prices[first]["bit_ops"]
    toy = trading(limits)
    space = space_of(toy.problem)
    fits = [c for c in every_choice(space) if toy.problem.admits(space.allocation(c))]
    assert fits
    repair = repair_of(space)
    assert toy.problem.admits(space.allocation(fitting(space)))
    for choice in every_choice(space):
        assert toy.problem.admits(space.allocation(repair.within(choice, rng)))


def test_limits_that_clash_are_infeasible_however_many_there_are():
    toy = trading({})
    lowest = {
        c: min(toy.cost(a, c) for a in toy.all_allocations())
        for c in ("weight_bytes", "activation_bytes_sum", "model_bytes")
    }
    with pytest.raises(InfeasibleBudget, match="all limits at once"):
        repair_of(space_of(trading(lowest).problem))


def test_a_table_no_gradient_could_use_is_kept():
    # milliseconds as a machine might have them: 3 bits are slower than 4 and than 2
    table = {2: 5, 3: 9, 4: 6, 8: 10}
    slow = CostModel(
        "latency", "Latency", "us", lambda layer, bits: table[bits.weight] * bits.activation
    )
    toy = toy_problem(3, (2, 3, 4, 8), (4, 8))
    budget = Budget({"latency": 3 * 6 * 4, "weight_bytes": 400.0}, {**COSTS, "latency": slow})
    toy = dataclasses.replace(toy, problem=dataclasses.replace(toy.problem, budget=budget))
    space = space_of(toy.problem)
    repair, rng = repair_of(space), np.random.default_rng(1)
    for choice in every_choice(space)[::7]:
        fitted = space.allocation(repair.within(choice, rng))
        assert slow.total(toy.problem.model, fitted) <= 72
        assert toy.problem.admits(fitted)


def test_uniform_start_is_the_largest_that_fits():
    toy = toy_problem(4, (2, 3, 4, 8))
    size = sum(layer.weights for layer in toy.problem.model.layers)
    budget = Budget({"weight_bytes": 3.9 * size / 8 + 4})
    space = space_of(dataclasses.replace(toy.problem, budget=budget))
    allocation = space.allocation(best_uniform(genes_of(space), repair_of(space)))
    assert {bits.weight for bits in allocation.values()} == {3}


def test_uniform_start_is_something_that_fits_where_no_uniform_bits_do():
    toy = trading({})
    some = toy.all_allocations()[5]
    toy = trading({c: toy.cost(some, c) for c in ("weight_bytes", "activation_bytes_sum")})
    space = space_of(toy.problem)
    choice = best_uniform(genes_of(space), repair_of(space))
    assert toy.problem.admits(space.allocation(choice))
