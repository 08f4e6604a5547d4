"""Bit-Mixer trains in three stages with a ramp, and what it leaves can be searched as it is."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import costs_of
from qcore.costs.budget import Budget, make_options
from qcore.engine import drive
from qcore.errors import InvalidAllocation, InvalidParams, UnsupportedModel
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig, dump_bits, parse_bits
from qcore.network.layers import find_layers
from qcore.problem import Point, Problem, Progress
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.model import TrainableModel
from qcore.qat.setup import Setup
from qcore.qat.switches import NormPlan, random_allocation, rungs_of
from qcore.qat.trainer import Trainer
from qcore.rules.rule import Rule
from qcore.rules.ties import holds
from qcore.searches import SEARCHES
from tests.helpers import FakeTrainer, ruled, toy_problem, with_budget
from tests.small_nets import found, small_evaluator, small_images, small_net, small_trainer
from tests.variants import some

SEARCH = SEARCHES["bitmixer"]
X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def fake(toy, **values):
    trainer, events = FakeTrainer(), []
    problem = dataclasses.replace(toy.problem, trainer=trainer)
    params = SEARCH.read_params({"evaluations": 24, **values})
    outcome = drive(SEARCH, problem, params, 0, score=toy.score, on_event=events.append)
    return trainer, outcome, events


def inner():
    return toy_problem(6, (2, 3, 4), (2, 3, 4), pin_first_last=8, interaction=0.3)


def test_three_stages_in_turn_and_only_the_first_leaves_weights_in_float():
    trainer = fake(inner())[0]
    assert [(s, e) for s, _, e in trainer.trained] == [
        ("inputs", 2), ("network-wide", 3), ("layer-wise", 5)
    ]  # fmt: skip
    assert [r.after for r in trainer.asked] == ["", "inputs", "network-wide"]
    assert [r.float_weights for r in trainer.asked] == [True, False, False]
    assert [r.plan["rate"] for r in trainer.asked] == [0.02, 0.02, 0.01]
    assert {r.norms.kind for r in trainer.asked} == {"producer"}
    assert [bool(r.visits) for r in trainer.asked] == [False, False, True]


def test_float_inputs_have_no_stage_of_their_own_and_cost_no_epochs():
    trainer = fake(toy_problem(4, (2, 3, 4)))[0]
    assert [(s, e) for s, _, e in trainer.trained] == [("network-wide", 5), ("layer-wise", 5)]


def test_direct_training_takes_as_many_epochs_and_no_stages():
    trainer = fake(inner(), direct=True)[0]
    assert [(s, e) for s, _, e in trainer.trained] == [("layer-wise", 10)]
    draw = trainer.asked[0].draw
    assert len({len(set(list(draw(step, None).values())[1:-1])) for step in range(20)}) > 1


def test_random_bits_taught_by_the_widest_are_one_stage_that_draws_in_its_loss():
    trainer = fake(inner(), mixed=3, norms="producer", distillation=0.5)[0]
    assert [(s, e) for s, _, e in trainer.trained] == [("layer-wise", 10)]
    [request] = trainer.asked
    assert (request.draw, request.joint.mixed, request.joint.features) == (None, 3, 0.01)
    assert request.plan["distillation"] == 0
    assert request.norms.kind == "producer"
    assert fake(inner())[0].asked[0].joint is None


def test_bits_are_drawn_for_the_network_and_then_ever_more_often_by_layer():
    trainer, _, events = fake(inner(), ramp=1.0)
    first, second, third = (request.draw for request in trainer.asked)
    for draw in (first, second):
        drawn = [draw(step, None) for step in range(40)]
        assert all(len(set(list(a.values())[1:-1])) == 1 for a in drawn)
        assert len(set(drawn)) == 3
    mixed = [len(set(list(third(step, None).values())[1:-1])) > 1 for step in range(50)]
    early, late = sum(mixed[:15]), sum(mixed[-15:])
    assert early < late
    assert late >= 10
    figures = [
        e.figures for e in events if isinstance(e, Progress) and "layer_by_layer" in e.figures
    ]
    ramp = [f["layer_by_layer"] for f in figures]
    assert ramp == pytest.approx([0.0] * 5 + [0.2, 0.4, 0.6, 0.8, 1.0])


def test_draws_depend_on_the_step_alone():
    trainer = fake(inner())[0]
    draw = trainer.asked[-1].draw
    later = [draw(step, None) for step in range(30, 40)]
    assert later == [draw(step, None) for step in range(30, 40)]
    assert len(set(later)) > 5


@pytest.mark.parametrize("method", ["exact", "greedy", "bidirectional", "cmaes"])
def test_each_search_is_much_better_than_random_allocations(method):
    toy = with_budget(toy_problem(8, (2, 3, 4), (2, 3, 4), seed=3), 0.4)
    _, outcome, _ = fake(toy, methods=[method], evaluations=200, samples=20)
    values = [toy.damage(p.allocation) for p in outcome.points if toy.problem.admits(p.allocation)]
    rng = np.random.default_rng(0)
    rungs = {n: tuple(o for o in all_ if o.weight == o.activation)
             for n, all_ in toy.problem.options.items()}  # fmt: skip
    random = [random_allocation(rungs, rng) for _ in range(400)]
    inside = [toy.damage(a) for a in random if toy.problem.admits(a)]
    assert min(values) < np.percentile(inside, 5)


def test_the_predicted_front_of_additive_damage_is_the_true_one():
    toy = toy_problem(4, (2, 3, 4), (32,))
    _, outcome, _ = fake(toy, methods=["exact"], points=60, samples=0)
    measured = {p.allocation for p in outcome.points}
    rows = [(toy.cost(a), toy.damage(a), a) for a in toy.all_allocations()]
    front = [a for c, d, a in rows if not any(x < c and y < d for x, y, _ in rows)]
    assert sum(a in measured for a in front) >= 0.9 * len(front)


def test_the_walk_ends_within_every_limit_it_meets_and_may_go_up():
    toy = toy_problem(5, (2, 3, 4), (32,), interaction=0.6)
    _, outcome, _ = fake(toy, methods=["bidirectional"], points=6, samples=0, evaluations=300)
    windows = {p.images for p in outcome.points}
    assert windows == {None, (0, 512)}
    moves = [p.allocation for p in outcome.points if p.images]
    assert len(moves) == len(set(moves))
    costs = {toy.cost(p.allocation) for p in outcome.points if p.images is None}
    low, high = (toy.cost(a) for a in (min(toy.all_allocations(), key=toy.cost),
                                       max(toy.all_allocations(), key=toy.cost)))  # fmt: skip
    assert low in costs
    assert any(low < cost < high for cost in costs)


def test_what_random_choices_cost_is_told():
    _, _, events = fake(inner(), samples=10)
    last = [e for e in events if isinstance(e, Progress)][-1]
    spread = last.figures["sampled"]
    assert spread["minimum"] <= spread["fifth_percentile"] <= spread["mean"] <= 1
    assert last.figures["candidates"] > 20


def test_bad_settings_are_refused():
    with pytest.raises(InvalidParams, match="nothing to train with"):
        drive(SEARCH, toy_problem(3).problem, SEARCH.read_params({}), 0, score=toy_problem(3).score)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)).eval()
    layers = find_layers(net, torch.zeros(1, 1, 8, 8), "plain")
    options = make_options(layers.spec.layers, (2, 4), (2, 4))
    batches = [x for x, _ in small_images(64).batches(32)]
    setup = Setup(net, layers, options, small_images(96, 4), batches, MemoryCheckpoints())
    trainer = Trainer(setup)
    problem = Problem(layers.spec, options, Budget(), None, "loss", trainer)
    with pytest.raises(UnsupportedModel, match="plain has no batch-norm"):
        drive(SEARCH, problem, SEARCH.read_params({}), 0, score=small_evaluator().score)


REAL = {
    "input_epochs": 1, "network_epochs": 2, "layer_epochs": 2, "epoch_images": 64, "rate": 0.05,
    "evaluations": 12, "points": 4, "samples": 4,
}  # fmt: skip
OPTIONS = make_options(found(0).spec.layers, (2, 3, 4), (2, 4))


def real(kept, known=(), stop_after=None, limits=None, **values):
    evaluator = small_evaluator()
    trainer = small_trainer(kept, evaluator)
    problem = Problem(found(0).spec, OPTIONS, Budget(limits or {}), None, "loss", trainer)
    events: list = []
    outcome = drive(
        SEARCH, problem, SEARCH.read_params({**REAL, **values}), 3,
        score=evaluator.score, report=evaluator.report, known=known, on_event=events.append,
        should_stop=lambda: stop_after is not None and len(events) >= stop_after,
    )  # fmt: skip
    return outcome, events, evaluator


@pytest.fixture(scope="module")
def whole():
    kept = MemoryCheckpoints()
    return (*real(kept), kept)


@pytest.mark.parametrize("after", some([1, 2, 4, 5, 25], 3))
def test_killed_anywhere_it_ends_at_the_same_points(whole, after):
    kept = MemoryCheckpoints()
    _, before, _ = real(kept, stop_after=after)
    known = [event for event in before if isinstance(event, Point)]
    outcome, events, _ = real(kept, known)
    assert [(p.key, p.search) for p in outcome.points] == [
        (p.key, p.search) for p in whole[0].points
    ]
    told = [e for e in events if isinstance(e, Progress)]
    assert told == [e for e in whole[1] if isinstance(e, Progress)]


def test_killed_while_the_widest_teaches_it_ends_at_the_same_points():
    coupled = {"mixed": 2, "norms": "producer"}
    undisturbed = real(MemoryCheckpoints(), **coupled)[0]
    kept = MemoryCheckpoints()
    broken = real(kept, stop_after=3, **coupled)[0]
    again = real(kept, broken.points, **coupled)[0]
    assert [(p.key, p.search) for p in again.points] == [
        (p.key, p.search) for p in undisturbed.points
    ]


def test_any_allocation_is_a_file_that_reproduces_its_logits(whole):
    evaluator, rng = whole[2], np.random.default_rng(0)
    rungs = evaluator.trainer.install("layer-wise").plan.rungs
    for _ in range(3):
        allocation = random_allocation(rungs, rng)
        point = next(evaluator.score([allocation], "layer-wise"))
        state = evaluator.state(point)
        with torch.no_grad():
            logits = evaluator.model(X)
        config = BitConfig(found(0).spec, allocation, state, found(0).norms, point.search)
        with torch.no_grad():
            assert torch.equal(apply_bits(small_net(), parse_bits(dump_bits(config)))(X), logits)


def test_the_trained_network_answers_elsewhere_without_its_run(whole):
    trainer, kept = whole[2].trainer, MemoryCheckpoints()
    other = small_evaluator()
    small_trainer(kept, other).restore("layer-wise", trainer.saved("layer-wise"))
    for point in whole[0].points[:3]:
        again = next(other.score([point.allocation], "layer-wise"))
        assert again.search == point.search


def test_norms_are_as_trained_when_bits_are_chosen(whole, monkeypatch):
    evaluator, point = whole[2], whole[0].points[-1]
    evaluator.forget()
    monkeypatch.setattr(TrainableModel, "estimate_norms", None)
    assert next(evaluator.score([point.allocation], "layer-wise")).search == point.search


def test_bits_it_was_not_trained_at_are_refused(whole):
    names = found(0).spec.names
    wrong = BitAllocation({name: LayerBits(4, 2) for name in names})
    with pytest.raises(InvalidAllocation, match=r"not trained at 4/2 bits.*trained: 4/4, 3/4, 2/2"):
        next(whole[2].score([wrong], "layer-wise"))


def test_under_a_budget_the_best_points_are_within_it():
    middle = BitAllocation.uniform(found(0).spec.layers, 3, 2)
    limits = {"weight_bytes": float(costs_of(found(0).spec, middle)["weight_bytes"])}
    outcome, events, _ = real(MemoryCheckpoints(), limits=limits)
    inside = [p for p in outcome.points if costs_of(found(0).spec, p.allocation)["weight_bytes"]
              <= limits["weight_bytes"]]  # fmt: skip
    assert len(inside) > 5
    assert outcome.reported
    steps = [e.step for e in events if isinstance(e, Progress)]
    assert all(a <= b for a, b in pairwise(steps))


@pytest.mark.parametrize("mixed", [0, 2])
def test_tied_layers_are_trained_and_searched_at_rungs_that_keep_the_tie(mixed):
    rules = (Rule("layer{1,3}", tie="weights"), Rule("layer{3,4}", tie="activations"))
    toy = ruled(toy_problem(6, (2, 3, 4), (2, 3, 4), interaction=0.3), rules)
    trainer, outcome, _ = fake(toy, mixed=mixed)
    ties = toy.problem.ties
    assert len(ties) == 2
    for request in trainer.asked:
        assert request.norms.ties == ties
        assert NormPlan.from_json(request.norms.to_json()) == request.norms
        for allocation in (*request.norms.switches.values(), *request.visits):
            assert holds(ties, allocation)
        if request.draw is not None:
            assert all(holds(ties, request.draw(step, None)) for step in range(0, 60, 7))
    rng = np.random.default_rng(0)
    drawn = [random_allocation(rungs_of(toy.problem), rng, ties) for _ in range(40)]
    assert all(holds(ties, allocation) for allocation in drawn)
    assert len({a["layer1"].weight for a in drawn}) == 3
    assert all(holds(ties, point.allocation) for point in outcome.points)
