"""The grid all learned quantizers round to, with the gradients that go straight through it.

Fake quantization with straight-through gradients (STE).

Values become scale / levels * code with whole codes low..high. What differs between the papers is
what `scale` means (`levels`), whether clipped values still pass a gradient, and how strongly the
scale follows its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qcore.quantizers.activations import ActivationGrid, Histogram


@dataclass(frozen=True, slots=True)
class LearnedQuantizer:
    """A way to quantize while training: every tensor has one learned scale per bit-width.

    Attributes:
        name: Key in LEARNED_QUANTIZERS.
        title: What the pages call it.
        weight: (weight of any shape, scale (), bits) -> weight on its grid, differentiable.
        weight_step: (weight, scale, bits) -> step (): `weight` returns whole multiples of it.
        weight_start: (weight, bits) -> scale to begin with.
        inputs: (input of any shape, scale (), grid) -> input on its grid, differentiable. Of the
            grid only the codes and the offset are used; its step is what was calibrated.
        input_step: (scale, grid) -> step ().
        input_start: (histogram of the input, grid) -> scale to begin with.
        learns: False where the scales stay as they begin.
        paper: Reference.
        shared_start: (weight, widths) -> scale to begin with, where one scale serves all widths and
            codes of fewer bits are the leading bits of those of more; each width then learns a gain
            beside it. None where a scale is kept for every width.
    """

    name: str
    title: str
    weight: Callable[[Tensor, Tensor, int], Tensor]
    weight_step: Callable[[Tensor, Tensor, int], Tensor]
    weight_start: Callable[[Tensor, int], float]
    inputs: Callable[[Tensor, Tensor, ActivationGrid], Tensor]
    input_step: Callable[[Tensor, ActivationGrid], Tensor]
    input_start: Callable[[Histogram, ActivationGrid], float]
    learns: bool
    paper: str
    shared_start: Callable[[Tensor, Sequence[int]], float] | None = None

    @property
    def nests(self) -> bool:
        """Whether codes of fewer bits are the leading bits of those of more."""
        return self.shared_start is not None


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        low: int,
        high: int,
        levels: int,
        binary: bool,
        passing: bool,
        strength: float,
    ) -> Tensor:
        step = scale / levels
        scaled = x * step.reciprocal()
        if binary:
            codes = torch.where(scaled >= 0, 1.0, -1.0).to(x.dtype)
        else:
            codes = scaled.clamp(low, high).round_()
        ctx.save_for_backward(scaled, codes)
        ctx.low, ctx.high, ctx.levels = low, high, levels
        ctx.passing, ctx.strength = passing, strength
        return codes * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        scaled, codes = ctx.saved_tensors
        # one fused pass; its bounds are exclusive, ours are not
        low, high = _beyond(scaled, ctx.low, -1), _beyond(scaled, ctx.high, 1)
        inside = torch.ops.aten.hardtanh_backward(grad, scaled, low, high)
        grad_scale = None
        if ctx.needs_input_grad[1]:
            moved = _dot(grad, codes) - _dot(inside, scaled)
            grad_scale = moved * (ctx.strength / ctx.levels)
        return grad if ctx.passing else inside, grad_scale, None, None, None, None, None, None


def _beyond(like: Tensor, bound: int, sign: int) -> float:
    """The next float after a bound."""
    start = torch.tensor(float(bound), dtype=like.dtype)
    return float(torch.nextafter(start, torch.tensor(sign * torch.inf, dtype=like.dtype)))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    if a.dim() == 4 and a.is_contiguous(memory_format=torch.channels_last):
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1), b.reshape(-1))


def round_to(
    x: Tensor,
    scale: Tensor,
    low: int,
    high: int,
    *,
    levels: int = 1,
    binary: bool = False,
    passing: bool = False,
    strength: float = 1.0,
) -> Tensor:
    """Round to the codes low..high of the step scale / levels.

    With u = x levels / scale and c its code, the gradients are
    dL/dscale = strength / levels * sum g (c - u inside, c where clipped), and dL/dx = g inside;
    where clipped g if `passing`, else 0.

    Args:
        x: Any shape.
        scale: Positive, shape ().
        low: Smallest code.
        high: Largest code.
        levels: Steps in one scale.
        binary: Codes -1 and +1 only, the sign of x (+1 at zero).
        passing: Whether clipped values pass a gradient.
        strength: Factor on the scale's gradient.

    Returns:
        Same shape: code * (scale / levels); at most high - low + 1 distinct values.
    """
    rounded: Tensor = _Round.apply(x, scale, low, high, levels, binary, passing, strength)
    return rounded
