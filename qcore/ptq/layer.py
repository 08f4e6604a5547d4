"""One layer of a quantized model: the float layer, its bits, and what they do to its forward.

Fake quantization: codes are whole numbers, and what is computed with are their float values.

`QuantizedLayer` stands where a convolution, a linear layer or an embedding stood. Switching its
bits takes a look-up, not a quantization: the quantized weights of each width are prepared once and
referred to.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from qcore.network.operation import from_rows, operation_of, to_rows
from qcore.quantizers import ActivationGrid, HalfGrid


class QuantizedLayer(nn.Module):
    """A layer whose weights and input activation are on their grids.

    Attributes:
        name: Dotted module path in the model.
        weight: Float weight with its batch-norm folded in, as the module shapes it.
        bias: Float bias (channels,), zeros where the layer had none; (0,) in an embedding.
        gain: Correction of each channel's scale (channels,), or None for all ones.
        shift: Bias in use (channels,); the float bias until corrected.
        grid: Grid of the input activation, or None for float.
        normed: True where a batch-norm was folded in, so that its gain may be re-estimated.
        scaleless: True where the weights are floats of 16 bits or have scales of groups: a gain has
            no scale to go into.
        watch: Called with (layer, output before gain and shift) instead of the plain end of the
            forward pass, when set; used while correcting and calibrating. Looking ids up has
            nothing to correct and calls nothing.
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
        self.grid: ActivationGrid | HalfGrid | None = None
        self.scaleless = False
        self.quantized = weight
        self.watch: Callable[[QuantizedLayer, Tensor], Tensor] | None = None
        self._effective: Tensor | None = None

    @property
    def gains(self) -> bool:
        """True where a correction may scale the output: there is a norm, and a scale to take it."""
        return self.normed and not self.scaleless

    def set_bits(
        self,
        quantized: Tensor,
        grid: ActivationGrid | HalfGrid | None,
        *,
        scaleless: bool = False,
    ) -> None:
        """Refer to other quantized weights and another input grid; drops any correction."""
        self.quantized, self.grid, self.scaleless = quantized, grid, scaleless
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

    def _rows(self) -> Tensor:
        """The weight that ids are looked up in: without the step of an input."""
        if self.gain is None:
            return self.quantized
        rows = to_rows(self.quantized, self.operation) * self.gain[:, None]
        return from_rows(rows, self.quantized, self.operation)

    def codes(self, x: Tensor) -> Tensor:
        """The input as the arithmetic sees it: whole codes, or x itself where left in float."""
        if self.grid is None:
            return x
        codes = self.grid.codes(x)
        return codes + self.grid.offset / self.grid.step if self.grid.offset else codes

    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the float layer."""
        if not x.is_floating_point():
            return self.operation.call(x, self._rows(), None)
        x = self.codes(x)
        if self.watch is not None:
            return self.watch(self, self.operation.call(x, self._scaled(None), None))
        return self.operation.call(x, self.effective_weight, self.shift)

    def per_channel(self, values: Tensor, output: Tensor) -> Tensor:
        """Shape channel values (channels,) so that they broadcast over an output."""
        if self.operation.channel_axis == -1:
            return values
        return values.view(1, -1, *([1] * (output.dim() - 2)))

    @staticmethod
    def counted(values: Tensor, axis: int, masks: Sequence[Tensor]) -> Tensor:
        """The positions of some values that count, (positions, channels); all as they are if none.

        Args:
            values: An input or output of the layer.
            axis: Where its channels are.
            masks: As for `channel_moments`.
        """
        last = values.movedim(axis, -1) if masks and values.dim() > 1 else values
        for mask in masks:
            flat = last.shape[:-1] == (mask.numel(),)
            if (last.shape[:-1] == mask.shape or flat) and mask.any():
                return last[mask.flatten() if flat else mask]
        return values

    def channel_moments(
        self, output: Tensor, masks: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor]:
        """Mean and mean square of each channel of an output, both (channels,).

        Args:
            output: What the layer returned.
            masks: Booleans (n, positions) of the batch, as `counted_positions` gives them; where
                one of them has the positions of this output, those it does not count are left out.
        """
        output = self.counted(output, self.operation.channel_axis, masks)
        axis = self.operation.channel_axis % output.dim()
        others = [d for d in range(output.dim()) if d != axis]
        # torch.var_mean takes ten times as long on channels-last outputs
        mean = output.mean(others)
        centred = output - self.per_channel(mean, output)
        return mean, centred.square_().mean(others) + mean.square()
