"""Uniform quantizers that learn their own bits: U1, U2 and U3 of Mixed Precision DNNs.

Signed, Q(x) = d round(clip(x, -q, q) / d) with q = n d; unsigned, clipped to 0..q. Of the bits b,
the step d and the largest value q only two are free, and n = 2^(b-1) - 1 (unsigned 2^b - 1):

    U1 (b, d)   inside dQ/dd = (Q - x) / d     outside dQ/dd = n s,  dQ/db = 2^(b-1) ln2 d s
    U2 (b, q)   inside dQ/dq = (Q - x) / q,  dQ/db = -2^(b-1) ln2 / n (Q - x)   outside dQ/dq = s
    U3 (d, q)   inside dQ/dd = (Q - x) / d     outside dQ/dq = s,  s = sign(x)

and dQ/dx = 1 inside, 0 outside. Rounding has the identity as its derivative, clipping its own. In
U3 the bits are inferred, b = ceil(log2(q/d + 1) + 1) (unsigned without the + 1), so that
db/dq = 1 / ((q + d) ln2) and db/dd = -q / (d (q + d) ln2).

Reference: Uhlich et al., Mixed Precision DNNs: All you need is a good parametrization, arXiv
1905.11452, ICLR 2020, sections 2 and 3 with appendix A.
Differs from the paper: q is put on a whole number of steps before it is used, without which a
saturated value would move d as well; and codes never leave the range that the inferred bits pay
for, where the published code, with steps rounded to powers of two, uses 17 levels in "4" bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qcore.quantizers.activations import ActivationGrid, Histogram
from qcore.quantizers.learned_clip import clip_weight_step, mse_clip
from qcore.quantizers.straight_through import LearnedQuantizer, round_to

SMALLEST_STEP = 2.0**-12
LARGEST_VALUE = 255.0


@dataclass(frozen=True, slots=True)
class Grid:
    """What two free numbers stand for, each of shape () and differentiable.

    Attributes:
        step: Distance of two levels; of the power-of-two quantizer the smallest level.
        reach: Largest level.
        bits: Whole number of bits whose codes hold all levels.
    """

    step: Tensor
    reach: Tensor
    bits: Tensor


@dataclass(frozen=True, slots=True)
class Parametrization:
    """One choice of the two numbers that are learned.

    Attributes:
        name: Key in PARAMETRIZATIONS.
        title: What the pages call it.
        free: What the two numbers are, each "bits", "step" or "reach".
        grid: (first, second, signed, steps are powers of two) -> Grid.
        quantize: (x of any shape, grid, signed) -> x on the grid.
        start: (step, bits, signed) -> the two numbers.
        project: (first, second, signed, steps are powers of two, fewest bits, most bits) -> both,
            where they are allowed.
    """

    name: str
    title: str
    free: tuple[str, str]
    grid: Callable[[Tensor, Tensor, bool, bool], Grid]
    quantize: Callable[[Tensor, Grid, bool], Tensor]
    start: Callable[[float, int, bool], tuple[float, float]]
    project: Callable[[Tensor, Tensor, bool, bool, int, int], tuple[Tensor, Tensor]]


def pass_through(value: Tensor, like: Tensor) -> Tensor:
    """`value`, with the gradient of `like`."""
    return like + (value - like).detach()


def nearest_power(x: Tensor) -> Tensor:
    """2^round(log2 x) for a positive x, with the gradient of x."""
    return pass_through(torch.exp2(torch.log2(x.detach()).round()), x)


def codes_of(bits: float | Tensor, signed: bool) -> Any:
    """Largest code n of b bits: 2^(b-1) - 1, unsigned 2^b - 1."""
    return 2 ** (bits - 1) - 1 if signed else 2**bits - 1


def inferred_bits(count: Tensor, signed: bool) -> Tensor:
    """Bits of the codes up to `count` >= 1: ceil(log2(count + 1)), and one for the sign."""
    # the binary exponent of a whole number is exact where log2 of it is not
    digits = torch.frexp(count).exponent.to(count.dtype)
    return digits + 1 if signed else digits


class _Uniform(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, reach: Tensor, signed: bool) -> Tensor:
        count = (reach / step).round()
        scaled = x / step
        codes = scaled.clamp(-count if signed else torch.zeros_like(count), count).round_()
        ctx.save_for_backward(scaled, codes, count)
        ctx.signed = signed
        return codes * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        scaled, codes, count = ctx.saved_tensors
        above = scaled > count
        below = scaled < -count if ctx.signed else scaled < 0
        clipped = above | below
        inside = grad.masked_fill(clipped, 0)
        grad_step = (inside * (codes - scaled)).sum()
        grad_reach = (grad * above).sum()
        if ctx.signed:
            grad_reach = grad_reach - (grad * below).sum()
        return inside, grad_step, grad_reach, None


def uniform(x: Tensor, grid: Grid, signed: bool = True) -> Tensor:
    """Put x (any shape) on a uniform grid; gradients of x, step and reach as in U3.

    The gradients of U1 and U2 follow, since their step or reach depends on their bits.
    """
    quantized: Tensor = _Uniform.apply(x, grid.step, grid.reach, signed)
    return quantized


def _bits_step(bits: Tensor, step: Tensor, signed: bool, powers: bool) -> Grid:
    whole = pass_through(bits.detach().round(), bits)
    step = nearest_power(step) if powers else step
    return Grid(step, codes_of(whole, signed) * step, whole)


def _bits_reach(bits: Tensor, reach: Tensor, signed: bool, powers: bool) -> Grid:
    whole = pass_through(bits.detach().round(), bits)
    count = codes_of(whole, signed)
    step = reach / count
    if not powers:
        return Grid(step, reach, whole)
    step = nearest_power(step)
    # a step rounded down would need more codes than the bits have
    used = torch.minimum((reach / step).detach().round().clamp_min(1), count.detach())
    return Grid(step, pass_through(used * step.detach(), reach), whole)


def _step_reach(step: Tensor, reach: Tensor, signed: bool, powers: bool) -> Grid:
    step = nearest_power(step) if powers else step
    count = (reach / step).detach().round().clamp_min(1)
    reach = pass_through(count * step.detach(), reach)
    exact = torch.log2(reach / step + 1) + (1 if signed else 0)
    return Grid(step, reach, pass_through(inferred_bits(count, signed), exact))


def _within(low: int, high: int, bits: Tensor) -> Tensor:
    return bits.clamp(low, high)


def _project_bits_step(
    bits: Tensor, step: Tensor, signed: bool, powers: bool, low: int, high: int
) -> tuple[Tensor, Tensor]:
    return _within(low, high, bits), step.clamp(SMALLEST_STEP, LARGEST_VALUE)


def _project_bits_reach(
    bits: Tensor, reach: Tensor, signed: bool, powers: bool, low: int, high: int
) -> tuple[Tensor, Tensor]:
    return _within(low, high, bits), reach.clamp(SMALLEST_STEP, LARGEST_VALUE)


def _project_step_reach(
    step: Tensor, reach: Tensor, signed: bool, powers: bool, low: int, high: int
) -> tuple[Tensor, Tensor]:
    step = step.clamp(SMALLEST_STEP, LARGEST_VALUE)
    # the fewest codes that still need `low` bits, the most that `high` bits have
    fewest = 2 ** (low - 2) if signed else 2 ** (low - 1)
    used = nearest_power(step) if powers else step
    least, most = max(1, fewest) * used, codes_of(high, signed) * used
    return step, torch.minimum(torch.maximum(reach, least), most)


PARAMETRIZATIONS: dict[str, Parametrization] = {
    row.name: row
    for row in (
        Parametrization(
            "step-range",
            "Step and range (U3)",
            ("step", "reach"),
            _step_reach,
            uniform,
            lambda step, bits, signed: (step, step * codes_of(bits, signed)),
            _project_step_reach,
        ),
        Parametrization(
            "bits-range",
            "Bits and range (U2)",
            ("bits", "reach"),
            _bits_reach,
            uniform,
            lambda step, bits, signed: (float(bits), step * codes_of(bits, signed)),
            _project_bits_reach,
        ),
        Parametrization(
            "bits-step",
            "Bits and step (U1)",
            ("bits", "step"),
            _bits_step,
            uniform,
            lambda step, bits, signed: (float(bits), step),
            _project_bits_step,
        ),
    )
}


def _fixed_weight(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    most = max(1, codes_of(bits, True))
    return round_to(weight, step.detach(), -most, most, binary=bits == 1)


def mse_step(weight: Tensor, bits: int) -> float:
    """Step of least squared error on the codes -n..n, and -1 and 1 at one bit."""
    clip = torch.tensor(mse_clip(weight, bits), dtype=weight.dtype)
    return float(clip_weight_step(weight, clip.to(weight.device), bits))


def fixed_inputs(x: Tensor, step: Tensor, grid: ActivationGrid) -> Tensor:
    """Put an input on the codes of a grid, at a step () that is not learned."""
    if grid.offset:
        return round_to(x - grid.offset, step.detach(), grid.low, grid.high) + grid.offset
    return round_to(x, step.detach(), grid.low, grid.high)


def calibrated_step(histogram: Histogram, grid: ActivationGrid) -> float:
    """The step that the calibration found."""
    return grid.step


QUANTIZER = LearnedQuantizer(
    name="dq",
    title="Fixed step, symmetric",
    weight=_fixed_weight,
    weight_step=lambda weight, step, bits: step.detach(),
    weight_start=mse_step,
    inputs=fixed_inputs,
    input_step=lambda step, grid: step.detach(),
    input_start=calibrated_step,
    learns=False,
    paper="Uhlich et al., ICLR 2020, after its steps and ranges are frozen",
)
