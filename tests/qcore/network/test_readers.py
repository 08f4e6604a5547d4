"""A stored tensor that several modules read in their own ways is one layer, with one code each."""

import json

import pytest
import torch
from torch import nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS
from qcore.costs.budget import make_options
from qcore.formats.config import BitConfig, dump_bits
from qcore.formats.exports.templates import apply as script
from qcore.formats.exports.torch_side import onnx_qdq, packed
from qcore.network.layers import find_layers
from qcore.network.readers import Reader
from qcore.ptq.calibration import measure_ranges
from qcore.ptq.model import QuantizedModel, float_gap
from qcore.qat.model import TrainableModel


class Pyramid(nn.Module):
    """One kernel at three strides and paddings, one of the places with a bias of its own."""

    def __init__(self, biased: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.fine = nn.Conv2d(6, 4, 3, padding=1)
        self.coarse = nn.Conv2d(6, 4, 3, stride=2, padding=1, bias=biased)
        self.wide = nn.Conv2d(6, 4, 3, dilation=2, padding=2)
        self.coarse.weight = self.wide.weight = self.fine.weight
        self.wide.bias = self.fine.bias
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        rows = [part(x).relu().mean((2, 3)) for part in (self.fine, self.coarse, self.wide)]
        return self.head(torch.cat(rows, 1))


def made(biased: bool = True) -> Pyramid:
    torch.manual_seed(3)
    return Pyramid(biased).eval()


IMAGES = torch.rand(5, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def quantized(net: nn.Module, weight: int, activation: int = 32) -> QuantizedModel:
    model = QuantizedModel(net, find_layers(net, IMAGES, "net"))
    measure_ranges(model, [IMAGES])
    model.set_allocation(BitAllocation.uniform(model.spec.layers, weight, activation))
    return model


@pytest.mark.parametrize("biased", [True, False])
def test_every_place_is_the_same_layer(biased):
    net = made(biased)
    found = find_layers(net, IMAGES, "net")
    assert found.spec.names == ("first", "fine", "head")
    assert found.readers == {"fine": ("coarse", "wide")}
    assert found.spec.left_in_float == {}
    layer = found.spec.layers[1]
    assert layer.weights == 6 * 4 * 9
    assert layer.macs == 216 * (64 + 16 + 64)
    # the bias of its own, or none where the layer has one, is stored beside the layer's
    assert layer.biases == 8
    costs = COSTS["weight_bytes"].total(found.spec, BitAllocation.uniform(found.spec.layers, 4))
    assert costs == (2 * 6 * 9 + 216 + 36) // 2
    assert float_gap(net, QuantizedModel(net, found), IMAGES) < 1e-6


@pytest.mark.parametrize("biased", [True, False])
def test_all_places_compute_with_the_same_codes(biased):
    net = made(biased)
    model = quantized(net, 3, 4)
    plain = made(biased)
    with torch.no_grad():
        for name, layer in model.layers.items():
            plain.get_submodule(name).weight.copy_(layer.quantized.reshape(layer.weight.shape))
    grids = {name: layer.grid for name, layer in model.layers.items()}
    for name, owner in {"first": "first", "fine": "fine", "coarse": "fine", "wide": "fine",
                        "head": "head"}.items():  # fmt: skip
        grid = grids[owner]
        plain.get_submodule(name).register_forward_pre_hook(
            lambda m, x, grid=grid: (grid.quantize(x[0]),)
        )
    with torch.no_grad():
        assert torch.allclose(model(IMAGES), plain(IMAGES), atol=1e-5)
    assert isinstance(model.network.get_submodule("coarse"), Reader)


def test_exported_files_compute_what_was_measured():
    net = made()
    model = quantized(net, 4, 8)
    config = BitConfig(model.spec, model.allocation, model.state(), norms={})
    with torch.no_grad():
        wanted = model(IMAGES)
    again = script.apply(made(), json.loads(dump_bits(config)))
    assert torch.allclose(again(IMAGES), wanted, atol=1e-5)
    for render in (packed.render, onnx_qdq.render_int4):
        report = render(config, made(), IMAGES).report
        assert report["max_abs_diff"] < 1e-5, report


def test_modules_of_other_groups_keep_a_float_copy():
    torch.manual_seed(0)
    one, other = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
    other.weight = one.weight
    found = find_layers(nn.Sequential(one, other), IMAGES, "net")
    assert found.spec.names == ("0",)
    assert found.spec.left_in_float["1.weight"] == 72
    assert any("of another kind" in sentence for sentence in found.spec.warnings)


def test_switching_one_width_switches_every_place():
    model = quantized(made(), 32)
    coarse, x = model.network.get_submodule("coarse"), torch.ones(1, 6, 8, 8)
    before = coarse(x)
    model.set_layer("fine", LayerBits(2))
    assert not torch.equal(before, coarse(x))
    model.set_layer("fine", LayerBits(32))
    assert torch.equal(before, coarse(x))


def test_training_moves_one_weight_that_every_place_reads():
    net = made()
    found = find_layers(net, IMAGES, "net")
    options = make_options(found.spec.layers, (2, 32), (32,))
    model = TrainableModel(net, found, options)
    assert torch.allclose(model(IMAGES), net(IMAGES), atol=1e-5)
    model.start_scales([IMAGES])
    model.set_allocation(BitAllocation.uniform(found.spec.layers, 2))
    model(IMAGES).square().sum().backward()
    assert model.layers["fine"].weight.grad.abs().sum() > 0
    trained = [p for group in model.groups().values() for p in group]
    assert len(trained) == len({id(p) for p in trained})
