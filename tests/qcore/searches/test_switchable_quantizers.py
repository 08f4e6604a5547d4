"""What every quantizer of a network that switches must do, from training to the file taken away."""

import dataclasses

import numpy as np
import pytest
import torch

from qcore.costs.budget import Budget, make_options
from qcore.engine import drive
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig, dump_bits, parse_bits
from qcore.formats.exports import EXPORTS, write_with_model
from qcore.formats.exports.templates import packed_reader
from qcore.models.bundled import ResNet
from qcore.network.layers import find_layers
from qcore.problem import Point, Problem, Progress
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.model import TrainableModel
from qcore.qat.switchable.runtime import load_switchable
from qcore.qat.switchable.size import payload_of, payload_of_all
from qcore.qat.switches import NormPlan, rungs_of, switches_of
from qcore.quantization_card import card_of
from qcore.quantizer_names import LEARNED, learned_for
from qcore.quantizers import LEARNED_QUANTIZERS
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from tests.small_nets import found, small_evaluator, small_net, small_trainer

X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))
SHORT = {
    "spnets": {"epochs": 2, "epoch_images": 32, "features": 0.0, "outputs": 0.0},
    "bitmixer": {
        "input_epochs": 0, "network_epochs": 1, "layer_epochs": 1, "epoch_images": 32,
        "methods": ["exact"], "points": 3, "evaluations": 12, "samples": 2,
    },
}  # fmt: skip
ALL = [(search, name) for search in SHORT for name in learned_for(search)]


def run(search, quantizer, kept, known=(), stop_after=None):
    evaluator = small_evaluator()
    widths = ((1,), (1, 2, 32)) if quantizer == "sign" else ((2, 8), (2, 8))
    options = make_options(found(0).spec.layers, *widths)
    trainer = small_trainer(kept, evaluator, options=options)
    problem = Problem(found(0).spec, options, Budget(), None, "loss", trainer)
    entry, events = SEARCHES[search], []
    params = entry.read_params({**SHORT[search], "quantizer": quantizer})
    outcome = drive(
        entry, problem, params, 3, score=evaluator.score, known=known, on_event=events.append,
        should_stop=lambda: stop_after is not None and len(events) >= stop_after,
    )  # fmt: skip
    return outcome, events, evaluator


@pytest.mark.parametrize(("search", "quantizer"), ALL)
def test_a_network_that_switches_is_trained_and_taken_away(search, quantizer):
    outcome, events, evaluator = run(search, quantizer, MemoryCheckpoints())
    stage = SEARCHES[search].leaves
    model = load_switchable(small_net(3), X[:1], evaluator.trainer.saved(stage))
    for point in outcome.points[:2]:
        state = evaluator.state(point)
        config = BitConfig(found(0).spec, point.allocation, state, found(0).norms, point.search)
        config = parse_bits(dump_bits(config))
        model.set_allocation(point.allocation)
        with torch.no_grad():
            logits = evaluator.model(X)
            assert torch.equal(apply_bits(small_net(), config)(X), logits)
            assert torch.allclose(model(X), logits, atol=1e-4)
            packed = write_with_model(EXPORTS["packed"], config, small_net(), X).content
            read = packed_reader.apply(small_net(), packed_reader.parse(packed))
            assert torch.allclose(read(X), logits, atol=1e-4)

    [payload] = [e.figures["payload"] for e in events if isinstance(e, Progress) and
                 "payload" in e.figures][-1:]  # fmt: skip
    assert payload["one"]["total"] <= payload["all"]["total"]
    once = payload["all"]["weights"] == payload["one"]["weights"]
    one_width = quantizer == "sign"
    assert once == (LEARNED_QUANTIZERS[quantizer].nests or one_width)
    asked = RunSpec("resnet8", "fashion-mnist", search, params={"quantizer": quantizer})
    card = card_of(asked)
    assert card.quantizer == quantizer
    assert card.rounding == LEARNED[quantizer].facts.rounding


@pytest.mark.parametrize("search", SHORT)
def test_nested_codes_go_on_where_training_stopped(search):
    whole, _, _ = run(search, "nested", MemoryCheckpoints())
    broken = MemoryCheckpoints()
    _, before, _ = run(search, "nested", broken, stop_after=1)
    again, _, _ = run(search, "nested", broken, [e for e in before if isinstance(e, Point)])
    assert [(p.key, p.search) for p in again.points] == [(p.key, p.search) for p in whole.points]


def test_resnet8_takes_its_widest_codes_once_where_they_are_nested():
    network = ResNet(1).eval()
    layers = find_layers(network, torch.zeros(1, 1, 28, 28), "resnet8")
    options = make_options(layers.spec.layers, (2, 3, 4, 8), (2, 3, 4, 8), 8)
    rungs = rungs_of(Problem(layers.spec, options, Budget(), None))
    plan = NormPlan("switch", switches_of(rungs))
    found_bytes = {}
    for quantizer in ("clip", "nested"):
        model = TrainableModel(network, layers, rungs, quantizer=quantizer, plan=plan)
        found_bytes[quantizer] = payload_of_all(model)
    n = sum(layer.weights for layer in layers.spec.layers)
    ends = layers.spec.layers[0].weights + layers.spec.layers[-1].weights
    clip, nested = found_bytes["clip"], found_bytes["nested"]
    assert clip.weights == ends + (n - ends) * (2 + 3 + 4 + 8) // 8
    assert nested.weights == n  # a byte each
    assert dataclasses.replace(clip, weights=0) == dataclasses.replace(nested, weights=0)
    assert (clip.total, nested.total) == (173_960, 88_136)
    widest = next(iter(plan.switches.values()))
    assert payload_of(model, widest).weights == nested.weights


def test_a_float_copy_serves_all_widths_where_it_is_smaller_than_codes():
    layers = found(0)
    options = make_options(layers.spec.layers, (2, 4, 32), (32,))
    rungs = rungs_of(Problem(layers.spec, options, Budget(), None))
    plan = NormPlan("switch", switches_of(rungs))
    model = TrainableModel(small_net(), layers, rungs, quantizer="nested", plan=plan)
    assert payload_of_all(model).weights == 4 * sum(x.weights for x in layers.spec.layers)
    assert np.isfinite(payload_of_all(model).total)
