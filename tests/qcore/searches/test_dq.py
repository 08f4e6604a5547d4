"""Learning bits as a search: what it asks, what it spends, and what it refuses."""

import dataclasses

import pytest

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS, costs_of
from qcore.costs.budget import Budget
from qcore.engine import drive
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.models.catalog import bundled_spec
from qcore.problem import Problem, Progress
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.requests import Learned, LearnedBits
from qcore.run_spec import RunSpec, check_run
from qcore.searches import SEARCHES
from qcore.solvers.start import exact_allocation
from tests.helpers import FakeTrainer, Toy, toy_problem, with_budget
from tests.small_nets import found, small_evaluator, small_options, small_trainer

SEARCH = SEARCHES["dq"]


def run(toy: Toy, learned: BitAllocation, fits: bool = True, **values):
    trainer, events = FakeTrainer({LearnedBits: Learned(learned, fits, 0.9 if fits else None)}), []
    problem = dataclasses.replace(toy.problem, trainer=trainer)
    params = SEARCH.read_params(values)
    outcome = drive(SEARCH, problem, params, 0, score=toy.score, on_event=events.append)
    return trainer, outcome, events


def at(toy: Toy, weight: int, activation: int = 32) -> BitAllocation:
    return BitAllocation.uniform(toy.problem.model.layers, weight, activation)


def limited(share: float = 0.4) -> Toy:
    return with_budget(toy_problem(5), share)


def test_it_learns_under_the_limits_and_trains_what_was_frozen():
    toy = limited()
    trainer, outcome, _ = run(toy, at(toy, 2), use_slack=False, final_epochs=3)
    learning, final = trainer.asked
    assert (learning.training, learning.stage, final.after) == ("bits", "frozen", "frozen")
    assert learning.limits == toy.problem.budget.limits
    assert learning.start == exact_allocation(toy.problem, "dq")
    assert toy.problem.admits(learning.start)
    assert trainer.trained == [("final", at(toy, 2), 3)]
    assert outcome.points[-1].stage == "final"
    assert outcome.points[-1].allocation == at(toy, 2)


def test_it_begins_at_four_bits_where_the_front_cannot_be_had_or_is_not_wanted():
    toy = limited()
    bare = dataclasses.replace(toy, problem=dataclasses.replace(toy.problem, sensitivity=None))
    trainer, _, events = run(bare, at(toy, 2), use_slack=False)
    assert trainer.asked[0].start is None
    assert any("began at four bits" in e.message for e in events if isinstance(e, Progress))
    assert run(toy, at(toy, 2), start="four")[0].asked[0].start is None


def test_slack_is_spent_and_never_more_than_there_is():
    toy = limited()
    trainer, outcome, events = run(toy, at(toy, 2))
    final = outcome.points[-1].allocation
    assert toy.damage(final) < toy.damage(at(toy, 2))
    assert toy.problem.admits(final)
    unused = [e.figures["unused"]["weight_bytes"] for e in events if "unused" in e_figures(e)]
    assert unused[0] > unused[-1] >= 0
    assert trainer.trained[-1][1] == final


def e_figures(event) -> dict:
    return dict(event.figures) if isinstance(event, Progress) else {}


def test_nothing_is_widened_to_float():
    toy = with_budget(toy_problem(3, (8, 32)), 0.9)
    _, outcome, _ = run(toy, at(toy, 8))
    assert all(bits.weight == 8 for p in outcome.points for bits in p.allocation.values())


def test_what_did_not_fit_is_brought_within_the_limits_and_said():
    toy = limited(0.1)
    _, outcome, events = run(toy, at(toy, 8), fits=False)
    assert all(toy.problem.admits(p.allocation) for p in outcome.points)
    assert any("no state was within" in e.message for e in events if isinstance(e, Progress))


def test_without_limits_there_is_no_slack():
    toy = toy_problem(4)
    _, outcome, _ = run(toy, at(toy, 3))
    assert {p.allocation for p in outcome.points} == {at(toy, 3)}


def test_it_can_begin_at_the_exact_front():
    toy = limited()
    trainer, _, _ = run(toy, at(toy, 2), start="exact")
    start = trainer.asked[0].start
    assert toy.problem.admits(start)
    assert toy.damage(start) == pytest.approx(toy.optimum())
    assert toy.tables == ["gradient"]


def test_both_activation_limits_are_refused_with_the_reason():
    toy = toy_problem(3, (2, 4), (4, 8))
    toy = with_budget(with_budget(toy, 0.5, "activation_bytes_sum"), 0.5, "activation_bytes_max")
    with pytest.raises(InvalidParams, match="different hardware"):
        run(toy, at(toy, 2, 4))


def test_a_limit_that_no_gradient_feels_is_refused_before_the_run_and_in_it():
    bare = dataclasses.replace(COSTS["weight_bytes"], name="bare", title="Bare", smooth=None)
    costs = {**COSTS, "bare": bare}
    toy = toy_problem(3)
    budget = Budget({"bare": 10_000.0}, costs)
    toy = dataclasses.replace(toy, problem=dataclasses.replace(toy.problem, budget=budget))
    words = r"Bare \(bare\) has no smooth form .* Limit another cost"
    with pytest.raises(InvalidParams, match=words):
        run(toy, at(toy, 2))
    spec = RunSpec("resnet8", "fashion-mnist", "dq", limits={"bare": 1e6})
    for model in (None, bundled_spec("resnet8")):
        with pytest.raises(InvalidParams, match=words):
            check_run(spec, model, costs)
    check_run(dataclasses.replace(spec, search="exact"), None, costs)
    check_run(dataclasses.replace(spec, limits={"packed32_bytes": 1e6}), None)


def test_both_activation_limits_are_refused_before_the_run():
    limits = {"activation_bytes_sum": 1e6, "activation_bytes_max": 1e6}
    with pytest.raises(InvalidParams, match="different hardware"):
        check_run(RunSpec("resnet8", "fashion-mnist", "dq", limits=limits), None)


def test_limits_nothing_meets_together_are_infeasible():
    toy = toy_problem(2, (2, 8), (2, 8))
    trading = {n: (LayerBits(2, 8), LayerBits(8, 2)) for n in toy.problem.model.names}
    low = BitAllocation.uniform(toy.problem.model.layers, 2, 2)
    costs = costs_of(toy.problem.model, low)
    limits = {name: costs[name] for name in ("weight_bytes", "activation_bytes_sum")}
    problem = dataclasses.replace(toy.problem, options=trading, budget=Budget(limits))
    with pytest.raises(InfeasibleBudget, match="all limits at once"):
        run(dataclasses.replace(toy, problem=problem), low)


def test_it_needs_something_to_train_with():
    toy = toy_problem(2)
    with pytest.raises(InvalidParams, match="nothing to train with"):
        drive(SEARCH, toy.problem, SEARCH.params(), 0, score=toy.score)


@pytest.mark.parametrize("activations", ["activation_bytes_sum", "activation_bytes_max"])
def test_a_real_network_ends_on_the_front_within_its_bytes(activations):
    evaluator = small_evaluator()
    trainer = small_trainer(MemoryCheckpoints(), evaluator)
    spec = found(0).spec
    low = costs_of(spec, BitAllocation.uniform(spec.layers, 2, 4))
    budget = Budget({name: 1.4 * low[name] for name in ("weight_bytes", activations)})
    options = small_options()
    problem = Problem(spec, options, budget, trainer=trainer)
    params = SEARCH.read_params({"bits_epochs": 2, "final_epochs": 1, "slack_images": 32})
    events: list = []
    outcome = drive(
        SEARCH,
        problem,
        params,
        0,
        score=evaluator.score,
        report=evaluator.report,
        on_event=events.append,
    )
    final = outcome.points[-1]
    assert final.stage == "final"
    for point in outcome.points:
        if point.stage == "final":
            assert budget.admits(costs_of(spec, point.allocation))
    assert outcome.reported
    trajectories = [e_figures(e)["trajectory"] for e in events if "trajectory" in e_figures(e)]
    assert len(trajectories) == 2
    row = trajectories[-1][-1]
    assert len(row["bits"]) == len(spec.layers)
    assert set(row["excess"]) == set(budget.limits)
