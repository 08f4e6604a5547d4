"""A checkpoint of a switchable network answers at every precision, alone and in later runs."""

import io

import numpy as np
import pytest
import torch

from qcore.allocation import LayerBits
from qcore.costs.budget import Budget
from qcore.engine import drive
from qcore.errors import InvalidAllocation, InvalidConfig, InvalidParams
from qcore.models.bundled import ResNet
from qcore.problem import Point, Problem
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.loop import read_state
from qcore.qat.requests import GivenBits, SwitchableBits
from qcore.qat.switchable.runtime import load_switchable
from qcore.qat.switches import NormPlan, random_allocation, switches_of
from qcore.searches import SEARCHES
from tests.small_nets import found, small_evaluator, small_net, small_options, small_trainer

PLAN = {"epochs": 1, "batch_images": 32, "rate": 0.05}
X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))
RUNGS = {n: tuple(LayerBits(b, b) for b in (4, 2)) for n in found(0).spec.names}
SWITCHES = switches_of(RUNGS)
SEARCH = SEARCHES["metanetwork"]


def train(kind: str | None, stage: str = "layer-wise"):
    evaluator = small_evaluator()
    trainer = small_trainer(MemoryCheckpoints(), evaluator)
    rng = np.random.default_rng(0)
    what = {"stage": stage, "allocation": SWITCHES["4/4"], "plan": PLAN, "quantizer": "lsq"}
    if kind == "pair":
        what["draw"] = lambda step, generator: random_allocation(RUNGS, rng)
    if kind is None:
        request = GivenBits(**what)
    else:
        request = SwitchableBits(norms=NormPlan(kind, SWITCHES), **what)
    list(trainer.train(request))
    return evaluator, trainer.saved(stage)


@pytest.fixture(scope="module")
def pair():
    return train("pair")


def test_it_answers_as_the_run_did_at_any_bits_in_any_order(pair):
    evaluator, data = pair
    model = load_switchable(small_net(3), X[:1], data)
    assert model.allocation == SWITCHES["4/4"]
    rng = np.random.default_rng(1)
    for allocation in [random_allocation(RUNGS, rng) for _ in range(4)]:
        next(evaluator.score([allocation], "layer-wise"))
        model.set_allocation(allocation)
        with torch.no_grad():
            assert torch.allclose(model(X), evaluator.model(X), atol=1e-4)
    model.set_switch("2/2")
    assert model.allocation == SWITCHES["2/2"]
    with pytest.raises(InvalidAllocation, match="not trained for the switch '8/8'; trained: 4/4"):
        model.set_switch("8/8")


def test_checkpoints_that_cannot_be_switched_or_fit_are_refused(pair):
    with pytest.raises(InvalidParams, match="'layer-wise' is not of a switchable network"):
        load_switchable(small_net(), X[:1], train(None)[1])
    with pytest.raises(InvalidConfig, match="of another network than model"):
        load_switchable(ResNet(1).eval(), torch.zeros(1, 1, 28, 28), pair[1])
    state = {**read_state(pair[1]), "finished": False}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with pytest.raises(InvalidParams, match="'layer-wise' is not finished"):
        load_switchable(small_net(), X[:1], buffer.getvalue())


def later(
    data: bytes | None, kept=None, known=(), stop_after=None, options=None, given=(), **budget
):
    evaluator = small_evaluator()
    trainer = small_trainer(
        kept or MemoryCheckpoints(),
        evaluator,
        load_stage=lambda run, stage: data if (run, stage) == (7, "layer-wise") else None,
    )
    problem = Problem(
        found(0).spec,
        options or small_options((2, 4), (2, 4)),
        Budget(budget),
        None,
        "loss",
        trainer,
    )
    params = SEARCH.read_params({"run": 7, "evaluations": 12, "points": 4, "allocations": given})
    events: list = []
    outcome = drive(
        SEARCH, problem, params, 0, score=evaluator.score, report=evaluator.report, known=known,
        on_event=events.append,
        should_stop=lambda: stop_after is not None and len(events) >= stop_after,
    )  # fmt: skip
    return outcome, events, evaluator


def test_a_later_run_searches_the_network_without_training_it(pair):
    outcome, _, evaluator = later(pair[1])
    assert {point.stage for point in outcome.points} == {"run-7/layer-wise"}
    assert len(outcome.points) > 10
    assert outcome.reported
    for point in outcome.points[:3]:
        wanted = next(pair[0].score([point.allocation], "layer-wise"))
        assert point.search == wanted.search
    assert evaluator.state(outcome.points[0])


def test_a_later_run_measures_exactly_the_bits_it_is_given(pair):
    wanted = random_allocation(RUNGS, np.random.default_rng(2))
    outcome, _, _ = later(pair[1], given=[wanted.to_json()], weight_bytes=289.0)
    (point,) = outcome.points
    assert point.search == next(pair[0].score([wanted], "layer-wise")).search
    wider = wanted.replace(found(0).spec.names[1], LayerBits(4, 2))
    with pytest.raises(InvalidAllocation, match=r"was not trained at 4/2 bits.*trained: 4/4, 2/2"):
        later(pair[1], given=[wider.to_json()])


def test_the_switches_of_a_whole_network_can_be_measured_too():
    data = train("switch")[1]
    (point,) = later(data, given=[SWITCHES["2/2"].to_json()])[0].points
    assert point.allocation == SWITCHES["2/2"]


def test_it_keeps_its_copy_when_the_other_run_is_gone(pair):
    kept = MemoryCheckpoints()
    whole = later(pair[1])[0]
    _, before, _ = later(pair[1], kept, stop_after=9)
    known = [event for event in before if isinstance(event, Point)]
    outcome, _, _ = later(None, kept, known)
    assert [(p.key, p.search) for p in outcome.points] == [(p.key, p.search) for p in whole.points]


def test_networks_that_cannot_be_searched_are_refused(pair):
    with pytest.raises(InvalidParams, match="no stage 'layer-wise' of a run 7"):
        later(None)
    with pytest.raises(InvalidParams, match="for one allocation at a time"):
        later(train(None)[1])
    with pytest.raises(InvalidParams, match=r"trained switches of the whole network \(4/4, 2/2\)"):
        later(train("switch")[1])
    with pytest.raises(InvalidParams, match=r"'stem\.0' was trained at 4/4, 2/2 bits"):
        later(pair[1], options=small_options((3,), (8,)))
    state = read_state(pair[1])
    norms = state["notes"]["norms"]
    for entry in norms["switches"]:
        entry[1]["other"] = entry[1].pop("left")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with pytest.raises(InvalidParams, match="run 7 is of another network than small"):
        later(buffer.getvalue())
