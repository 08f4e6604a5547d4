"""A new way to train is a request, a `train` and a line; nothing else has to know of it."""

import dataclasses
from collections.abc import Generator

import pytest
import torch

from qcore.allocation import BitAllocation
from qcore.engine import drive
from qcore.errors import InvalidParams
from qcore.problem import Ask, Problem, Progress, Request
from qcore.qat import requests, ways
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.requests import Quantization
from qcore.qat.setup import Setup, keep_stage
from qcore.search import Search
from tests.small_nets import found, small_evaluator, small_options, small_trainer


# 1. the request
@dataclasses.dataclass(frozen=True, kw_only=True)
class ShrunkWeights(Request[float]):
    """Make all weights smaller, which trains them badly; comes to the mean size left."""

    allocation: BitAllocation
    factor: float


# 2. its folder's train(setup, request)
def train(setup: Setup, request: ShrunkWeights) -> Generator[Progress, None, float]:
    quantization = Quantization("lsq")
    model, _ = setup.begun("", quantization)
    with torch.no_grad():
        for layer in model.layers.values():
            layer.weight.mul_(request.factor)
    yield Progress(1, 1, "shrinking")
    keep_stage(setup, request.stage, model, request.allocation, quantization)
    return float(model.layers["head"].weight.detach().abs().mean())


# 3. the search
@dataclasses.dataclass(frozen=True)
class Params:
    factor: float = 0.5


def shrink(problem, params, rng):
    allocation = BitAllocation({name: row[-1] for name, row in problem.options.items()})
    request = ShrunkWeights(stage="small", allocation=allocation, factor=params.factor)
    left = yield from problem.needed_trainer().train(request)
    yield Ask((allocation,), "small")
    yield Progress(1, 1, f"{left:.3g} left")


SEARCH = Search(
    "shrink", "Shrink", "Shrinks weights.", Params, shrink, trains=True, family="trained"
)


def run(**values):
    evaluator = small_evaluator()
    trainer = small_trainer(MemoryCheckpoints(), evaluator)
    problem = Problem(found(0).spec, small_options((2, 4), (4,)), trainer=trainer)
    events: list = []
    params = SEARCH.read_params(values)
    outcome = drive(SEARCH, problem, params, 0, score=evaluator.score, on_event=events.append)
    return outcome, [event.message for event in events if isinstance(event, Progress)]


def test_a_way_to_train_is_found_by_the_type_of_its_request(monkeypatch):
    # 4. its line in the registry
    monkeypatch.setitem(ways.WAYS, ShrunkWeights, train)
    half, told = run()
    whole, _ = run(factor=1.0)
    assert told[0] == "shrinking"
    assert told[1].endswith("left")
    assert half.points[0].stage == whole.points[0].stage == "small"
    # batch norms take a factor away, the layers without one do not
    assert half.points[0].search != whole.points[0].search


def test_a_request_nobody_answers_is_refused_in_words():
    with pytest.raises(InvalidParams, match="No way to train answers a ShrunkWeights; known are"):
        run()


def test_every_request_that_comes_along_has_a_way():
    kinds = [
        kind
        for kind in vars(requests).values()
        if isinstance(kind, type) and issubclass(kind, Request) and kind is not Request
    ]
    assert set(kinds) <= set(ways.WAYS)
    for kind in ways.WAYS:
        assert dataclasses.fields(kind)[0].name == "stage"
        assert kind.__dataclass_params__.frozen
