"""Quantized networks to export: a trained residual one, a depthwise one, and odd layers."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.formats.config import BitConfig
from qcore.formats.exports.torch_side.onnx_graph import float_graph
from qcore.formats.exports.torch_side.parts import Taken, take_apart
from qcore.models.bundled import MobileNet
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.ptq.calibration import Correction, measure_ranges
from qcore.ptq.model import QuantizedModel

WEIGHTS, INPUTS = (2, 3, 4, 8), (4, 8, 32)


@dataclass(frozen=True)
class Case:
    """A network to export, with images and the logits that were measured."""

    config: BitConfig
    model: nn.Module
    sample: Tensor
    wanted: Tensor


class Odd(nn.Module):
    """One-dimensional and transposed convolutions, a shared layer, a linear one on sequences."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Conv1d(2, 4, 3, padding=1, bias=False)
        self.up = nn.ConvTranspose1d(4, 6, 2, stride=2)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.up(torch.relu(self.entry(x)))).transpose(1, 2)
        return self.head(self.mix(torch.relu(self.mix(x))).mean(1))


def measured(model, name, sample, bits):
    """A configuration of a float model with calibrated ranges and corrected biases."""
    found = find_layers(model, sample[:1], name)
    quantized = QuantizedModel(model, found)
    measure_ranges(quantized, [sample])
    correction = Correction(quantized, [sample])
    chosen = BitAllocation({n: bits(i) for i, n in enumerate(found.spec.names)})
    quantized.set_allocation(chosen.with_float_ids(found.spec.layers))
    correction.apply()
    with torch.no_grad():
        wanted = quantized(sample)
    config = BitConfig(
        found.spec, quantized.allocation, quantized.state(), quantized.norms,
        provenance={"data": "random", "seed": 0},
    )  # fmt: skip
    return Case(config, model, sample, wanted)


def mixed(index):
    return LayerBits(WEIGHTS[index % 4], INPUTS[index % 3])


def images(n=16, shape=(1, 28, 28), seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


@cache
def residual():
    """The bundled ResNet-8: residual adds."""
    return measured(load_model("resnet8"), "resnet8", images(), mixed)


@cache
def depthwise():
    """A small MobileNet: depthwise convolutions, batch-norms that have seen images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MobileNet(stages=((1, 8, 1, 1), (4, 8, 2, 2)), head=16).train()
        for seed in range(3):
            model(images(seed=seed))
        nn.init.normal_(model.classifier.weight, std=2.0)
    return measured(model.eval(), "small-mobilenet", images(), mixed)


@cache
def odd(weights=(4, 2, 3, 8), inputs=(8, 4, 32, 8)):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Odd().eval()
    sample = images(6, (2, 8)) - 0.5
    return measured(model, "odd", sample, lambda i: LayerBits(weights[i], inputs[i]))


@cache
def taken(case) -> Taken:
    return take_apart(CASES[case]().config, CASES[case]().model)


@cache
def _graph(case):
    return float_graph(taken(case), CASES[case]().sample, 21).SerializeToString()


def graph(case, opset):
    """The float graph; tracing takes seconds, and these operators are alike in all the opsets."""
    import onnx

    model = onnx.load_from_string(_graph(case))
    model.opset_import[0].version = opset
    model.ir_version = {18: 8, 21: 10, 25: 13}[opset]
    return model


CASES = {"residual": residual, "depthwise": depthwise, "odd": odd}
