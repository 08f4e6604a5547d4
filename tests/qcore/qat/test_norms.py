"""Norms follow the bits of the layers they lie between, and never fall back to another copy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import InvalidAllocation, InvalidParams, UnsupportedModel
from qcore.models.bundled import ResNet
from qcore.network.layers import find_layers
from qcore.qat.model import TrainableModel
from qcore.qat.norms import SwitchableNorm, TransitionalNorm, readers_of
from qcore.qat.switchable.size import float_payload, payload_of, payload_of_all
from qcore.qat.switches import Joint, NormPlan, random_allocation, rungs_of, switches_of
from tests.helpers import toy_problem
from tests.small_nets import found, small_images, small_net

RESNET = ResNet(1).eval()
LAYERS = find_layers(RESNET, torch.zeros(1, 1, 28, 28), "resnet8")
BATCHES = [x for x, _ in small_images(64).batches(32)]


def small_plan(kind: str, pinned: bool = True) -> NormPlan:
    rungs = {n: tuple(LayerBits(b, b) for b in (8, 4, 2)) for n in found(0).spec.names}
    if pinned:
        rungs["head"] = (LayerBits(8, 8),)
    return NormPlan(kind, switches_of(rungs))


def model_of(kind: str, pinned: bool = True) -> TrainableModel:
    plan = small_plan(kind, pinned)
    model = TrainableModel(small_net(), found(0), plan.rungs, plan=plan)
    model.start_scales(BATCHES)
    return model


def at(**bits: int) -> BitAllocation:
    rows = {"stem.0": 4, "depthwise": 4, "left": 4, "right": 4, "head": 8, **bits}
    rows["stem.0"] = rows.pop("stem", rows["stem.0"])
    return BitAllocation({name: LayerBits(rows[name], rows[name]) for name in found(0).spec.names})


def test_the_layer_behind_is_the_next_that_reads_it_through_joins_and_shortcuts():
    assert readers_of(LAYERS) == {
        "conv1": "layer1.0.conv1",
        "layer1.0.conv1": "layer1.0.conv2",
        "layer1.0.conv2": "layer2.0.conv1",
        "layer2.0.conv1": "layer2.0.conv2",
        "layer2.0.conv2": "layer3.0.conv1",
        "layer2.0.shortcut.0": "layer3.0.conv1",
        "layer3.0.conv1": "layer3.0.conv2",
        "layer3.0.conv2": "fc",
        "layer3.0.shortcut.0": "fc",
    }


def test_a_norm_at_the_output_has_a_constant_end():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    layers = find_layers(net.eval(), torch.zeros(1, 1, 8, 8), "headless")
    assert readers_of(layers) == {"0": None}
    rungs = {"0": (LayerBits(4, 4), LayerBits(2, 2))}
    model = TrainableModel(net, layers, rungs, plan=NormPlan("pair", switches_of(rungs)))
    assert list(model.norms["0"].copies) == ["4/4 to end", "2/2 to end"]


def test_a_layer_whose_reader_is_unknown_is_named():
    with pytest.raises(UnsupportedModel, match=r"output of 'stem\.0' cannot be determined"):
        readers_of(replace(found(0), exported=False))


def test_a_network_without_batch_norm_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    layers = find_layers(net.eval(), torch.zeros(1, 1, 8, 8), "plain")
    rungs = {"1": (LayerBits(4, 4), LayerBits(2, 2))}
    for kind in ("pair", "switch"):
        with pytest.raises(UnsupportedModel, match="plain has no batch-norm"):
            TrainableModel(net, layers, rungs, plan=NormPlan(kind, switches_of(rungs)))


def test_pairs_follow_both_neighbours():
    model = model_of("pair")
    model.set_allocation(at(stem=2, depthwise=8, left=4, right=2))
    assert model.norms["stem.0"].key == "2/2 to 8/8"
    # both read the same tensor; the first of them counts
    assert model.norms["depthwise"].key == "8/8 to 4/4"
    assert [len(norm.copies) for norm in model.norms.values()] == [9, 9]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("producer", ("2/2 to any", "8/8 to any")), ("consumer", ("any to 8/8", "any to 4/4"))],
)
def test_one_sided_norms_ignore_the_other_side(kind, keys):
    model = model_of(kind)
    model.set_allocation(at(stem=2, depthwise=8))
    assert tuple(norm.key for norm in model.norms.values()) == keys
    assert [len(norm.copies) for norm in model.norms.values()] == [3, 3]


def test_pinned_layers_are_constant_ends():
    rungs = {name: (LayerBits(4, 4), LayerBits(2, 2)) for name in LAYERS.spec.names}
    rungs |= {"conv1": (LayerBits(8, 8),), "fc": (LayerBits(8, 8),)}
    model = TrainableModel(RESNET, LAYERS, rungs, plan=NormPlan("pair", switches_of(rungs)))
    assert list(model.norms["conv1"].copies) == ["8/8 to 4/4", "8/8 to 2/2"]
    assert list(model.norms["layer3.0.conv2"].copies) == ["4/4 to 8/8", "2/2 to 8/8"]
    assert all(isinstance(norm, TransitionalNorm) for norm in model.norms.values())


def test_switches_are_private_and_named():
    model = model_of("switch")
    assert all(isinstance(norm, SwitchableNorm) for norm in model.norms.values())
    model.set_switch("2/2")
    assert model.allocation["stem.0"] == LayerBits(2, 2)
    assert {norm.key for norm in model.norms.values()} == {"2/2"}
    with pytest.raises(InvalidAllocation, match="not trained for the switch '3/3'; trained: 8/8, "):
        model.set_switch("3/3")
    with pytest.raises(InvalidAllocation, match="only for the switches 8/8, 4/4, 2/2"):
        model.set_allocation(at(stem=2))


@pytest.mark.parametrize("kind", ["shared", "producer", "pair"])
def test_untrained_widths_are_refused_with_the_trained_ones(kind):
    model = model_of(kind)
    with pytest.raises(InvalidAllocation, match=r"'left' was not trained at 3/3.*8/8, 4/4, 2/2"):
        model.set_allocation(at(left=3))


def test_a_missing_copy_is_an_error_not_another_copy():
    norm = model_of("pair").norms["stem.0"]
    with pytest.raises(InvalidAllocation, match="No batch-norm was trained for '3/3 to 2/2'"):
        norm.select("3/3 to 2/2")


def test_copies_all_train_and_only_those_in_use_move():
    model = model_of("pair")
    inside = {id(p) for group in model.groups().values() for p in group}
    copies = [p for norm in model.norms.values() for p in norm.parameters()]
    assert len(copies) == 2 * 18
    assert all(id(p) in inside for p in copies)
    model.set_allocation(at(stem=2, depthwise=8))
    model.set_training(True)
    model(BATCHES[0]).sum().backward()
    moved = [k for k, c in model.norms["stem.0"].copies.items() if c.weight.grad is not None]
    seen = [k for k, c in model.norms["stem.0"].copies.items() if int(c.num_batches_tracked)]
    assert moved == seen == ["2/2 to 8/8"]


def test_switching_measures_nothing_anew():
    model = model_of("pair")
    first, second = at(stem=2), at(left=8)
    model.estimate_norms(BATCHES, [first, second] * 2)
    x = BATCHES[0]
    model.set_allocation(first)
    before = model(x)
    state = {k: v.clone() for k, v in model.state_dict().items() if torch.is_tensor(v)}
    model.set_allocation(second)
    assert not torch.equal(model(x), before)
    model.set_allocation(first)
    assert torch.equal(model(x), before)
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in state.items())


def test_norms_are_estimated_only_where_visited_and_over_all_visits():
    model = model_of("pair")
    norm, seen = model.norms["stem.0"], []
    norm.register_forward_pre_hook(lambda m, i: seen.append((m.key, i[0].mean((0, 2, 3)))))
    untouched = norm.copies["8/8 to 8/8"].running_mean.clone()
    model.set_allocation(at())
    model.estimate_norms(BATCHES, [at(stem=2), at(stem=2), at(stem=2, left=8)])
    used = norm.copies["2/2 to 4/4"]
    assert {key for key, _ in seen} == {"2/2 to 4/4"}
    wanted = torch.stack([mean for _, mean in seen]).mean(0)
    assert torch.allclose(used.running_mean, wanted, atol=1e-6)
    assert used.momentum == 0.1
    assert torch.equal(norm.copies["8/8 to 8/8"].running_mean, untouched)
    assert model.allocation == at(stem=2, left=8)


def test_pairs_never_used_begin_as_the_diagonal():
    model = model_of("pair")
    model.estimate_norms(BATCHES, [*model.plan.switches.values()] * 2)
    norm = model.norms["stem.0"]
    assert not torch.equal(
        norm.copies["2/2 to 8/8"].running_mean, norm.copies["2/2 to 2/2"].running_mean
    )
    model.spread_norms()
    for before in ("8/8", "4/4", "2/2"):
        diagonal = norm.copies[f"{before} to {before}"]
        for behind in ("8/8", "4/4", "2/2"):
            copy = norm.copies[f"{before} to {behind}"]
            assert torch.equal(copy.running_mean, diagonal.running_mean)
    assert int(norm.copies["2/2 to 8/8"].num_batches_tracked) == 0


def test_payloads_are_counted_in_bytes():
    model = model_of("pair")
    counts = {layer.name: layer.weights for layer in model.spec.layers}
    rest = (12 + 12 + 4) * 4  # biases of left, right and head
    one = payload_of(model, at(stem=2))
    inner = sum(n for name, n in counts.items() if name not in ("stem.0", "head"))
    assert one.weights == counts["stem.0"] * 2 // 8 + inner * 4 // 8 + counts["head"]
    assert (one.norms, one.scales, one.rest) == (16 * 2 * 4, 10 * 4, rest)
    everything = payload_of_all(model)
    # the codes of 8, 4 and 2 bits side by side are smaller than a float copy
    assert everything.weights == (inner + counts["stem.0"]) * 14 // 8 + counts["head"]
    assert everything.norms == 9 * one.norms
    assert everything.scales == (4 * 6 + 2) * 4
    assert float_payload(model).total == sum(counts.values()) * 4 + 16 * 8 + rest
    assert one.to_json()["total"] == one.total


def test_rungs_pair_each_weight_width_with_the_nearest_activation_width():
    problem = toy_problem(3, (2, 4, 8), (3, 8), pin_first_last=8).problem
    rungs = rungs_of(problem)
    assert rungs["layer1"] == (LayerBits(8, 8), LayerBits(4, 3), LayerBits(2, 3))
    assert rungs["layer0"] == (LayerBits(8, 8),)
    switches = switches_of(rungs)
    assert list(switches) == ["8/8", "4/3", "2/3"]
    assert [a["layer0"] for a in switches.values()] == [LayerBits(8, 8)] * 3


def test_one_weight_width_gives_a_rung_for_each_activation_width():
    rungs = rungs_of(toy_problem(2, (1,), (1, 4, 32)).problem)
    assert list(switches_of(rungs)) == ["1/32", "1/4", "1/1"]


def test_random_allocations_use_every_rung_of_every_layer():
    rungs = small_plan("pair").rungs
    rng = np.random.default_rng(0)
    drawn = [random_allocation(rungs, rng) for _ in range(60)]
    for name, row in rungs.items():
        assert {allocation[name] for allocation in drawn} == set(row)


def test_plans_survive_json_and_refuse_nonsense():
    plan = small_plan("pair")
    assert NormPlan.from_json(plan.to_json()) == plan
    with pytest.raises(InvalidParams, match="norms must be one of"):
        NormPlan("own", plan.switches)
    with pytest.raises(InvalidParams, match="at least one switch"):
        NormPlan("pair", {})
    for wrong in (
        {"teacher": "me"},
        {"labels": -1.0},
        {"labels": 0.0, "outputs": 0.0},
        {"mixed": -1},
        {"mixed": 3, "teacher": "next"},
    ):
        with pytest.raises(InvalidParams):
            Joint(**wrong)
