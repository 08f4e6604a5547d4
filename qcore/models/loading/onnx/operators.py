"""Operators of ONNX that onnx2torch lacks, or reads for some shapes alone, as torch modules."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.errors import UnsupportedModel
from qcore.models.loading.onnx.recurrent import convert_recurrent
from qcore.models.loading.onnx.resizing import resize
from qcore.models.loading.packages import need

WHAT = "to read ONNX files"
_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


class Padding(nn.Module):
    """Pads any dimensions of a tensor of any rank, in any mode; negative amounts cut.

    Args:
        amounts: Dimension, from the end where negative, to how much is put before and behind.
        mode: "constant", "reflect", "replicate" or "circular".
        value: What "constant" pads with.
    """

    def __init__(self, amounts: dict[int, tuple[int, int]], mode: str, value: float) -> None:
        super().__init__()
        self.amounts = {at: pair for at, pair in amounts.items() if any(pair)}
        self.mode, self.value = mode, value

    def forward(self, x: Tensor) -> Tensor:
        """(...) to (...), larger or smaller along the dimensions that are padded."""
        if self.mode == "constant":
            sides = [(0, 0)] * x.dim()
            for at, pair in self.amounts.items():
                sides[at] = pair
            return functional.pad(
                x, [n for pair in reversed(sides) for n in pair], value=self.value
            )
        for at, (before, behind) in self.amounts.items():
            moved = x.movedim(at, -1)
            rows = moved.reshape(-1, 1, moved.shape[-1])
            rows = functional.pad(rows, (before, behind), mode=self.mode)
            x = rows.reshape(*moved.shape[:-1], rows.shape[-1]).movedim(-1, at)
        return x


class Plain(nn.Module):
    """An operator that is one function of its inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        """Whatever the function gives."""
        return self.function(*inputs)


class GlobalMax(nn.Module):
    """The largest value of each channel: (n, c, ...) to (n, c, 1, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, ...) to (n, c, 1, ...)."""
        return x.amax(tuple(range(2, x.dim())), keepdim=True)


class SpaceToDepth(nn.Module):
    """Blocks of b x b places become channels: (n, c, h, w) to (n, c * b * b, h / b, w / b)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c * b * b, h / b, w / b), the block's place before the channel."""
        b, (n, c, h, w) = self.size, x.shape
        blocks = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
        return blocks.reshape(n, c * b * b, h // b, w // b)


class Triangle(nn.Module):
    """The upper or lower triangle of matrices (..., h, w); the rest is zero."""

    def __init__(self, upper: bool, diagonal: int) -> None:
        super().__init__()
        self.upper, self.diagonal = upper, diagonal

    def forward(self, x: Tensor) -> Tensor:
        """(..., h, w) to the same."""
        return x.triu(self.diagonal) if self.upper else x.tril(self.diagonal)


def _pad(node: Any, graph: Any) -> nn.Module:
    told, given = node.attributes, list(node.input_values)
    mode = str(told.get("mode", "constant"))
    if mode not in _MODES:
        raise UnsupportedModel(f"The padding {node.name} has the unknown mode {mode!r}")
    if "pads" in told:
        sides, value, axes = list(told["pads"]), float(told.get("value", 0.0)), None
    else:
        sides = _numbers(graph, given[1], node)
        value = float(_stored(graph, given[2], node)) if given[2:3] and given[2] else 0.0
        axes = _numbers(graph, given[3], node) if given[3:4] and given[3] else None
    half = len(sides) // 2
    pairs = list(zip(sides[:half], sides[half:], strict=True))
    amounts = dict(zip(range(half) if axes is None else axes, pairs, strict=True))
    return Padding(amounts, _MODES[mode], value) if any(sides) else nn.Identity()


def _resize(node: Any, graph: Any) -> nn.Module:
    return resize(node, lambda name: _stored(graph, name, node))


def _triangle(node: Any, graph: Any) -> nn.Module:
    given = node.input_values
    diagonal = int(_stored(graph, given[1], node)) if given[1:2] and given[1] else 0
    return Triangle(bool(node.attributes.get("upper", 1)), diagonal)


class OneHot(nn.Module):
    """Whole numbers to rows of one value with another at their place."""

    def __init__(self, depth: int, off: float, on: float, axis: int) -> None:
        super().__init__()
        self.depth, self.off, self.on, self.axis = depth, off, on, axis

    def forward(self, ids: Tensor) -> Tensor:
        """(...) to (..., depth), the new dimension at its axis; numbers out of range get none."""
        places = torch.arange(self.depth, device=ids.device)
        at = torch.where(ids < 0, ids + self.depth, ids)[..., None] == places
        rows = at.float() * (self.on - self.off) + self.off
        return rows.movedim(-1, self.axis)


def _one_hot(node: Any, graph: Any) -> nn.Module:
    depth = _numbers(graph, node.input_values[1], node)[0]
    off, on = _stored(graph, node.input_values[2], node).reshape(-1).tolist()
    return OneHot(depth, float(off), float(on), int(node.attributes.get("axis", -1)))


def _scatter(node: Any, graph: Any) -> nn.Module:
    axis, how = int(node.attributes.get("axis", 0)), node.attributes.get("reduction", "none")
    if how != "none":
        raise UnsupportedModel(f"{node.name} scatters by {how}")
    return Plain(
        lambda x, at, new: x.scatter(axis, torch.where(at < 0, at + x.shape[axis], at), new)
    )


class Flatten(nn.Module):
    """A matrix of all numbers: the dimensions before an axis are its rows."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """(a, ..., b, ...) to (rows, columns); with all dimensions before the axis one column."""
        axis = self.axis % x.dim() if self.axis < 0 else self.axis
        return x.reshape(-1, math.prod(x.shape[axis:])) if axis else x.reshape(1, -1)


def _flatten(node: Any, graph: Any) -> nn.Module:
    axis = int(node.attributes.get("axis", 1))
    return nn.Flatten() if axis == 1 else Flatten(axis)


def _stored(graph: Any, name: str, node: Any) -> np.ndarray:
    if name not in graph.initializers:
        raise UnsupportedModel(f"{node.operation_type} {node.name} is told its sizes by the data")
    found: np.ndarray = graph.initializers[name].to_numpy()
    return found


def _numbers(graph: Any, name: str, node: Any) -> list[int]:
    return [int(v) for v in _stored(graph, name, node).reshape(-1)]


def _global_max(node: Any, graph: Any) -> nn.Module:
    return GlobalMax()


def _space_to_depth(node: Any, graph: Any) -> nn.Module:
    return SpaceToDepth(int(node.attributes["blocksize"]))


_MADE: dict[str, tuple[Callable[[Any, Any], nn.Module], tuple[int, ...], int]] = {
    "Pad": (_pad, (1, 2, 11, 13, 18, 19, 21, 23, 24, 25), 1),
    "GlobalMaxPool": (_global_max, (1, 22), 1),
    "SpaceToDepth": (_space_to_depth, (1, 13), 1),
    "Flatten": (_flatten, (1, 9, 11, 13, 21, 23, 24, 25), 1),
    "OneHot": (_one_hot, (9, 11), 1),
    "Trilu": (_triangle, (14,), 1),
    "Upsample": (_resize, (1, 7, 9), 1),
    "Resize": (_resize, (10, 11, 13, 18, 19), 1),
    "ScatterElements": (_scatter, (11, 13, 16, 18), 3),
}
"""Operator to what makes its module, its versions, and how many of its inputs are data."""

_RECURRENT = {"LSTM": (1, 7, 14, 22), "GRU": (1, 3, 7, 14, 22), "RNN": (1, 7, 14, 22)}


def register() -> None:
    """Teach onnx2torch these operators; once."""
    registry = need("onnx2torch.node_converters.registry", WHAT)
    need("onnx2torch.node_converters", WHAT)
    known = registry._CONVERTER_REGISTRY
    for kind, (make, versions, inputs) in _MADE.items():
        for version in versions:
            description = registry.OperationDescription("", kind, version)
            before = known.get(description)
            if not isinstance(before, _Converter):
                known[description] = _Converter(make, inputs, before)
    for kind, versions in _RECURRENT.items():
        for version in versions:
            known[registry.OperationDescription("", kind, version)] = convert_recurrent


@dataclass(frozen=True)
class _Converter:
    """What onnx2torch calls for a node; where it cannot, what was known before is called."""

    make: Callable[[Any, Any], nn.Module]
    inputs: int
    before: Callable[[Any, Any], Any] | None

    def __call__(self, node: Any, graph: Any) -> Any:
        common = need("onnx2torch.utils.common", WHAT)
        try:
            module = self.make(node, graph)
        except UnsupportedModel:
            if self.before is None:
                raise
            return self.before(node, graph)
        mapping = common.OnnxMapping(
            inputs=tuple(node.input_values[: self.inputs]), outputs=node.output_values
        )
        return common.OperationConverterResult(torch_module=module, onnx_mapping=mapping)
