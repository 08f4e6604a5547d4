"""What weights meet in the float network, and the table of codes that is made of it."""

from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from qcore.allocation import BitAllocation
from qcore.errors import InvalidParams
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.settings import held_out
from qcore.rounding import many
from qcore.rounding import moments as moments_module
from qcore.rounding import table as table_module
from qcore.rounding.moments import MEAN_KEPT, in_groups, mask_of, met, second_moments
from qcore.rounding.nearest import output_error
from qcore.rounding.table import RoundedWeights
from qcore.scoring.evaluator import Evaluator
from tests.sequence_nets import sequence_evaluator
from tests.small_nets import small_data, small_evaluator, small_images, small_model


class EdgePadded(nn.Conv2d):
    """Pads on two sides only."""

    def forward(self, x):
        return self._conv_forward(functional.pad(x, (1, 0, 1, 0)), self.weight, self.bias)


class Halved(nn.Linear):
    """Not what its weights say where its sizes are others."""

    def forward(self, x):
        return functional.linear(x, self.weight)[..., : self.out_features]


LAYERS = {
    "linear": (nn.Linear(7, 5), (6, 7)),
    "tokens": (nn.Linear(7, 5), (3, 4, 7)),
    "1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1), (3, 4, 9)),
    "2d": (nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(2, 0), dilation=(1, 2)), (2, 3, 7, 8)),
    "3d": (nn.Conv3d(2, 3, (3, 1, 3), padding="same"), (2, 2, 4, 3, 5)),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2, padding=1), (2, 6, 5, 5)),
    "depthwise": (nn.Conv2d(6, 12, 3, groups=6), (2, 6, 5, 5)),
    "circular": (nn.Conv2d(2, 3, 3, padding=2, padding_mode="circular"), (2, 2, 5, 5)),
    "reflect": (nn.Conv1d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 5)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), (2, 4, 5, 5)),
    "transposed groups": (nn.ConvTranspose1d(4, 6, 3, groups=2), (2, 4, 5)),
    "own": (EdgePadded(3, 4, 3), (2, 3, 6, 6)),
}


def quantized_layer(module):
    rows = module.out_channels if hasattr(module, "out_channels") else module.out_features
    return QuantizedLayer("layer", module, module.weight.detach(), torch.zeros(rows), False)


@pytest.mark.parametrize("kind", LAYERS)
@torch.no_grad()
def test_what_weights_meet_times_the_weights_is_the_layers_output(kind):
    module, shape = LAYERS[kind]
    layer = quantized_layer(module)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    wanted = module.double()(x.double())
    module.float()
    bias = (
        module.bias
        if layer.operation.channel_axis == -1
        else module.bias.view(-1, *([1] * (wanted.dim() - 2)))
    )
    wanted = (wanted - bias.double()).float()
    made = in_groups(layer, layer.weight) @ met(layer, x)
    if layer.operation.channel_axis == -1:
        made = made[0].T.reshape(wanted.shape)
    else:
        made = made.flatten(0, 1).reshape(wanted.shape[1], len(x), *wanted.shape[2:])
        made = made.transpose(0, 1)
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)


def batches(sizes=(32, 32)):
    return [x for n, seed in zip(sizes, (1, 5), strict=True)
            for x, _ in small_images(n, seed).batches(n)]  # fmt: skip


def test_moments_are_those_of_every_place_and_the_model_is_left_as_it_was():
    model = small_model()
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 3))
    before = {name: layer.quantized for name, layer in model.layers.items()}
    names = list(model.layers)
    found = second_moments(model, names, batches())
    assert all(model.layers[name].quantized is before[name] for name in names)
    seen = {name: [] for name in names}
    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, x: seen[layer.name].append(met(layer, x[0].detach()))
        )
        for layer in model.layers.values()
    ]
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 32))
    with torch.no_grad():
        for batch in batches():
            model(batch)
    for hook in hooks:
        hook.remove()
    for name in names:
        x = torch.cat(seen[name], 2)
        second, mean = x @ x.transpose(1, 2) / x.shape[2], x.mean(2)
        if model.layers[name].normed:
            second = second - (1 - MEAN_KEPT) * mean[..., None] * mean[:, None]
        torch.testing.assert_close(found.moments(name), second)
    assert {name for name in names if model.layers[name].normed} == {"stem.0", "depthwise"}
    assert found.moments("depthwise").shape == (8, 9, 9)


def test_of_many_places_enough_are_taken(monkeypatch):
    whole = second_moments(small_model(), ["right"], batches()).moments("right")
    monkeypatch.setattr(moments_module, "CHUNK_NUMBERS", 1)
    torch.testing.assert_close(
        second_moments(small_model(), ["right"], batches()).moments("right"), whole
    )
    monkeypatch.setattr(moments_module, "PLACES", 1)
    monkeypatch.setattr(moments_module, "LEAST_SAMPLES", 32)
    some = second_moments(small_model(), ["right"], batches())
    assert some._places["right"] == 32 * 64
    relative = (some.moments("right") - whole).norm() / whole.norm()
    assert 0 < relative < 0.1


def test_places_that_only_pad_are_not_counted():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    x = torch.arange(24.0).view(2, 3, 4)
    counted = moments_module._counted(x, mask_of({"ids": x, "attention_mask": mask}))
    assert torch.equal(counted, torch.stack([x[0, 0], x[0, 1], x[1, 0]]))
    assert mask_of({"ids": x, "padding_mask": mask}) is None
    assert moments_module._counted(x[0], mask != 0) is x[0] or x[0].shape == (3, 4)


def test_a_layer_that_does_something_else_with_other_sizes_is_refused():
    model = small_model()
    layer = model.layers["head"]
    layer.operation = quantized_layer(Halved(12, 4)).operation
    found = second_moments(model, ["left", "head"], batches())
    assert found.refused == {"head"}
    assert found.moments("head") is None
    table = RoundedWeights(model, batches(), "gptq")
    assert table("left", 2) is not None
    assert table("head", 2) is None
    assert table.left == ("head",)


@pytest.mark.parametrize("rounding", ["gpfq", "gptq"])
def test_a_table_lowers_the_error_of_every_layer_and_names_each_layer_and_width_once(rounding):
    model = small_model()
    table = RoundedWeights(model, batches(), rounding)
    told = []
    table.make([2, 3, 8, 32], lambda done, total: told.append((done, total)))
    assert told == [(n, 5) for n in range(1, 6)]
    assert sorted(table.entries) == sorted((name, b) for name in model.layers for b in (2, 3))
    assert table.missing([2, 3, 4, 8, 32]) == [4]
    assert table("stem.0", 8) is None  # plain from 8 bits
    found = second_moments(model, list(model.layers), batches())
    plain = small_model()
    better = 0
    for name, layer in model.layers.items():
        codes, steps = table(name, 2)
        rows = in_groups(layer, layer.weight)
        errors = rows - (codes * steps[:, None]).view(rows.shape)
        nearest = rows - in_groups(layer, plain.prepared_weight(name, 2))
        moments = found.moments(name)
        mine, usual = (output_error(e, moments).sum() for e in (errors, nearest))
        better += bool(mine < usual)
        assert mine <= usual or rounding == "gpfq"
    assert better >= 4


def test_layers_that_do_not_fit_into_memory_together_give_the_same_codes(monkeypatch):
    whole = RoundedWeights(small_model(), batches(), "gptq")
    whole.make([2])
    monkeypatch.setattr(table_module, "MOMENT_BYTES", 1)
    parts = RoundedWeights(small_model(), batches(), "gptq")
    parts.make([2])
    assert whole.entries.keys() == parts.entries.keys()
    assert all((whole.entries[k][0] == parts.entries[k][0]).all() for k in whole.entries)


def test_codes_that_are_first_asked_for_in_inference_mode_are_the_same():
    made = RoundedWeights(small_model(), batches(), "gptq")
    made.make([3])
    asked = RoundedWeights(small_model(), batches(), "gptq")
    with torch.inference_mode():
        codes, steps = asked("head", 3)
    assert (codes.numpy() == made.entries["head", 3][0]).all()
    assert (steps.numpy() == made.entries["head", 3][1]).all()


def rounded_evaluator(rounding="gptq", **more):
    return Evaluator(small_model(), small_data(), batch_size=24, rounding=rounding, **more)


def test_no_sample_that_a_rounding_was_fitted_on_scores_it():
    evaluator = rounded_evaluator()
    fitted = torch.cat(evaluator.rounded.batches)
    scored = torch.cat([x for x, _ in evaluator.unseen(256)])
    searched = torch.cat([x for x, _ in evaluator.search])
    assert (len(fitted), len(scored)) == (48, 16)
    assert len(scored) == held_out(64)

    def pixels(x):
        return {row.numpy().tobytes() for row in x}

    assert not pixels(fitted) & (pixels(scored) | pixels(searched))
    assert len(torch.cat([x for x, _ in small_evaluator().unseen(256)])) == 64


def test_one_calibration_sample_is_not_enough():
    data = small_data()
    one = replace(data, calibration=data.calibration.at(torch.arange(1)))
    with pytest.raises(InvalidParams, match="at least 2 calibration samples"):
        Evaluator(small_model(), one, rounding="gpfq")


def test_codes_that_were_made_before_are_looked_up():
    first = rounded_evaluator()
    allocation = BitAllocation.uniform(first.model.spec.layers, 2)
    (point,) = first.score([allocation])
    second = rounded_evaluator(known=first.rounded.entries)
    second.rounded.batches = []  # nothing could be made
    (again,) = second.score([allocation])
    assert again.search == point.search
    (usual,) = small_evaluator().score([allocation])
    assert usual.search != point.search


def test_a_rounded_state_gives_the_same_logits_in_a_model_that_knows_no_rounding():
    evaluator = rounded_evaluator()
    allocation = BitAllocation.uniform(evaluator.model.spec.layers, 2)
    (point,) = evaluator.score([allocation])
    state = evaluator.state(point)
    assert all("weight_codes" in arrays for arrays in state.values())
    other = small_model()
    other.load_state(allocation, state)
    x = evaluator.search[0][0]
    with torch.inference_mode():
        assert torch.equal(other(x), evaluator.model(x))
    tuned = next(evaluator.score([allocation], "ptq+tuned"))
    after = evaluator.state(tuned)
    assert all((after[n]["weight_codes"] == state[n]["weight_codes"]).all() for n in state)


def test_matrices_of_recurrent_layers_are_rounded_and_tables_of_ids_are_not():
    evaluator = sequence_evaluator("words")
    table = RoundedWeights(evaluator.model, [x for x, _ in evaluator.calibration], "gptq")
    table.make([2])
    kinds = {layer.name: layer.kind for layer in evaluator.model.spec.layers}
    assert table.left == tuple(n for n, kind in kinds.items() if kind.endswith("embedding"))
    made = {name for name, _ in table.entries}
    assert made == set(kinds) - set(table.left)
    assert "recurrent" in {kinds[name] for name in made}


def test_codes_of_several_processes_are_the_same_to_the_bit(monkeypatch):
    monkeypatch.setattr(table_module, "WORTH_S", 0.0)
    here, there = (RoundedWeights(small_model(), batches(), "gptq") for _ in range(2))
    torch.set_num_threads(2)  # sums are added up by one thread all the same
    there.processes = 2
    told = []
    try:
        there.make([2, 3], lambda done, total: told.append((done, total)))
    finally:
        torch.set_num_threads(1)
    here.make([2, 3])
    assert told == [(n, 5) for n in range(1, 6)]
    assert there.entries.keys() == here.entries.keys()
    for key, (codes, steps) in here.entries.items():
        assert (there.entries[key][0] == codes).all()
        assert (there.entries[key][1] == steps).all()


def test_processes_are_started_where_there_is_enough_to_do(monkeypatch):
    table = RoundedWeights(small_model(), batches(), "gptq")
    table.processes = 4
    names = list(table.model.layers)
    assert table._spread(names, [2, 3]) == 1
    monkeypatch.setattr(table_module, "WORTH_S", 1e-3)
    assert table._spread(names, [2, 3]) == 4
    table.processes = 1
    assert table._spread(names, [2, 3]) == 1


def test_what_a_dying_process_leaves_is_rounded_here(monkeypatch):
    tasks = list(RoundedWeights(small_model(), batches(), "gptq")._tasks(["left", "head"], [2], []))
    whole = dict(many.round_layers(tasks))

    class Broken:
        def __init__(self, *given, **named):
            pass

        def submit(self, *given):
            raise BrokenProcessPool("a child died")

        def shutdown(self, **how):
            pass

    monkeypatch.setattr(many, "ProcessPoolExecutor", Broken)
    found = dict(many.round_layers(tasks, 2))
    assert found.keys() == whole.keys()
    assert all((found[n][2][0] == whole[n][2][0]).all() for n in whole)
