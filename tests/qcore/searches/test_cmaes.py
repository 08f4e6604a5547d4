"""CMA-ES over bits: what it finds, what it counts, and that it can be repeated exactly."""

import dataclasses
import json
import math

import numpy as np
import pytest

from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.engine import drive
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.problem import Point, Progress, Scores
from qcore.search import Search
from qcore.searches import SEARCHES
from qcore.searches.cmaes import SEARCH, CmaesParams
from qcore.solvers.cma_round import Round, evolve, moving_window
from qcore.solvers.dependencies import kept_dependencies
from qcore.solvers.genes import genes_of
from qcore.solvers.repair import best_uniform, repair_of
from qcore.solvers.space import space_of
from tests.helpers import toy_problem, with_budget


def hard_toy(seed=0, layers=5):
    """Interacting layers, weights and activations, two limits at once."""
    toy = toy_problem(layers, (2, 3, 4, 8), (2, 4, 8), interaction=0.9, seed=seed)
    return with_budget(with_budget(toy, 0.4, "weight_bytes"), 0.4, "bit_ops")


def run(toy, seed=0, known=(), score=None, **values):
    events = []
    outcome = drive(
        SEARCH,
        toy.problem,
        SEARCH.read_params(values),
        seed,
        score=score or toy.score,
        known=known,
        on_event=events.append,
    )
    return outcome, events


def found(toy, outcome):
    return min(toy.damage(p.allocation) for p in outcome.points if toy.problem.admits(p.allocation))


def figures(events):
    """Those of generations; a descent ends with some of its own."""
    return [e.figures for e in events if isinstance(e, Progress) and "generation" in e.figures]


def test_beats_random_and_its_own_start_at_equal_evaluations():
    ratios = []
    for seed in range(4):
        toy = hard_toy(seed)
        ours, _ = run(toy, seed, start="uniform", evaluations=150)
        luck = drive(
            SEARCHES["random"],
            toy.problem,
            SEARCHES["random"].read_params({"evaluations": 150}),
            seed,
            score=toy.score,
        )
        assert found(toy, ours) < toy.damage(ours.points[0].allocation)
        ratios.append(found(toy, ours) / found(toy, luck))
    assert math.prod(ratios) < 0.5


def test_finds_the_optimum_of_a_small_problem():
    toy = toy_problem(3, (2, 3, 4, 8), (2, 4, 8), interaction=0.9, seed=3)
    toy = with_budget(with_budget(toy, 0.4, "weight_bytes"), 0.4, "bit_ops")
    outcome, _ = run(toy, start="uniform", evaluations=300)
    assert found(toy, outcome) == pytest.approx(toy.optimum())


def test_the_start_is_measured_first_and_can_be_switched():
    toy = hard_toy()
    exact = drive(
        SEARCHES["exact"],
        toy.problem,
        SEARCHES["exact"].read_params({"points": 1}),
        0,
        score=toy.score,
    )
    space = space_of(toy.problem)
    uniform = space.allocation(best_uniform(genes_of(space), repair_of(space)))
    warm, cold = run(toy, evaluations=20)[0], run(hard_toy(), start="uniform", evaluations=20)[0]
    assert warm.points[0].allocation == exact.points[0].allocation
    assert warm.points[1].allocation == uniform
    assert cold.points[0].allocation == uniform
    assert cold.points[1].allocation != exact.points[0].allocation


def test_uniform_start_needs_no_sensitivity():
    toy = toy_problem(3, sensitivity=False)
    assert run(toy, start="uniform", evaluations=12)[0].points


@pytest.mark.parametrize("limits", ["repair", "lagrangian"])
@pytest.mark.parametrize("evaluations", [12, 13, 50, 101])
def test_measures_exactly_the_evaluations_asked_for(limits, evaluations):
    toy = hard_toy()
    outcome, _ = run(toy, limits=limits, evaluations=evaluations)
    assert len(set(toy.scored)) == len(toy.scored) == outcome.evaluations
    assert outcome.evaluations <= evaluations
    if limits == "repair":
        assert outcome.evaluations == evaluations
    else:
        # its last evaluations are repaired copies, some of them known already
        assert outcome.evaluations >= evaluations - 8


def test_repair_measures_nothing_over_the_budget_and_the_lagrangian_does():
    inside = {}
    for limits in ("repair", "lagrangian"):
        toy = hard_toy(1)
        outcome, _ = run(toy, limits=limits, start="uniform", evaluations=200)
        inside[limits] = [toy.problem.admits(p.allocation) for p in outcome.points]
        assert found(toy, outcome) < toy.damage(outcome.points[0].allocation)
    assert all(inside["repair"])
    assert 0.05 < np.mean(inside["lagrangian"]) < 1


def test_auto_lets_only_long_runs_overstep():
    toy = hard_toy(2, layers=8)
    short, _ = run(toy, evaluations=200)
    assert all(toy.problem.admits(p.allocation) for p in short.points)
    long, _ = run(hard_toy(2, layers=8), evaluations=1001)
    assert not all(toy.problem.admits(p.allocation) for p in long.points)


def test_keeps_a_limit_on_the_largest_layer_with_one_on_the_sum():
    toy = with_budget(hard_toy(), 0.3, "activation_bytes_max")
    outcome, _ = run(toy, evaluations=60)
    assert len(outcome.points) == 60
    assert all(toy.problem.admits(p.allocation) for p in outcome.points)


def test_the_global_generator_is_neither_read_nor_changed():
    toy = hard_toy()
    np.random.seed(11)
    before = np.random.get_state()[1:3]
    calm = run(toy, evaluations=60)[1]
    after = np.random.get_state()[1:3]
    assert after[1] == before[1]
    assert (after[0] == before[0]).all()

    def disturbing(allocations, stage, images=None):
        np.random.seed(len(allocations))
        np.random.rand(5)
        return toy.score(allocations, stage, images)

    assert run(toy, evaluations=60, score=disturbing)[1] == calm


@pytest.mark.parametrize("limits", ["repair", "lagrangian"])
def test_interrupted_at_any_generation_it_goes_on_identically(limits):
    whole, events = run(hard_toy(), 5, limits=limits, evaluations=70)
    cuts, points = [0], 0
    for event in events:
        points += isinstance(event, Point)
        if isinstance(event, Progress):
            cuts.append(points)
    measured = [e for e in events if isinstance(e, Point)]
    assert len(set(cuts)) > 5
    for cut in sorted({*cuts, 40, len(measured)}):
        toy = hard_toy()
        again, later = run(toy, 5, known=measured[:cut], limits=limits, evaluations=70)
        assert again.points == whole.points
        assert toy.scored == [p.allocation for p in measured[cut:]]
        assert figures(later) == figures(events)


@pytest.mark.parametrize("limits", ["repair", "lagrangian"])
def test_leaves_no_files_behind(limits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(hard_toy(), limits=limits, evaluations=60)
    assert not list(tmp_path.iterdir())


def test_seeds_differ():
    assert (
        run(hard_toy(), 0, evaluations=40)[0].points != run(hard_toy(), 1, evaluations=40)[0].points
    )


def test_figures_can_be_plotted():
    toy = hard_toy()
    outcome, events = run(toy, evaluations=100)
    rows = figures(events)
    assert [row["generation"] for row in rows] == list(range(len(rows)))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    records = [row["record"] for row in rows]
    assert records == sorted(records, reverse=True)
    values = [toy.problem.value(p) for p in outcome.points]
    for row in rows:
        assert (
            set(row["mean_bits"])
            == set(row["mean_activation_bits"])
            == set(toy.problem.model.names)
        )
        assert all(2 <= bits <= 8 for bits in row["mean_bits"].values())
        assert min(values) <= row["record"] <= row["best"] <= row["median"]
        assert row["sigma"] > 0
        assert row["axis_ratio"] >= 1
    assert rows[-1]["unique"] <= 98


def test_restarts_double_the_population_and_can_be_switched_off():
    toy = with_budget(toy_problem(3, (2, 3, 4, 8), (4, 8)), 0.4)
    _, events = run(toy, evaluations=300)
    sizes = {row["restart"]: row["population"] for row in figures(events)}
    assert sizes[0] == 12
    assert sizes[1] == 24
    _, events = run(toy, evaluations=300, restarts=False)
    assert {row["restart"] for row in figures(events)} == {0}


def test_every_descent_ends_with_the_correlations_of_its_layers():
    toy = with_budget(toy_problem(3, (2, 3, 4, 8), (4, 8)), 0.4)
    _, events = run(toy, evaluations=300)
    kept = kept_dependencies([e.figures for e in events if isinstance(e, Progress)])
    rows = figures(events)
    assert len(kept) == 1 + max(row["restart"] for row in rows)
    assert sum(each["generations"] for each in kept) == len(rows)
    for each in kept:
        assert each["layers"] == list(toy.problem.model.names)
        assert np.allclose(each["matrix"], each["matrix"].T)
        assert (np.diag(each["matrix"]) == 1).all()
        assert (np.abs(each["matrix"]) <= 1).all()


def test_an_answer_that_is_no_number_counts_as_worst():
    toy = hard_toy()

    def score(allocations, stage, images=None):
        for point in toy.score(allocations, stage, images):
            if point.allocation["layer0"].weight == 2:
                point = dataclasses.replace(point, search=Scores(10, math.nan, 0.0))
            yield point

    outcome, events = run(toy, score=score, evaluations=60)
    assert outcome.evaluations == 60
    assert json.dumps(figures(events), allow_nan=False)


def test_one_searched_tensor_is_measured_at_every_width():
    outcome, _ = run(toy_problem(3, (2, 3, 4), pin_first_last=8))
    assert sorted(p.allocation["layer1"].weight for p in outcome.points) == [2, 3, 4]


def test_nothing_to_search_is_one_measurement():
    assert len(run(toy_problem(3, (4,)))[0].points) == 1


def test_a_population_larger_than_the_evaluations_is_refused():
    with pytest.raises(InvalidParams, match="population of 30 does not fit 20 evaluations"):
        run(toy_problem(3), evaluations=20, population=30)


def test_a_budget_below_the_smallest_is_refused_before_anything_is_computed():
    toy = toy_problem(3, limits={"weight_bytes": 1})
    with pytest.raises(InfeasibleBudget, match="smallest possible is"):
        run(toy)
    assert not toy.scored
    assert not toy.tables


def test_limits_on_the_largest_layer_that_leave_no_option_are_refused():
    other = dataclasses.replace(
        COSTS["weight_bytes"],
        name="trade_max",
        reduce="max",
        layer_cost=lambda layer, bits: 1000 // bits.activation,
    )
    toy = toy_problem(2, (4,), (2, 8))
    limits = {
        "trade_max": 200,
        "activation_bytes_max": toy.cost(toy.all_allocations()[0], "activation_bytes_max"),
    }
    budget = Budget(limits, {**COSTS, "trade_max": other})
    toy = dataclasses.replace(toy, problem=dataclasses.replace(toy.problem, budget=budget))
    with pytest.raises(InfeasibleBudget, match="largest layer"):
        run(toy)


def round_of(settings, window):
    """A search that is one bare round, as a search that trains in between uses it."""
    kept = []

    def once(problem, params, rng):
        space = space_of(problem)
        genes, repair = genes_of(space), repair_of(space)
        start = best_uniform(genes, repair)
        evolved = yield from evolve(
            problem, genes, repair, settings, start, rng, stage="round-1/weights", window=window
        )
        kept.append(evolved)

    return Search("round", "Round", "One round.", CmaesParams, once, family="search"), kept


def test_all_candidates_of_a_generation_see_the_same_images_which_move():
    toy = hard_toy()
    search, kept = round_of(Round(evaluations=60), moving_window(256, 64))
    events = []
    outcome = drive(search, toy.problem, CmaesParams(), 0, score=toy.score, on_event=events.append)
    windows = list(dict.fromkeys(p.images for p in outcome.points))
    assert windows == [(64 * g, 256) for g in range(len(windows))]
    assert len(windows) >= 5
    assert {p.stage for p in outcome.points} == {"round-1/weights"}
    # the same allocation on other images is another measurement
    assert kept[0].evaluations == len(outcome.points) == 60
    assert kept[0].generations in (len(windows), len(windows) - 1)


def test_a_round_ends_with_a_shortlist_within_the_limits():
    toy = hard_toy()
    search, kept = round_of(Round(evaluations=80), moving_window(256, 64))
    drive(search, toy.problem, CmaesParams(), 0, score=toy.score)
    short = kept[0].shortlist(8)
    assert len(set(short)) == len(short) == 8
    assert all(toy.problem.admits(allocation) for allocation in short)
    values = [kept[0].values[choice] for choice in kept[0].ranked]
    assert values == sorted(values)
