"""Post-training (PTQ) weight quantizers: one scale per output channel, at most 2^bits codes.

At widths with groups ("4g64") a channel has a scale for each so many of its weights instead, kept
as a bfloat16; the last group of a channel may be shorter. Everything else is the same.

A weight is given as rows (channels, elements of one channel). From two bits up the codes are the
two's complement ones, -2^(b-1) .. 2^(b-1)-1, and the step of a channel may be negative, which puts
the one extra code on the positive side; at one bit the codes are -1 and +1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from qcore.allocation import is_float_width, stored_bits
from qcore.errors import InvalidBits
from qcore.quantizers.half import cast
from qcore.widths import group_inputs, groups_of, without_groups

COARSE_FACTORS = 40
REFINEMENTS = 4
WIDEST = 16
"""Most bits of a code; a float32 counts exactly to 24."""


def code_range(bits: int) -> tuple[int, int]:
    """Smallest and largest integer code of a b-bit weight; (-1, 1) at one bit, without 0.

    Raises:
        InvalidBits: bits are not 1..16, nor a width with groups.
    """
    bits = without_groups(bits)
    if not 1 <= bits <= WIDEST:
        raise InvalidBits(f"A weight code needs 1 to {WIDEST} bits; got {bits!r}.")
    return (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def in_groups(rows: Tensor, bits: int) -> Tensor:
    """Rows of weights as rows of a scale each: (channels * groups, weights of a group).

    Args:
        rows: Weights (channels, n).
        bits: Their width; without groups the rows are given back.

    Returns:
        Group after group of each channel; zeros fill the last one up, which no code or step feels.
    """
    group = group_inputs(bits)
    if not group:
        return rows
    empty = -rows.shape[1] % group
    return functional.pad(rows, (0, empty)).reshape(-1, group)


def in_rows(groups: Tensor, channels: int, n: int) -> Tensor:
    """What `in_groups` took apart: (channels, n)."""
    return groups.reshape(channels, -1)[:, :n]


def step_of_each(step: Tensor, bits: int, n: int) -> Tensor:
    """The step of every weight, as broadcasts over rows (channels, n).

    Args:
        step: (channels,), or (channels * groups,) at a width with groups.
        bits: Width.
        n: Weights of a row.

    Returns:
        (channels, 1), or (channels, n) where there are groups.
    """
    group = group_inputs(bits)
    if not group:
        return step[:, None]
    return step.reshape(-1, groups_of(bits, n)).repeat_interleave(group, 1)[:, :n]


def kept_step(step: Tensor, bits: int) -> Tensor:
    """A step as it is stored: that of a group as a bfloat16, which has float32's range."""
    return step.to(torch.bfloat16).to(step.dtype) if group_inputs(bits) else step


def weight_codes(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    """Nearest codes of weights on the grid step * code, rounding half to even.

    Args:
        rows: Weights (channels, n).
        step: Grid step of each channel (channels,), of either sign, never zero; of each group
            (channels * groups,) where the width has groups.
        bits: 1..16, or a width with groups.

    Returns:
        Integer-valued floats (channels, n); at most 2^bits distinct values.

    Example:
        >>> weight_codes(torch.tensor([[0.9, -0.2]]), torch.tensor([0.5]), 2)
        tensor([[1., -0.]])
    """
    return codes_of(rows / step_of_each(step, bits, rows.shape[1]), bits)


def codes_of(scaled: Tensor, bits: int) -> Tensor:
    """Nearest codes of weights that were divided by their steps; writes over its argument."""
    low, high = code_range(bits)
    if bits == 1:
        return torch.where(scaled >= 0, 1.0, -1.0).to(scaled.dtype)
    return scaled.round_().clamp_(low, high)


def quantize_rows(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    """Weights on their grid, back in float: step * code; floats are cast, whatever the step."""
    if is_float_width(bits):
        return cast(rows, bits)
    return weight_codes(rows, step, bits).mul_(step_of_each(step, bits, rows.shape[1]))


def _squared_error(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    return (quantize_rows(rows, step, bits) - rows).square_().sum(1)


def absmax_step(rows: Tensor, bits: int) -> Tensor:
    """Step that just reaches the largest magnitude of each channel: (channels,), positive.

    Never a denormal number, which some processors and runtimes take for 0: a channel of zeros has
    the smallest normal step.
    """
    tiny = torch.finfo(rows.dtype).tiny
    largest = rows.abs().amax(1)
    return (largest if bits == 1 else largest / code_range(bits)[1]).clamp_min(tiny)


def mse_step(rows: Tensor, bits: int) -> Tensor:
    """Step of least squared error per channel.

    One bit has the closed form mean |w| (Rastegari et al., XNOR-Net, 2016, eq. 6). Otherwise a
    grid of 40 clipping factors of both signs, then four rounds of the alternation codes <- nearest,
    step <- <w, codes> / <codes, codes>, keeping the best seen; never worse than any grid point.

    Returns:
        (channels,), never zero; negative where the mirrored grid is better.
    """
    tiny = torch.finfo(rows.dtype).tiny
    if bits == 1:
        return rows.abs().mean(1).clamp_min(tiny)
    largest = rows.abs().amax(1).clamp_min(tiny)
    best = absmax_step(rows, bits)
    error = _squared_error(rows, best, bits)
    factors = torch.linspace(0.2, 1.0, COARSE_FACTORS, dtype=rows.dtype, device=rows.device)
    # 2^(b-1) + 1/2: with it factor 1 clips nothing on the long side and half a step on the other
    candidates = [sign * f / (2 ** (bits - 1) - 0.5) for f in factors.tolist() for sign in (1, -1)]
    for candidate in candidates:
        best, error = _keep_better(rows, bits, best, error, largest * candidate)
    for _ in range(REFINEMENTS):
        codes = weight_codes(rows, best, bits)
        power = codes.square().sum(1)
        refined = torch.where(power > 0, (rows * codes).sum(1) / power.clamp_min(1), best)
        refined = torch.where(refined.abs() > tiny, refined, best)
        best, error = _keep_better(rows, bits, best, error, refined)
    return best


def _keep_better(
    rows: Tensor, bits: int, best: Tensor, error: Tensor, candidate: Tensor
) -> tuple[Tensor, Tensor]:
    trial = _squared_error(rows, candidate, bits)
    better = trial < error
    return torch.where(better, candidate, best), torch.where(better, trial, error)


@dataclass(frozen=True, slots=True)
class WeightQuantizer:
    """A way to choose the step of each channel; the grid itself is always `weight_codes`.

    Attributes:
        name: Key in QUANTIZERS.
        title: What the pages call it.
        step: (rows (channels, n), bits) -> step (channels,).
    """

    name: str
    title: str
    step: Callable[[Tensor, int], Tensor]

    def steps(self, rows: Tensor, bits: int) -> Tensor:
        """Step of each scale of rows (channels, n) at any width: (channels * groups,)."""
        return kept_step(self.step(in_groups(rows, bits), stored_bits(bits)), bits)
