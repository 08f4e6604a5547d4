"""Uniform, random and given."""

import json
import math

import numpy as np
import pytest

from qcore.allocation import BitAllocation, LayerBits
from qcore.engine import drive
from qcore.errors import InvalidAllocation, InvalidParams
from qcore.searches import SEARCHES
from qcore.solvers.sampling import draw
from qcore.solvers.space import space_of
from tests.helpers import Toy, pinned, toy_problem, with_budget


def search(name: str, toy: Toy, seed: int = 0, **params):
    chosen = SEARCHES[name].read_params(params)
    return [
        p.allocation
        for p in drive(SEARCHES[name], toy.problem, chosen, seed, score=toy.score).points
    ]


def test_uniform_is_every_pair_of_bits_in_order():
    toy = toy_problem(3, (2, 4), (4, 8))
    layers = toy.problem.model.layers
    wanted = [BitAllocation.uniform(layers, w, a) for w in (2, 4) for a in (4, 8)]
    assert search("uniform", toy) == wanted


def test_uniform_keeps_pins_and_otherwise_takes_the_nearest_bits():
    toy = pinned(toy_problem(3, (2, 4), pin_first_last=8), "layer1", LayerBits(4))
    assert search("uniform", toy) == [
        BitAllocation({"layer0": LayerBits(8), "layer1": LayerBits(4), "layer2": LayerBits(8)})
    ]
    toy = toy_problem(3, (2, 4), pin_first_last=8)
    assert [[b.weight for b in a.values()] for a in search("uniform", toy)] == [
        [8, 2, 8],
        [8, 4, 8],
    ]


def test_uniform_ignores_the_budget():
    assert len(search("uniform", with_budget(toy_problem(3), 0.01))) == 4


def test_random_measures_as_many_distinct_allocations_as_asked():
    toy = toy_problem(6)
    found = search("random", toy, evaluations=37)
    assert len(set(found)) == len(found) == 37


def test_random_differs_between_seeds():
    assert search("random", toy_problem(6), 0) != search("random", toy_problem(6), 1)


def test_random_ends_when_there_are_fewer_allocations_than_asked():
    found = search("random", toy_problem(2, (2, 8)), evaluations=64)
    assert len(found) == 4


@pytest.mark.parametrize("share", [None, 0.4])
def test_random_reaches_every_quarter_of_the_log_cost_range(share):
    toy = toy_problem(10)
    toy = toy if share is None else with_budget(toy, share)
    costs = np.log([toy.cost(a) for a in search("random", toy, evaluations=64)])
    uniform = [BitAllocation.uniform(toy.problem.model.layers, bits) for bits in (2, 8)]
    low, high = (math.log(toy.cost(a)) for a in uniform)
    high = min(high, math.log(toy.problem.budget.limits.get("weight_bytes", math.inf)))
    counts = np.histogram(costs, bins=4, range=(low, high))[0]
    assert counts.min() >= 8


def test_draws_are_at_most_and_near_their_target():
    space = space_of(toy_problem(12).problem)
    rng = np.random.default_rng(0)
    low, high = float(space.cheapest[0]), float(space.dearest[0])
    for target in np.linspace(low, high, 30):
        price = float(space.price(draw(space, target, rng))[0])
        assert 0.8 * target <= price <= target


def test_given_measures_exactly_what_it_is_given_in_the_model_order():
    toy = with_budget(toy_problem(3, (2, 8)), 0.1)
    texts = [{"layer2": [8, 32], "layer0": [2, 32], "layer1": [8, 32]}]
    found = search(
        "given", toy, allocations=[*texts, json.dumps(texts[0]).replace("2, 32", "8, 32")]
    )
    assert [tuple(a) for a in found] == [toy.problem.model.names] * 2
    assert [[b.weight for b in a.values()] for a in found] == [[2, 8, 8], [8, 8, 8]]


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        ("{", InvalidParams, "not JSON"),
        ("[1]", InvalidParams, "must map each layer"),
        ({"layer0": [2, 32]}, InvalidAllocation, "missing layers: layer1"),
        ({"layer0": [2, 32], "layer1": [3, 32]}, InvalidAllocation, "allowed here"),
        ({"layer0": [2, 32], "layer1": 3}, InvalidAllocation, "layer1"),
    ],
)
def test_given_says_what_is_wrong_before_anything_is_scored(entry, error, words):
    toy = toy_problem(2, (2, 8))
    good = {"layer0": [2, 32], "layer1": [2, 32]}
    with pytest.raises(error, match=words):
        search("given", toy, allocations=[good, entry])
    assert not toy.scored


def test_given_needs_something():
    with pytest.raises(InvalidParams, match="at least one allocation"):
        search("given", toy_problem(2))
