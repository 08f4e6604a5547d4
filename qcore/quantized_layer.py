"""One layer of a quantized model: the float layer, its bits, and what they do to its forward.

`QuantizedLayer` stands where a convolution or linear layer stood. Switching its bits takes a look-
up, not a quantization: the quantized weights of each width are prepared once and referred to.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.errors import UnsupportedModel
from qcore.quantizers import ActivationGrid
from qcore.rewriting import plain

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
QUANTIZABLE = (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)
"""Module types that get bit-widths."""


@dataclass(frozen=True, slots=True)
class Operation:
    """The arithmetic of a layer, without its weights.

    Attributes:
        call: (input, weight, bias) -> output.
        groups: Convolution groups.
        transposed: True for transposed convolutions, whose weight is (in, out / groups, ...).
        channel_axis: Axis of the output channels in the layer's output; -1 for linear layers.
    """

    call: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    groups: int
    transposed: bool
    channel_axis: int


def operation_of(module: nn.Module) -> Operation:
    """Read the arithmetic of a float layer.

    Of a subclass with a forward pass of its own (one that pads differently, say) that forward pass
    is the arithmetic; `find_layers` has made sure that it is proportional to the weight.

    Raises:
        UnsupportedModel: not one of QUANTIZABLE, or a padding mode of a transposed convolution.
    """
    kind: Any = type(module)
    for known in QUANTIZABLE:
        if isinstance(module, known):
            kind = known
    m: Any = module
    if kind in QUANTIZABLE and not plain(module):
        axis = -1 if kind is nn.Linear else 1
        groups = getattr(m, "groups", 1)
        return Operation(_own_forward(m, axis), groups, kind in _TRANSPOSED, axis)
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


class QuantizedLayer(nn.Module):
    """A layer whose weights and input activation are on their grids.

    Attributes:
        name: Dotted module path in the model.
        weight: Float weight with its batch-norm folded in, as the module shapes it.
        bias: Float bias (channels,), zeros where the layer had none.
        gain: Correction of each channel's scale (channels,), or None for all ones.
        shift: Bias in use (channels,); the float bias until corrected.
        grid: Grid of the input activation, or None for float.
        normed: True where a batch-norm was folded in, so that its gain may be re-estimated.
        watch: Called with (layer, output before gain and shift) instead of the plain end of the
            forward pass, when set; used while correcting and calibrating.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, name: str, module: nn.Module, weight: Tensor, bias: Tensor, normed: bool
    ) -> None:
        super().__init__()
        self.name = name
        self.operation = operation_of(module)
        self.normed = normed
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.shift = bias
        self.gain: Tensor | None = None
        self.grid: ActivationGrid | None = None
        self.quantized = weight
        self.watch: Callable[[QuantizedLayer, Tensor], Tensor] | None = None
        self._effective: Tensor | None = None

    def set_bits(self, quantized: Tensor, grid: ActivationGrid | None) -> None:
        """Refer to other quantized weights and another input grid; drops any correction."""
        self.quantized, self.grid = quantized, grid
        self.gain, self.shift, self._effective = None, self.bias, None

    def correct(self, gain: Tensor | None, shift: Tensor) -> None:
        """Set the scale correction (channels,) or None, and the bias (channels,)."""
        self.gain, self.shift, self._effective = gain, shift, None

    @property
    def effective_weight(self) -> Tensor:
        """The weight the arithmetic uses: quantized * gain * input step, cached until changed."""
        if self.gain is None and self.grid is None:
            return self.quantized
        if self._effective is None:
            self._effective = self._scaled(self.gain)
        return self._effective

    def _scaled(self, gain: Tensor | None) -> Tensor:
        # the input's step is folded in here, so that the input itself stays whole codes
        factor = self.grid.step if self.grid is not None else 1.0
        if gain is None:
            return self.quantized * factor
        rows = to_rows(self.quantized, self.operation) * (gain * factor)[:, None]
        return from_rows(rows, self.quantized, self.operation)

    def codes(self, x: Tensor) -> Tensor:
        """The input as the arithmetic sees it: whole codes, or x itself where left in float."""
        if self.grid is None:
            return x
        codes = self.grid.codes(x)
        return codes + self.grid.offset / self.grid.step if self.grid.offset else codes

    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the float layer."""
        x = self.codes(x)
        if self.watch is not None:
            return self.watch(self, self.operation.call(x, self._scaled(None), None))
        return self.operation.call(x, self.effective_weight, self.shift)

    def per_channel(self, values: Tensor, output: Tensor) -> Tensor:
        """Shape channel values (channels,) so that they broadcast over an output."""
        if self.operation.channel_axis == -1:
            return values
        return values.view(1, -1, *([1] * (output.dim() - 2)))

    def channel_moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and mean square of each channel of an output, both (channels,)."""
        axis = self.operation.channel_axis % output.dim()
        others = [d for d in range(output.dim()) if d != axis]
        # torch.var_mean takes ten times as long on channels-last outputs
        mean = output.mean(others)
        centred = output - self.per_channel(mean, output)
        return mean, centred.square_().mean(others) + mean.square()
