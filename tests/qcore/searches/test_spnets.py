"""SP-Nets trains all switches in every step, and each is a point that can be taken away."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs.budget import Budget, make_options
from qcore.engine import drive
from qcore.errors import InfeasibleBudget, InvalidAllocation, InvalidParams
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig, dump_bits, parse_bits
from qcore.problem import Point, Problem, Progress
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.model import TrainableModel
from qcore.qat.switchable.joint_loss import joint_loss
from qcore.qat.switches import Joint, NormPlan, random_allocation, switches_of
from qcore.searches import SEARCHES
from tests.helpers import FakeTrainer, toy_problem, with_budget
from tests.small_nets import (
    found,
    small_data,
    small_evaluator,
    small_images,
    small_net,
    small_trainer,
)

SEARCH = SEARCHES["spnets"]
X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))
Y = torch.arange(16) % 4


def fake(toy, **values):
    trainer, events = FakeTrainer(), []
    problem = dataclasses.replace(toy.problem, trainer=trainer)
    outcome = drive(
        SEARCH, problem, SEARCH.read_params(values), 0, score=toy.score, on_event=events.append
    )
    return trainer, outcome, events


def test_one_stage_trains_all_switches_and_each_becomes_a_point():
    trainer, outcome, events = fake(toy_problem(3, (2, 3, 4, 8), (2, 3, 4, 8), pin_first_last=8))
    assert [(stage, epochs) for stage, _, epochs in trainer.trained] == [("switches", 6)]
    [request] = trainer.asked
    assert list(request.norms.switches) == ["8/8", "4/4", "3/3", "2/2"]
    assert request.norms.kind == "switch"
    assert request.joint == Joint("fixed", 0.5, 0.5, 0.1)
    assert [p.allocation for p in outcome.points] == list(request.norms.switches.values())
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert list(last.figures["switches"]) == ["8/8", "4/4", "3/3", "2/2"]


def test_with_one_weight_width_the_inputs_switch():
    trainer = fake(toy_problem(3, (1,), (1, 2, 4, 8, 32)), quantizer="sign")[0]
    [request] = trainer.asked
    assert (request.quantizer, request.after) == ("sign", "")
    assert list(request.norms.switches) == ["1/32", "1/8", "1/4", "1/2", "1/1"]


def test_shared_norms_can_be_asked_for():
    assert fake(toy_problem(3), private_norms=False)[0].asked[0].norms.kind == "shared"


def test_only_switches_within_the_budget_are_measured():
    toy = with_budget(toy_problem(4), 0.3)
    trainer, outcome, _ = fake(toy)
    assert len(trainer.asked[0].norms.switches) == 4
    assert 0 < len(outcome.points) < 4
    assert all(toy.problem.admits(point.allocation) for point in outcome.points)


@pytest.mark.parametrize(
    ("weights", "inputs"), [((2, 3, 4), (32,)), ((2, 4), (8,)), ((1,), (1, 2, 4)), ((4, 8), (4,))]
)
def test_switches_without_a_teacher_are_refused_unless_nothing_is_distilled(weights, inputs):
    toy = toy_problem(3, weights, inputs)
    if weights == (4, 8):
        fake(toy)  # inputs do not switch
        return
    with pytest.raises(InvalidParams, match="none to teach the others: it needs 8 bits"):
        fake(toy)
    assert fake(toy, outputs=0.0, features=0.0)[1].points


def test_no_switch_within_the_budget_is_said():
    toy = toy_problem(3, (6, 8), (2, 7, 8))
    # the cheapest allocation has inputs narrower than those nearest to its weights
    low = BitAllocation(dict.fromkeys(toy.problem.model.names, LayerBits(6, 2)))
    limits = {"bit_ops": toy.cost(low, "bit_ops") + 1}
    toy = toy_problem(3, (6, 8), (2, 7, 8), limits=limits)
    assert toy.problem.admits(low)
    with pytest.raises(InfeasibleBudget, match="None of the switches 8/8, 6/7"):
        fake(toy)


def model_of(kind: str = "switch") -> TrainableModel:
    rungs = {n: tuple(LayerBits(b, b) for b in (8, 4, 2)) for n in found(0).spec.names}
    plan = NormPlan(kind, switches_of(rungs))
    model = TrainableModel(small_net(), found(0), rungs, plan=plan)
    model.start_scales([x for x, _ in small_images(64).batches(32)])
    model.set_training(True)
    return model


def gradients(model) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def answers(model) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and what comes out of each norm."""
    kept: dict[str, torch.Tensor] = {}
    handles = [
        n.register_forward_hook(lambda m, i, o, name=name: kept.update({name: o}))
        for name, n in model.norms.items()
    ]
    out = model(X)
    for handle in handles:
        handle.remove()
    return out, kept


def check_same(got, wanted) -> None:
    assert set(got) == set(wanted)
    for name, gradient in wanted.items():
        assert torch.allclose(got[name], gradient, atol=1e-5), name


@pytest.mark.parametrize("teacher", ["fixed", "next", "all"])
def test_the_step_is_the_sum_of_all_switches_losses(teacher):
    """Written out by hand, in one graph, with detached teachers."""
    joint = Joint(teacher, 0.3, 0.7, 0.2)
    model = model_of()
    value, _ = joint_loss(model, joint)(model, X, Y, torch.Generator())
    value.backward()
    got = gradients(model)
    model = model_of()
    outs, feats, total = [], [], 0.0
    for switch in model.plan.switches.values():
        model.set_allocation(switch)
        out, kept = answers(model)
        hard = functional.cross_entropy(out, Y)
        if not outs:
            total = hard
        else:
            chosen = {"fixed": [0], "next": [len(outs) - 1], "all": range(len(outs))}[teacher]
            soft = sum(
                functional.kl_div(out.log_softmax(1), outs[i].softmax(1), reduction="batchmean")
                for i in chosen
            ) / len(chosen)
            near = sum(((kept[n] - feats[i][n]) ** 2).mean() for i in chosen for n in kept) / (
                len(chosen) * len(kept)
            )
            total = total + 0.3 * hard + 0.7 * soft + 0.2 * near
        outs.append(out.detach())
        feats.append({name: k.detach() for name, k in kept.items()})
    total.backward()
    wanted = gradients(model)
    assert value.item() == pytest.approx(total.item(), rel=1e-5)
    check_same(got, wanted)


def test_random_allocations_learn_from_the_widest_and_its_features_where_they_are_narrowest():
    """The step of RFQuant, written out by hand in one graph."""
    joint = Joint("fixed", 0.5, 0.5, 0.2, mixed=3)
    model = model_of("producer")
    value, _ = joint_loss(model, joint)(model, X, Y, torch.Generator().manual_seed(1))
    value.backward()
    got = gradients(model)
    model = model_of("producer")
    seed = int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(1)))
    rng = np.random.default_rng(seed)
    rungs = model.plan.rungs
    drawn = [random_allocation(rungs, rng) for _ in range(3)]
    assert len(set(drawn[0].values())) > 1
    outs, feats, total = [], [], 0.0
    for allocation in [next(iter(model.plan.switches.values())), *drawn]:
        model.set_allocation(allocation)
        out, kept = answers(model)
        hard = functional.cross_entropy(out, Y)
        if not outs:
            total = hard
        else:
            soft = functional.kl_div(out.log_softmax(1), outs[0].softmax(1), reduction="batchmean")
            low = [n for n in kept if allocation[n] == rungs[n][-1]]
            near = sum(((kept[n] - feats[0][n]) ** 2).mean() for n in low)
            total = total + 0.5 * hard + 0.5 * soft + 0.2 * near
        outs.append(out.detach())
        feats.append({name: k.detach() for name, k in kept.items()})
    total.backward()
    wanted = gradients(model)
    assert value.item() == pytest.approx(total.item(), rel=1e-5)
    check_same(got, wanted)


def test_terms_that_are_off_leave_labels_alone():
    values = {}
    for outputs, features in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        model = model_of()
        joint = Joint("fixed", 1.0, outputs, features)
        values[outputs, features] = joint_loss(model, joint)(model, X, Y, None)[0].item()
    plain = 0.0
    model = model_of()
    for switch in model.plan.switches.values():
        model.set_allocation(switch)
        plain += functional.cross_entropy(model(X), Y).item()
    assert values[0.0, 0.0] == pytest.approx(plain, rel=1e-5)
    assert values[1.0, 0.0] > plain + 1e-4
    assert values[0.0, 1.0] > plain + 1e-4


def test_every_scale_of_a_joint_step_counts_as_trained():
    model = model_of()
    joint_loss(model, Joint())(model, X, Y, None)[0].backward()
    model.after_step()
    for layer in model.layers.values():
        assert layer.trained == {"w8", "w4", "w2", "a8", "a4", "a2"}


REAL = {"epochs": 3, "epoch_images": 64, "rate": 0.05}
OPTIONS = make_options(found(0).spec.layers, (2, 4, 32), (2, 4, 32))


def real(kept, known=(), stop_after=None, labelled=True, **values):
    evaluator = small_evaluator(labelled)
    trainer = small_trainer(kept, evaluator)
    problem = Problem(found(0).spec, OPTIONS, Budget(), None, "loss", trainer)
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


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_killed_after_any_epoch_it_ends_at_the_same_points(whole, after):
    kept = MemoryCheckpoints()
    _, before, _ = real(kept, stop_after=after)
    known = [event for event in before if isinstance(event, Point)]
    outcome, events, _ = real(kept, known)
    assert [(p.key, p.search) for p in outcome.points] == [
        (p.key, p.search) for p in whole[0].points
    ]
    assert [p.test for p in outcome.reported] == [p.test for p in whole[0].reported]
    told = [e for e in events if isinstance(e, Progress)]
    assert told == [e for e in whole[1] if isinstance(e, Progress)]


def test_each_switch_is_a_file_that_reproduces_its_logits(whole):
    evaluator = whole[2]
    for point in whole[0].points:
        state = evaluator.state(point)
        with torch.no_grad():
            logits = evaluator.model(X)
        config = BitConfig(found(0).spec, point.allocation, state, found(0).norms, point.search)
        read = parse_bits(dump_bits(config))
        with torch.no_grad():
            assert torch.equal(apply_bits(small_net(), read)(X), logits)
        model = evaluator.trainer.install("switches")
        model.set_allocation(point.allocation)
        with torch.no_grad():
            assert torch.allclose(model(X), logits, atol=1e-4)


def test_scores_do_not_depend_on_calibration_images(whole, monkeypatch):
    """Norms are as trained: nothing is measured when a switch is looked at."""
    evaluator = whole[2]
    point = whole[0].points[-1]
    evaluator.forget()
    monkeypatch.setattr(TrainableModel, "estimate_norms", None)
    assert next(evaluator.score([point.allocation], "switches")).search == point.search
    window = next(evaluator.score([point.allocation], "switches", (0, 64)))
    assert window.search.loss == pytest.approx(point.search.loss, abs=1e-4)


def test_other_bits_than_the_switches_are_refused(whole):
    mixed = BitAllocation(
        {
            name: LayerBits(*(2, 2) if i % 2 else (8, 8))
            for i, name in enumerate(found(0).spec.names)
        }
    )
    with pytest.raises(InvalidAllocation, match="only for the switches 32/32, 4/4, 2/2"):
        next(whole[2].score([mixed], "switches"))


def test_the_payload_of_all_switches_is_told(whole):
    last = [e for e in whole[1] if isinstance(e, Progress) and e.figures][-1]
    payload = last.figures["payload"]
    assert payload["all"]["norms"] == 3 * payload["one"]["norms"]
    assert payload["one"]["total"] < payload["all"]["total"]


def test_without_labels_all_switches_learn_the_float_network(monkeypatch):
    data = small_data(False)
    evaluator = small_evaluator(False)
    trainer = small_trainer(
        MemoryCheckpoints(), evaluator, images=small_images(96, 4, labelled=False)
    )
    assert data.calibration.labels is None
    problem = Problem(found(0).spec, OPTIONS, Budget(), None, "kl", trainer)
    params = SEARCH.read_params({**REAL, "epochs": 6})
    events: list = []
    drive(SEARCH, problem, params, 0, score=evaluator.score, on_event=events.append)
    losses = [e.figures["loss"] for e in events if isinstance(e, Progress) and "loss" in e.figures]
    assert losses[-1] < losses[0]
