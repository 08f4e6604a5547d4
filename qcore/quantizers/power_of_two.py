"""The power-of-two quantizer P that learns its smallest and largest level.

    Q(x) = sign(x) { m if |x| <= m;  2^round(log2|x|) if m < |x| <= M;  M otherwise }

with levels m, 2m, 4m .. M and their negatives, no zero. dQ/dx = 2^round(log2|x|) / |x| between m
and M, else 0; dQ/dm = sign(x) where |x| <= m; dQ/dM = sign(x) where |x| > M. The bits are inferred,
b = ceil(log2(log2(M/m) + 1) + 1).

Reference: Uhlich et al., Mixed Precision DNNs, arXiv 1905.11452, ICLR 2020, equation 3, case P3.
Differs from the paper: weights only, since an integer grid of inputs has even steps; and M/m is at
most 2^14, so that a level is a whole number of 16 bits times m (at most 5 bits are of use).
"""

from typing import Any

import torch
from torch import Tensor

from qcore.errors import InvalidParams
from qcore.quantizers.dq import (
    LARGEST_VALUE,
    Grid,
    Parametrization,
    calibrated_step,
    fixed_inputs,
    inferred_bits,
    nearest_power,
    pass_through,
)
from qcore.quantizers.straight_through import LearnedQuantizer

SMALLEST_LEVEL = 2.0**-13
MOST_DOUBLINGS = 14


def doublings(bits: int) -> int:
    """log2(M/m) of b bits: 2^(b-1) - 1, at most MOST_DOUBLINGS."""
    return int(min(2 ** (bits - 1) - 1, MOST_DOUBLINGS))


class _PowerOfTwo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, smallest: Tensor, largest: Tensor) -> Tensor:
        size = x.abs()
        # zero has no logarithm, and takes the smallest level as all below it do
        power = torch.exp2(torch.log2(size.clamp_min(torch.finfo(x.dtype).tiny)).round())
        level = torch.where(size <= smallest, smallest, torch.where(size > largest, largest, power))
        sign = torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
        ctx.save_for_backward(size, power, sign, smallest, largest)
        return sign * level

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        size, power, sign, smallest, largest = ctx.saved_tensors
        below, above = size <= smallest, size > largest
        inside = (grad * power / size.clamp_min(torch.finfo(size.dtype).tiny)).masked_fill(
            below | above, 0
        )
        signed = grad * sign
        return inside, (signed * below).sum(), (signed * above).sum()


def power_of_two(x: Tensor, grid: Grid, signed: bool = True) -> Tensor:
    """Put x (any shape) on the powers of two from grid.step to grid.reach, of both signs."""
    _check(signed)
    quantized: Tensor = _PowerOfTwo.apply(x, grid.step, grid.reach)
    return quantized


def _check(signed: bool) -> None:
    if not signed:
        raise InvalidParams("Power-of-two levels are for weights; inputs take an even grid.")


def _grid(smallest: Tensor, largest: Tensor, signed: bool, powers: bool) -> Grid:
    _check(signed)
    low, high = nearest_power(smallest), nearest_power(largest)
    high = pass_through(torch.maximum(high, low).detach(), high)
    count = torch.log2(high / low).detach().round()
    exact = torch.log2(torch.log2(high / low) + 1) + 1
    return Grid(low, high, pass_through(inferred_bits(count, True), exact))


def _start(step: float, bits: int, signed: bool) -> tuple[float, float]:
    largest = step * (2 ** (bits - 1) - 1)
    return largest / 2 ** doublings(bits), largest


def _project(
    smallest: Tensor, largest: Tensor, signed: bool, powers: bool, low: int, high: int
) -> tuple[Tensor, Tensor]:
    smallest = smallest.clamp(SMALLEST_LEVEL, LARGEST_VALUE)
    # the fewest doublings that still need `low` bits
    fewest = 2 ** (low - 2) if low >= 2 else 0
    used = nearest_power(smallest)
    least, most = used * 2.0**fewest, used * 2.0 ** doublings(high)
    return smallest, torch.minimum(torch.maximum(largest, least), most)


POWER_OF_TWO = Parametrization(
    "power-of-two", "Powers of two (P)", ("step", "reach"), _grid, power_of_two, _start, _project
)


def _fixed_weight(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    scale = scale.detach()
    one = torch.ones_like(scale)
    return scale * power_of_two(weight / scale, Grid(one, one * 2.0 ** doublings(bits), one))


def _fixed_start(weight: Tensor, bits: int) -> float:
    largest = max(float(weight.detach().abs().max()), 1e-12)
    if bits == 1:
        largest = max(float(weight.detach().abs().mean()), 1e-12)
    return float(2.0 ** round(torch.log2(torch.tensor(largest)).item())) / 2 ** doublings(bits)


QUANTIZER = LearnedQuantizer(
    name="power-of-two",
    title="Fixed powers of two",
    weight=_fixed_weight,
    weight_step=lambda weight, scale, bits: scale.detach(),
    weight_start=_fixed_start,
    inputs=fixed_inputs,
    input_step=lambda scale, grid: scale.detach(),
    input_start=calibrated_step,
    learns=False,
    paper="Uhlich et al., ICLR 2020, after its levels are frozen",
)
