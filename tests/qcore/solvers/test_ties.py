"""Tied layers as one decision: held against trying everything."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS, applicable
from qcore.costs.budget import Budget
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.front import front_points
from qcore.problem import Problem
from qcore.rules.resolve import resolve
from qcore.rules.rule import Rule
from qcore.rules.ties import Tie, holds, merged
from qcore.solvers import decisions
from qcore.solvers.decisions import decisions_of, joint_options, nearest_allowed
from qcore.solvers.genes import genes_of
from qcore.solvers.knapsack import layer_tables
from qcore.solvers.repair import fitting, repair_of
from qcore.solvers.space import space_of
from tests.helpers import Toy, toy_problem

NAMES = tuple(f"layer{at}" for at in range(8))
WIDTHS = st.lists(st.sampled_from([2, 3, 4, 8]), min_size=1, max_size=2, unique=True)


@st.composite
def random_rules(draw, layers: int):
    """A few rules on layers of a chain: ties that may cross, and widths of their own."""
    names = NAMES[:layers]
    rules = []
    for _ in range(draw(st.integers(0, 3))):
        chosen = draw(st.lists(st.sampled_from(names), min_size=2, max_size=4, unique=True))
        tie = draw(st.sampled_from(["weights", "activations", "both"]))
        rules.append(Rule(", ".join(chosen), tie=tie))
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(names))
        rules.append(Rule(name, weights=tuple(sorted(draw(WIDTHS)))))
    return rules


def tied_toy(layers, rules, weights=(2, 4, 8), inputs=(4, 8)) -> Toy | None:
    toy = toy_problem(layers, weights, inputs, seed=layers)
    try:
        found = resolve(rules, toy.problem.model.layers, weights, inputs)
    except InvalidParams:
        return None
    problem = dataclasses.replace(toy.problem, options=found.options, ties=found.ties)
    return dataclasses.replace(toy, problem=problem)


SUMMED = [
    name
    for name, cost in applicable(toy_problem(2).problem.model, COSTS).items()
    if cost.reduce == "sum"
]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), layers=st.integers(3, 5), listed=st.sampled_from([1, 6, 512]))
def test_the_exact_front_is_that_of_all_allowed_tied_allocations_for_every_cost(
    data, layers, listed
):
    toy = tied_toy(layers, data.draw(random_rules(layers)))
    if toy is None:
        return
    everything = toy.all_allocations()
    damage = [toy.damage(allocation) for allocation in everything]
    cost = data.draw(st.sampled_from(SUMMED))
    problem = dataclasses.replace(toy.problem, budget=Budget({cost: 1e15}))
    with pytest.MonkeyPatch.context() as patch:
        # how many combinations are listed must change nothing
        patch.setattr(decisions, "LISTED", listed)
        table = problem.sensitivity("gradient")
        space = space_of(problem, (table,), most=None)
        front = space.front(space.scores(table))
    prices = [COSTS[cost].total(toy.problem.model, allocation) for allocation in everything]
    best = front_points([float(price) for price in prices], damage)
    # sums in another order differ in their last digit
    wanted = {prices[at]: damage[at] for at in best}
    found = dict(zip((front.costs[:, 0] + space.fixed[0]).tolist(), front.scores, strict=True))
    assert found == pytest.approx(wanted)
    for choice in front.choices:
        problem.check(space.allocation(choice))


@settings(max_examples=15, deadline=None)
@given(data=st.data(), share=st.floats(0.05, 0.9))
def test_two_budgets_at_once_meet_the_best_there_is(data, share):
    toy = tied_toy(5, data.draw(random_rules(5)))
    if toy is None:
        return
    rows = [(toy.damage(a), toy.cost(a), toy.cost(a, "bit_ops")) for a in toy.all_allocations()]
    limits = {
        name: min(r[at] for r in rows)
        + share * (max(r[at] for r in rows) - min(r[at] for r in rows))
        for at, name in ((1, "weight_bytes"), (2, "bit_ops"))
    }
    inside = [r[0] for r in rows if r[1] <= limits["weight_bytes"] and r[2] <= limits["bit_ops"]]
    problem = dataclasses.replace(toy.problem, budget=Budget(limits))
    table = problem.sensitivity("gradient")
    try:
        space = space_of(problem, (table,), most=None)
    except InfeasibleBudget:
        assert not inside
        return
    choice = next(space.optima(space.scores(table), space.levels(1)))
    if choice is None:
        assert not inside
        return
    found = space.allocation(choice)
    problem.check(found)
    assert problem.admits(found)
    assert toy.damage(found) == pytest.approx(min(inside))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99), listed=st.sampled_from([1, 512]))
def test_whatever_is_drawn_repaired_or_encoded_keeps_the_rules(data, seed, listed):
    toy = tied_toy(5, data.draw(random_rules(5)))
    if toy is None:
        return
    costs = [toy.cost(allocation) for allocation in toy.all_allocations()]
    limit = min(costs) + 0.2 * (max(costs) - min(costs))
    problem = dataclasses.replace(toy.problem, budget=Budget({"weight_bytes": limit}))
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions, "LISTED", listed)
        space = space_of(problem)
        genes, repair = genes_of(space), repair_of(space)
        for _ in range(5):
            vector = rng.uniform(-1, 4, len(genes.genes))
            choice = repair.within(genes.choice(vector), rng)
            problem.check(space.allocation(choice))
            assert problem.admits(space.allocation(choice))
            assert genes.choice(genes.vector(choice)).tolist() == choice.tolist()
        problem.check(space.allocation(fitting(space)))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), weight=st.integers(1, 9), inputs=st.integers(1, 9))
def test_the_nearest_allowed_bits_keep_the_rules(data, weight, inputs):
    toy = tied_toy(6, data.draw(random_rules(6)))
    if toy is None:
        return
    bits = LayerBits(min(weight, 8), min(inputs, 8))
    problem, wanted = toy.problem, dict.fromkeys(NAMES, bits)
    for listed in (1, 512):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decisions, "LISTED", listed)
            found = nearest_allowed(problem.model.names, problem.options, problem.ties, wanted)
        problem.check(BitAllocation(found))


def test_a_tie_of_many_layers_is_solved_though_its_combinations_cannot_be_listed():
    layers = 24
    toy = toy_problem(layers, (2, 3, 4, 8), (4, 8))
    names = toy.problem.model.names
    problem = dataclasses.replace(
        toy.problem,
        ties=(Tie("activation", names),),
        budget=Budget(
            {"weight_bytes": toy.cost(BitAllocation.uniform(toy.problem.model.layers, 3, 4))}
        ),
    )
    table = problem.sensitivity("gradient")
    space = space_of(problem, (table,), most=None)
    assert len(space.decisions) == 1
    assert not space.decisions[0].complete
    found = space.allocation(next(space.optima(space.scores(table), space.levels(1))))
    # with the inputs fixed the layers are free, so the optimum is the better of two free ones
    alone = []
    for width in (4, 8):
        options = {
            n: tuple(b for b in row if b.activation == width) for n, row in problem.options.items()
        }
        free = dataclasses.replace(problem, ties=(), options=options)
        inner = space_of(free)
        alone.append(
            toy.damage(inner.allocation(next(inner.optima(inner.scores(table), inner.levels(1)))))
        )
    assert toy.damage(found) == pytest.approx(min(alone))


def test_a_tie_with_one_width_left_joins_nothing():
    toy = toy_problem(4, (2, 4, 8), (8,))
    names = toy.problem.model.names
    found = decisions_of(names, toy.problem.options, (Tie("activation", names),))
    assert [decision.layers for decision in found] == [(name,) for name in names]


def test_ties_that_share_a_tensor_are_one():
    ties = (Tie("weight", ("c", "a")), Tie("weight", ("b", "c")), Tie("activation", ("a", "b")))
    assert merged(ties, "abcd") == (
        Tie("weight", ("a", "b", "c")),
        Tie("activation", ("a", "b")),
    )


def test_layers_tied_without_bits_in_common_are_refused():
    options = {"a": (LayerBits(2, 2),), "b": (LayerBits(4, 4), LayerBits(8, 2))}
    with pytest.raises(InvalidParams, match="a 2/2; b 4/4, 8/2"):
        joint_options(("a", "b"), options, (Tie("weight", ("a", "b")),))
    kept = joint_options(("a", "b"), options, (Tie("activation", ("a", "b")),))
    assert kept == {"a": (LayerBits(2, 2),), "b": (LayerBits(8, 2),)}


@pytest.mark.parametrize("tie", ["weight", "activation"])
def test_neighbours_and_wider_options_keep_ties(tie):
    toy = toy_problem(3, (2, 4, 8), (2, 4, 8))
    names = toy.problem.model.names
    ties = (Tie(tie, names[:2]),)
    for decision in decisions_of(names, toy.problem.options, ties):
        for at in range(len(decision.options)):
            for other in {*decision.neighbours(at), *decision.wider(at)}:
                bits = dict(zip(decision.layers, decision.options[other], strict=True))
                assert len(decision.layers) == 1 or holds(ties, bits)
        # steps lead from any option to any other
        reached, waiting = {0}, [0]
        while waiting:
            for other in decision.neighbours(waiting.pop()):
                if other not in reached:
                    reached.add(other)
                    waiting.append(other)
        assert reached == set(range(len(decision.options)))


def test_enumeration_of_decisions_is_that_of_allowed_allocations():
    toy = tied_toy(4, [Rule("layer{0,1}", tie="both"), Rule("layer{1,3}", tie="activations")])
    assert toy is not None
    space = space_of(toy.problem)
    made = [space.allocation(c) for c in itertools.product(*map(range, space.sizes))]
    assert len(set(made)) == len(made)
    assert set(made) == set(toy.all_allocations())


def test_problem_refuses_a_broken_tie():
    toy = toy_problem(2, (2, 4))
    tied = dataclasses.replace(toy.problem, ties=(Tie("weight", toy.problem.model.names),))
    assert isinstance(tied, Problem)
    with pytest.raises(ValueError, match="layer0 2, layer1 4"):
        tied.check(BitAllocation({"layer0": LayerBits(2), "layer1": LayerBits(4)}))


def test_rows_of_single_layers_are_refused_where_layers_are_tied():
    toy = toy_problem(2, (2, 4))
    tied = dataclasses.replace(toy.problem, ties=(Tie("weight", toy.problem.model.names),))
    with pytest.raises(InvalidParams, match="are tied"):
        layer_tables(tied, toy.problem.sensitivity("gradient"), ("weight_bytes",))
