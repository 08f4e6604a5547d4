"""Corrections do what they say, what is chosen was measured, and padding counts nowhere."""

import pytest
import torch
from torch import nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.inputs import Input
from qcore.judges.classes import Classes
from qcore.judges.embedding import Embedding
from qcore.network.layers import find_layers
from qcore.ptq.calibration import Correction, matched_layers, measure_ranges
from qcore.ptq.choice import LEAST, choose_correction, usual_correction
from qcore.ptq.model import QuantizedModel
from qcore.ptq.parallel import ParallelShifts, counted_positions
from qcore.ptq.settings import CORRECTIONS, NORMED, OFF, PARALLEL, SEQUENTIAL
from tests.small_nets import small_model
from tests.typed_nets import encoder
from tests.variants import some

X = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(3))
WORDS, LENGTH = 50, 9


def texts(n, seed=0, filler=0):
    """Ids and a mask of texts of 2 to 9 words; short ones are filled up."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, LENGTH + 1, (n, 1), generator=generator)
    mask = (torch.arange(LENGTH) < lengths).long()
    ids = torch.randint(1, WORDS, (n, LENGTH), generator=generator)
    return {"ids": torch.where(mask == 1, ids, filler), "mask": mask}


def text_model():
    inputs = (Input("ids", (LENGTH,), "int64", high=WORDS), Input("mask", (LENGTH,), "int64"))
    network = encoder()
    model = QuantizedModel(network, find_layers(network, texts(2), "texts", inputs))
    measure_ranges(model, [texts(16)])
    return model


def corrected(model, how, bits, batch):
    correction = Correction(model, [batch], how)
    model.set_allocation(BitAllocation.uniform(model.spec.layers, *bits))
    correction.apply()
    return {name: layer.shift.clone() for name, layer in model.layers.items()}


def test_the_parallel_shift_is_the_formula():
    """b - (W_hat - W) E[x], with x the float inputs at positions that count."""
    model, batch = text_model(), texts(16)
    seen = {}
    handle = model.layers["value"].register_forward_pre_hook(
        lambda module, inputs: seen.update(x=inputs[0].clone())
    )
    with torch.no_grad():
        model(batch)
    handle.remove()
    shifts = corrected(model, PARALLEL, (3, 32), batch)
    layer = model.layers["value"]
    mean = seen["x"][batch["mask"] == 1].mean(0)
    wanted = layer.bias - (model.prepared_weight("value", 3) - layer.weight) @ mean
    assert torch.allclose(shifts["value"], wanted, atol=1e-5)


def test_a_parallel_shift_does_not_depend_on_other_layers():
    model = small_model()
    measure_ranges(model, [X])
    table = ParallelShifts(model, [X], [[]])
    alone = table.of(BitAllocation.uniform(model.spec.layers, 2), ["left"])["left"]
    mixed = BitAllocation.uniform(model.spec.layers, 4).replace("left", LayerBits(2))
    fresh = ParallelShifts(model, [X], [[]]).of(mixed, list(model.layers))
    assert torch.equal(fresh["left"], alone)
    assert not torch.equal(fresh["head"], model.layers["head"].bias)


def test_a_layer_quantized_alone_gets_the_same_mean_from_either():
    """Its inputs are the float network's: there parallel and sequential are one."""
    model = small_model()
    measure_ranges(model, [X])
    found = {}
    for how in (PARALLEL, SEQUENTIAL):
        correction = Correction(model, [X], how)
        bits = BitAllocation.uniform(model.spec.layers, 32).replace("head", LayerBits(2, 3))
        model.set_allocation(bits)
        correction.apply()
        found[how] = model.layers["head"].shift
    assert torch.allclose(found[PARALLEL], found[SEQUENTIAL], atol=1e-4)


def test_off_leaves_every_layer_as_its_bits_made_it():
    model = small_model()
    shifts = corrected(model, OFF, (2, 32), X)
    for name, layer in model.layers.items():
        assert layer.gain is None
        assert torch.equal(shifts[name], layer.bias)


@pytest.mark.parametrize("how", some(CORRECTIONS, 2))
def test_what_fills_up_short_samples_changes_no_correction(how):
    """Two batches that differ at padded positions only."""
    first, second = (
        corrected(text_model(), how, (3, 32), texts(16, filler=filler)) for filler in (0, 7)
    )
    for name, shift in first.items():
        assert torch.allclose(shift, second[name], atol=1e-5), name


def test_what_fills_up_short_samples_is_in_no_range():
    ranges = []
    for filler in (0, 7):
        model = text_model()
        measure_ranges(model, [texts(16, filler=filler)])
        counted = model.histograms["value"].counts.sum()
        assert int(counted) == int(texts(16)["mask"].sum()) * 16
        ranges.append(model.activation_grid("value", 4))
    assert ranges[0] == ranges[1]


def test_only_a_mask_of_zeros_and_ones_with_a_shape_of_its_own_counts():
    ones, some = torch.ones(2, 3), torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert counted_positions(X) == []
    (found,) = counted_positions({"ids": some, "attention_mask": some})
    assert torch.equal(found, some == 1)
    assert counted_positions({"attention_mask": ones}) == []
    assert counted_positions({"padding_mask": some}) == []
    assert counted_positions({"mask": some * -10_000.0}) == []
    assert counted_positions({"mask": some, "other_mask": ones}) == []
    assert len(counted_positions({"mask": some, "wide_mask": torch.zeros(2, 4)})) == 2
    assert counted_positions({"mask": some[:, None, None]}) == []


class Mixed(nn.Module):
    """A convolution with a norm, and linear layers without: one that it feeds, one further on."""

    def __init__(self, further=True):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.fed = nn.Linear(4, 6)
        self.far = nn.Linear(6, 4) if further else nn.Identity()

    def forward(self, x):
        x = self.norm(self.conv(x)).flatten(2)[..., 0].tanh()
        return self.far(self.fed(x).exp())


def mixed_model(further=True):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Mixed(further).eval()
        for parameter in network.parameters():
            nn.init.normal_(parameter)
    return QuantizedModel(network, find_layers(network, X[:1], "mixed"))


def test_means_are_matched_in_turn_only_where_a_norm_restores_the_spread():
    model = mixed_model()
    assert matched_layers(model, NORMED) == {"conv", "fed"}
    assert matched_layers(model, SEQUENTIAL) == {"conv", "fed", "far"}
    assert matched_layers(model, PARALLEL) == matched_layers(model, OFF) == set()
    together = corrected(model, NORMED, (2, 32), X)
    parallel = corrected(model, PARALLEL, (2, 32), X)
    in_turn = corrected(model, SEQUENTIAL, (2, 32), X)
    assert torch.equal(together["far"], parallel["far"])
    assert torch.allclose(together["fed"], in_turn["fed"], atol=1e-5)
    assert not torch.allclose(parallel["far"], in_turn["far"], atol=1e-3)


def test_sequential_is_never_tried_where_it_does_harm():
    assert usual_correction(mixed_model(further=False)) == (SEQUENTIAL, (PARALLEL, OFF))
    assert usual_correction(mixed_model()) == (NORMED, (PARALLEL, OFF))
    assert usual_correction(text_model()) == (OFF, (PARALLEL,))


def test_the_choice_is_measured_on_samples_of_its_own():
    model = text_model()
    judge = Embedding(mask="mask")
    batches = [(texts(32, seed), None) for seed in range(3)]
    choice = choose_correction(model, batches, judge)
    assert set(choice.damages) == {OFF, PARALLEL}
    assert choice.samples == 48
    # held out are the last 48: none of them is in what the corrections were made from
    held = [texts(32, 1), texts(32, 2)]
    held[0] = {name: values[16:] for name, values in held[0].items()}
    made = [texts(32, 0), {name: values[:16] for name, values in texts(32, 1).items()}]
    correction = Correction(model, made, PARALLEL)
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 32))
    with torch.no_grad():
        wanted = [judge.read(model(x), x) for x in held]
        model.set_allocation(BitAllocation.uniform(model.spec.layers, 3))
        correction.apply()
        found = [
            judge.divergence(judge.read(model(x), x), y) for x, y in zip(held, wanted, strict=True)
        ]
    assert choice.damages[PARALLEL][0] == pytest.approx(float(torch.cat(found).mean()), rel=1e-3)
    assert choice.words(judge.unit).startswith(f"Correction of quantized layers: {choice.how}.")


def test_too_few_samples_choose_nothing():
    choice = choose_correction(text_model(), [(texts(2 * LEAST - 1), None)], Embedding(mask="mask"))
    assert (choice.how, dict(choice.damages)) == (OFF, {})
    assert choice.words("nats") == ""


def test_what_is_clearly_better_is_chosen():
    """A bias far from zero inputs: only a correction saves this network at few bits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
        images = torch.rand(128, 64) * 0.2 + 4
    model = QuantizedModel(network, find_layers(network, images[:1], "rows"))
    measure_ranges(model, [images])
    choice = choose_correction(model, [(images, None)], Classes())
    assert choice.how == PARALLEL
    assert all(a < b for a, b in zip(choice.damages[PARALLEL], choice.damages[OFF], strict=True))
