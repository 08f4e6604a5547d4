"""A quantized network taken apart for export: each layer's codes, scales, bias and input grid.

Every writer starts here, so that all files hold the same numbers: those whose logits were measured.
"""

import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS, LayerBits, is_float_width, stored_bits
from qcore.errors import ExportRefused
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig
from qcore.network.operation import Operation, from_rows, to_rows
from qcore.network.running import copied
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.quantizers import (
    ActivationGrid,
    HalfGrid,
    code_range,
    in_groups,
    in_rows,
    step_of_each,
    weight_codes,
)
from qcore.widths import group_inputs


@dataclass(frozen=True)
class Part:
    """One layer, ready to be written.

    Attributes:
        name: Dotted module path.
        bits: Its bit-widths.
        codes: Whole numbers in the weight's shape, int16; None where weights stay floats. At
            most 2^b values; two's complement but for one bit (-1 and 1) and for layers trained on
            levels half a step off zero (odd codes) or on powers of two.
        scale: What a code is worth, (channels,) float32, or (channels, groups) where the width has
            groups; None where weights stay floats. Below zero only where the code -2^(b-1) is used,
            which has no mirror image.
        weight: Weight in use, float32: codes * scale up to the last bit, batch-norm folded in; at
            bf16 and fp16 values of that type.
        bias: (channels,) float32; (0,) in an embedding.
        grid: Levels of the input, or the type it is cast to; None where it stays in float.
        axis: Axis of the weight the scale runs along: 0, or 1 in transposed convolutions.
        operation: Its arithmetic.
    """

    name: str
    bits: LayerBits
    codes: np.ndarray | None
    scale: np.ndarray | None
    weight: Tensor
    bias: Tensor
    grid: ActivationGrid | HalfGrid | None
    axis: int
    operation: Operation

    @property
    def group(self) -> int:
        """Weights of a channel that share a scale; 0 where all do."""
        return group_inputs(self.bits.weight)

    @property
    def code_bits(self) -> int:
        """Bits of the two's complement integers that hold the codes: the layer's, or more."""
        if self.codes is None:
            return FLOAT_BITS
        low, high = int(self.codes.min()), int(self.codes.max())
        return max(
            stored_bits(self.bits.weight),
            (-low - 1 if low < 0 else 0).bit_length() + 1,
            high.bit_length() + 1,
        )


class PlainLayer(nn.Module):
    """A float layer with a weight, a bias and the arithmetic of the layer it stands for."""

    weight: Tensor
    bias: Tensor

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part_name = part.name
        # buffers: a layer whose forward pass is its own shares a module with the reference, which
        # could not go back from a parameter to the tensors that it computes with
        self.register_buffer("weight", part.weight.contiguous())
        self.register_buffer("bias", part.bias)
        self.operation = part.operation

    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the layer it stands for."""
        return self.operation.call(x, self.weight, self.bias)


@dataclass(frozen=True)
class Taken:
    """A network taken apart.

    Attributes:
        reference: The quantized model as it was measured.
        network: The same network with `PlainLayer`s: weights on their grids, inputs in float.
        parts: Layer name to its part, in execution order.
    """

    reference: QuantizedModel
    network: nn.Module
    parts: Mapping[str, Part]


def take_apart(config: BitConfig, model: nn.Module) -> Taken:
    """Quantize a float model as a configuration says and take it apart.

    Raises:
        InvalidConfig: the model is not the one that was measured, or state is missing.
    """
    reference = apply_bits(model, config).eval()
    parts = {name: _part(config, layer) for name, layer in reference.layers.items()}
    network = copied(reference.network)
    plain = {name: PlainLayer(part) for name, part in parts.items()}
    for path, module in list(network.named_modules(remove_duplicate=False)):
        if isinstance(module, QuantizedLayer):
            network.set_submodule(path, plain[module.name])
    return Taken(reference, network.to(memory_format=torch.contiguous_format), parts)


def _part(config: BitConfig, layer: QuantizedLayer) -> Part:
    bits, arrays = config.allocation[layer.name], config.state[layer.name]
    gain = layer.gain
    codes = scale = None
    weight = layer.quantized
    if not is_float_width(bits.weight):
        step = torch.from_numpy(np.array(arrays["weight_step"]))
        if "weight_codes" in arrays:
            whole = torch.from_numpy(np.array(arrays["weight_codes"], np.float32))
            rows = to_rows(whole.reshape(layer.weight.shape), layer.operation)
        else:
            rows = weight_codes(to_rows(layer.weight, layer.operation), step, bits.weight)
        # a width with groups takes no gain
        scales = step if gain is None else step * gain
        channels, n = rows.shape
        parts, scales = _upright(in_groups(rows, bits.weight), scales, bits.weight)
        rows = in_rows(parts, channels, n)
        codes = from_rows(rows, layer.weight.contiguous(), layer.operation)
        codes = codes.to(torch.int16).contiguous().numpy()
        scale = (scales.view(channels, -1) if group_inputs(bits.weight) else scales).numpy()
        each = step_of_each(scales, bits.weight, n)
        weight = from_rows(rows * each, layer.weight.contiguous(), layer.operation)
    elif gain is not None:
        rows = to_rows(layer.quantized, layer.operation) * gain[:, None]
        weight = from_rows(rows, layer.quantized, layer.operation)
    return Part(
        name=layer.name,
        bits=bits,
        codes=codes,
        scale=scale,
        weight=weight.detach().contiguous(),
        bias=layer.shift.detach(),
        grid=layer.grid,
        axis=1 if layer.operation.transposed else 0,
        operation=layer.operation,
    )


def _upright(rows: Tensor, scale: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Turn rows with a negative scale over, (-codes, -scale), wherever their codes allow."""
    low, high = code_range(bits)
    turn = (scale < 0) & ((rows == low).sum(1) == 0 if -low > high else torch.tensor(True))
    sign = torch.where(turn, -1.0, 1.0)
    return rows * sign[:, None] + 0.0, scale * sign


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Package name to its installed version; those that are not installed are left out."""
    found = {}
    for package in packages:
        if importlib.util.find_spec(package) is not None:
            found[package] = importlib.metadata.version(package).split("+")[0]
    return found


def require(packages: Iterable[str], what: str) -> None:
    """Raise ExportRefused when a package is not installed; says which and how to get it."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportRefused(
            f"Writing {what} needs {' and '.join(missing)}, which this installation lacks: "
            "pip install -r requirements-toolchains.txt."
        )


def refuse_grouped_transposed(taken: Taken, what: str) -> None:
    """Raise where one scale per channel does not lie along one axis of the weight.

    Raises:
        ExportRefused: a quantized transposed convolution has groups.
    """
    grouped = [
        part.name
        for part in taken.parts.values()
        if part.scale is not None and part.operation.transposed and part.operation.groups > 1
    ]
    if grouped:
        raise ExportRefused(
            f"{what} keeps one scale per index of one axis, which transposed convolutions with "
            f"groups do not have: {', '.join(grouped)}. Leave their weights at 32 bits."
        )
