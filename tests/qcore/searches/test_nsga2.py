"""NSGA-II: what a front search must find, against brute force and against chance."""

import dataclasses

import pytest

from qcore.allocation import LayerBits
from qcore.costs import COSTS
from qcore.costs.budget import Budget, make_options
from qcore.costs.formulas import UNPRICED, CostModel
from qcore.engine import drive
from qcore.errors import InvalidParams
from qcore.front import front_points, hypervolume
from qcore.models.catalog import bundled_spec
from qcore.problem import Point, Problem, Progress, Scores
from qcore.searches import SEARCHES
from tests.helpers import toy_problem, with_budget


def run(toy, seed=0, **values):
    events = []
    search = SEARCHES["nsga2"]
    params = search.read_params(values)
    outcome = drive(search, toy.problem, params, seed, score=toy.score, on_event=events.append)
    return outcome.points, events


def test_a_small_space_is_measured_whole():
    toy = toy_problem(3, (2, 4, 8), interaction=0.6)
    points, _ = run(toy, evaluations=30, population=6)
    assert {p.allocation for p in points} == set(toy.all_allocations())


@pytest.mark.parametrize("cost", ["bit_ops", "activation_bytes_max"])
def test_its_front_beats_chance_at_equal_evaluations(cost):
    shares = []
    for seed in range(3):
        toy = toy_problem(8, (2, 3, 4, 6, 8), (4, 8), interaction=0.3)
        found, _ = run(toy, seed, evaluations=150, population=16, cost=cost)
        search = SEARCHES["random"]
        params = search.read_params({"evaluations": 150})
        chance = drive(search, toy.problem, params, seed, score=toy.score, on_event=lambda e: None)
        every = (*found, *chance.points)
        corner = (
            1.01 * max(toy.cost(p.allocation, cost) for p in every),
            1.01 * max(p.search.kl for p in every),
        )
        areas = [
            hypervolume(
                [toy.cost(p.allocation, cost) for p in points],
                [p.search.kl for p in points],
                corner,
            )
            for points in (found, chance.points)
        ]
        shares.append(areas[0] / areas[1])
    # the random search spreads its allocations over weight_bytes, so that cost is no fair test
    assert min(shares) > 1.05


def test_the_uniform_allocations_come_first():
    toy = toy_problem(6, (2, 3, 4, 8))
    points, _ = run(toy, evaluations=40, population=8)
    uniform = [{bits.weight for bits in p.allocation.values()} for p in points[:4]]
    assert uniform == [{2}, {3}, {4}, {8}]


def test_it_measures_as_many_as_asked_and_counts_its_front():
    toy = toy_problem(8, (2, 3, 4, 6, 8), interaction=0.5)
    points, events = run(toy, evaluations=61, population=12)
    assert len(points) == 61
    shown = [e.figures for e in events if isinstance(e, Progress) and e.figures][-1]
    early = points[: shown["unique"]]
    costs = [toy.cost(p.allocation) for p in early]
    assert shown["front"] == len(front_points(costs, [p.search.kl for p in early]))


def test_it_keeps_any_number_of_limits():
    toy = toy_problem(5, (2, 3, 4, 8), (4, 8))
    for cost in ("weight_bytes", "bit_ops", "model_bytes", "activation_bytes_max"):
        toy = with_budget(toy, 0.5, cost)
    points, _ = run(toy, evaluations=40, population=8)
    assert points
    assert all(toy.problem.admits(p.allocation) for p in points)


def test_a_network_that_answers_nan_is_never_better():
    toy = toy_problem(6, (2, 3, 4, 8))
    broken = LayerBits(8)

    def score(allocations, stage, images=None):
        for point in toy.score(allocations, stage, images):
            bad = point.allocation["layer0"] == broken
            kl = float("nan") if bad else point.search.kl
            yield dataclasses.replace(point, search=Scores(1000, kl, 0.5))

    events: list = []
    search = SEARCHES["nsga2"]
    params = search.read_params({"evaluations": 80, "population": 8})
    drive(search, toy.problem, params, 1, score=score, on_event=events.append)
    bad = [e.allocation["layer0"] == broken for e in events if isinstance(e, Point)]
    assert len(bad) == 80
    # once known to be bad, it dies out
    assert sum(bad[40:]) < sum(bad[:40])


def test_energy_on_an_accelerator_can_be_the_cost():
    model = bundled_spec("resnet8")
    problem = Problem(model, make_options(model.layers, (2, 4, 8), (4, 8)))

    def score(allocations, stage, images=None):
        for a in allocations:
            damage = sum(4.0**-b.weight + 4.0**-b.activation for b in a.values())
            yield Point(a, Scores(1000, damage, 0.5))

    search = SEARCHES["nsga2"]
    params = search.read_params({"evaluations": 48, "population": 12, "cost": "eyeriss_energy_pj"})
    points = drive(search, problem, params, 0, score=score, on_event=lambda e: None).points
    energy = [COSTS["eyeriss_energy_pj"].total(model, p.allocation) for p in points]
    assert len(points) == 48
    assert 0 < min(energy) < max(energy) < UNPRICED


def test_a_cost_that_the_network_lacks_is_refused_with_the_reason():
    never = CostModel(
        "elsewhere", "Elsewhere", "ns", lambda layer, bits: 1, refuses=lambda model: "no such layer"
    )
    costs = {**COSTS, "elsewhere": never}
    toy = toy_problem(4)
    problem = dataclasses.replace(toy.problem, budget=Budget({}, costs))
    search = SEARCHES["nsga2"]
    params = search.read_params({"cost": "elsewhere"}, costs)
    with pytest.raises(InvalidParams, match="no such layer"):
        drive(search, problem, params, 0, score=toy.score)


def test_a_population_must_fit_the_evaluations():
    with pytest.raises(InvalidParams, match="population of 24"):
        run(toy_problem(4), evaluations=10)
