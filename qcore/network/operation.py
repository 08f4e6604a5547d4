"""What a weight layer computes, apart from its weights; weights as rows of output channels."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.errors import InvalidData, UnsupportedModel
from qcore.network.rewriting import plain
from qcore.network.rewriting.tied import TiedEmbedding, tied_call

_CONVOLUTIONS: dict[type, Callable[..., Tensor]] = {
    nn.Conv1d: functional.conv1d,
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
}
_TRANSPOSED: dict[type, Callable[..., Tensor]] = {
    nn.ConvTranspose1d: functional.conv_transpose1d,
    nn.ConvTranspose2d: functional.conv_transpose2d,
    nn.ConvTranspose3d: functional.conv_transpose3d,
}
_PADDED = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
QUANTIZABLE = (nn.Linear, nn.Embedding, *_CONVOLUTIONS, *_TRANSPOSED)
"""Module types that get bit-widths."""


@dataclass(frozen=True, slots=True)
class Operation:
    """The arithmetic of a layer, without its weights.

    Attributes:
        call: (input, weight, bias) -> output.
        groups: Convolution groups.
        transposed: True for transposed convolutions, whose weight is (in, out / groups, ...).
        channel_axis: Axis of the output channels in the layer's output; -1 for linear layers, and
            for embeddings, whose features are not their rows.
        looks_up: True for an embedding: its input is ids, and it has no bias.
    """

    call: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    groups: int
    transposed: bool
    channel_axis: int
    looks_up: bool = False


def operation_of(module: nn.Module) -> Operation:
    """Read the arithmetic of a float layer.

    Of a subclass with a forward pass of its own (one that pads differently, say) that forward pass
    is the arithmetic; `find_layers` has made sure that it is proportional to the weight.

    Raises:
        UnsupportedModel: not one of QUANTIZABLE, or a padding mode of a transposed convolution.
    """
    if isinstance(module, TiedEmbedding):
        return Operation(_lookup(module.padding_idx, module.scale), 1, False, -1)
    kind: Any = type(module)
    for known in QUANTIZABLE:
        if isinstance(module, known):
            kind = known
    m: Any = module
    looks_up = kind is nn.Embedding
    if kind in QUANTIZABLE and not plain(module):
        axis = -1 if kind is nn.Linear or looks_up else 1
        groups = getattr(m, "groups", 1)
        return Operation(_own_forward(m, axis), groups, kind in _TRANSPOSED, axis, looks_up)
    if looks_up:
        return Operation(_lookup(m.padding_idx), 1, False, -1, looks_up)
    if kind is nn.Linear:
        return Operation(functional.linear, 1, False, -1)
    if kind in _TRANSPOSED:
        function, stride, padding = _TRANSPOSED[kind], m.stride, m.padding
        extra, groups, dilation = m.output_padding, m.groups, m.dilation
        return Operation(
            lambda x, w, b: function(x, w, b, stride, padding, extra, groups, dilation),
            groups,
            True,
            1,
        )
    if kind not in _CONVOLUTIONS:
        raise UnsupportedModel(f"A {type(module).__name__} cannot be quantized as a layer.")
    function, stride, dilation, groups = _CONVOLUTIONS[kind], m.stride, m.dilation, m.groups
    padding = m.padding
    if m.padding_mode == "zeros":
        return Operation(
            lambda x, w, b: function(x, w, b, stride, padding, dilation, groups), groups, False, 1
        )
    mode, amounts = m.padding_mode, m._reversed_padding_repeated_twice
    return Operation(
        lambda x, w, b: function(
            functional.pad(x, amounts, mode=mode), w, b, stride, 0, dilation, groups
        ),
        groups,
        False,
        1,
    )


def _lookup(
    padding: int | None, scale: float | None = None
) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """The arithmetic of an embedding, tied or not; training leaves the row `padding` alone."""

    def call(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        try:
            return tied_call(x, weight, bias, padding, scale)
        except IndexError as error:
            odd = unknown_id(x, len(weight))
            if odd is None:
                raise
            raise InvalidData(
                f"The network cannot run: {unknown_words(odd, len(weight), 'an embedding')}"
            ) from error

    return call


def unknown_id(ids: Tensor, rows: int) -> int | None:
    """The first id that an embedding of so many rows lacks; None where it has them all."""
    outside = ids[(ids < 0) | (ids >= rows)]
    return int(outside[0]) if len(outside) else None


def unknown_words(odd: int, rows: int, what: str) -> str:
    """A sentence on an id without a row."""
    return (
        f"{what} has {rows:,} rows, for the ids 0 to {rows - 1:,}, and is given the id {odd:,}. "
        "Use the vocabulary that the network was made for."
    )


def _own_forward(module: Any, axis: int) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """A module's forward pass as a function of (input, weight, bias)."""
    shell = copy.copy(module)
    shell._parameters, shell.bias = {}, None

    def call(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        shell.weight = weight
        output: Tensor = type(shell).forward(shell, x)
        if bias is None:
            return output
        return output + (bias if axis == -1 else bias.view(-1, *([1] * (output.dim() - 2))))

    return call


def to_rows(weight: Tensor, operation: Operation) -> Tensor:
    """View a weight as rows (output channels, elements of one channel)."""
    if not operation.transposed:
        return weight.flatten(1)
    groups = operation.groups
    inputs, outputs = weight.shape[:2]
    grouped = weight.reshape(groups, inputs // groups, outputs, -1)
    return grouped.transpose(1, 2).reshape(groups * outputs, -1)


def from_rows(rows: Tensor, like: Tensor, operation: Operation) -> Tensor:
    """Put rows back into the shape and memory layout of `like`."""
    if not operation.transposed:
        weight = rows.reshape(like.shape)
    else:
        groups = operation.groups
        inputs, outputs = like.shape[:2]
        grouped = rows.reshape(groups, outputs, inputs // groups, -1).transpose(1, 2)
        weight = grouped.reshape(like.shape)
    if like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last):
        return weight.contiguous(memory_format=torch.channels_last)
    return weight.contiguous()
