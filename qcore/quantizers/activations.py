"""Post-training (PTQ) activation quantizers: per tensor, one histogram serves every width.

The grid is offset + step * code with whole codes low..high, 2^bits of them. Zero is on the grid
(offset 0; as codes from 0 up its zero point is -low) but for one-bit activations of both signs,
whose two levels are free.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from qcore.errors import InvalidBits, InvalidData, NotCalibrated

HALF_BINS = 2048
CLIP_FACTORS = 64
SIGNED_FACTORS = 18
WIDEST = 16
"""Most bits of a code."""

FINE = 8
"""Widest grids whose steps are no finer than the bins they are judged on."""


@dataclass(frozen=True, slots=True)
class ActivationGrid:
    """Levels of one activation tensor: offset + step * code, code = low..high."""

    step: float
    low: int
    high: int
    offset: float = 0.0

    def __post_init__(self) -> None:
        # files keep float32: a grid read back must be this very grid
        for name in ("step", "offset"):
            object.__setattr__(self, name, float(torch.tensor(getattr(self, name)).float()))

    def codes(self, x: Tensor) -> Tensor:
        """Nearest codes of x, any shape, in a new tensor; integer-valued floats."""
        scaled = torch.mul(x, 1.0 / self.step)
        if self.offset:
            scaled = scaled.sub_(self.offset / self.step)
        if scaled.requires_grad:
            # straight through the rounding, truthful at the clipping (Bengio et al. 2013)
            scaled = scaled.clamp(self.low, self.high)
            return scaled + (scaled.round() - scaled).detach()
        # clamp first: equal to rounding first for whole bounds, and saves inf from overflow
        return scaled.clamp_(self.low, self.high).round_()

    def quantize(self, x: Tensor) -> Tensor:
        """Put x on the grid: same shape and dtype; at most high - low + 1 distinct values."""
        return self.codes(x) * self.step + self.offset


class Histogram:
    """Counts of one tensor's values over batches; its range doubles as values outgrow it.

    Doubling merges bins pairwise, so one pass suffices whatever comes later.
    """

    def __init__(self) -> None:
        self.counts = torch.zeros(2 * HALF_BINS, dtype=torch.float64)
        self.reach = 0.0
        self.smallest = float("inf")
        self.largest = float("-inf")

    def add(self, x: Tensor) -> None:
        """Count the values of x, any shape; ids of an embedding are no activations.

        Raises:
            InvalidData: x has a NaN or an infinity.
        """
        if not x.is_floating_point():
            return
        low, high = (float(v) for v in torch.aminmax(x.detach()))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise InvalidData(
                "An activation is NaN or infinite; check the data and the network's weights."
            )
        self.smallest, self.largest = min(self.smallest, low), max(self.largest, high)
        needed = max(abs(low), abs(high), 1e-12)
        if self.reach == 0.0:
            self.reach = needed
        while self.reach < needed:
            merged = self.counts.view(-1, 2).sum(1)
            self.counts = torch.zeros_like(self.counts)
            self.counts[HALF_BINS // 2 : HALF_BINS // 2 + HALF_BINS] = merged
            self.reach *= 2
        counts = torch.histc(x.detach().float(), 2 * HALF_BINS, -self.reach, self.reach)
        self.counts += counts.double().cpu()

    @property
    def centres(self) -> Tensor:
        """Centre value of each bin, (bins,), float64."""
        width = self.reach / HALF_BINS
        return (torch.arange(2 * HALF_BINS, dtype=torch.float64) - HALF_BINS + 0.5) * width


def mse_grid(histogram: Histogram, bits: int) -> ActivationGrid:
    """Grid of least squared error under a histogram.

    Values that are never negative get codes 0 .. 2^b-1; others an affine grid with a whole zero
    code, both clipping bounds searched.

    Raises:
        NotCalibrated: the histogram is empty.
        InvalidBits: bits are not 1..16.
    """
    if not 1 <= bits <= WIDEST:
        raise InvalidBits(f"An activation code needs 1 to {WIDEST} bits; got {bits!r}.")
    if histogram.reach == 0.0:
        raise NotCalibrated(
            "An activation range was asked for before calibration; calibrate first."
        )
    used = histogram.counts > 0
    x, weight = histogram.centres[used], histogram.counts[used]
    if histogram.smallest < 0 and bits == 1:
        return _two_levels(x, weight)
    top = 2**bits - 1
    if histogram.smallest >= 0:
        factors = torch.linspace(1 / CLIP_FACTORS, 1.0, CLIP_FACTORS, dtype=torch.float64)
        steps = max(histogram.largest, 1e-12) * factors / top
        lows = torch.zeros_like(steps)
    else:
        factors = torch.linspace(0.1, 1.0, SIGNED_FACTORS, dtype=torch.float64)
        below = (-histogram.smallest * factors)[:, None].expand(-1, SIGNED_FACTORS).reshape(-1)
        above = (max(histogram.largest, 0.0) * factors)[None].expand(SIGNED_FACTORS, -1).reshape(-1)
        steps = ((below + above) / top).clamp_min(1e-12)
        lows = -(below / steps).round().clamp(0, top)
    codes = (x[None] / steps[:, None]).round()
    codes = torch.minimum(torch.maximum(codes, lows[:, None]), lows[:, None] + top)
    error = (codes * steps[:, None] - x[None]).square_()
    if bits > FINE:
        # within a bin values lie anywhere between two levels, and its centre is one of them
        error = torch.maximum(error, (steps.square() / 12)[:, None])
    error = (error * weight[None]).sum(1)
    index = int(error.argmin())
    low = int(lows[index])
    return ActivationGrid(float(steps[index]), low, low + top)


def _two_levels(x: Tensor, weight: Tensor) -> ActivationGrid:
    """Best two levels of a signed tensor: Lloyd's centroids, started below and above the mean."""
    mean = float((x * weight).sum() / weight.sum())
    for _ in range(20):
        above = x >= mean
        if not above.any() or above.all():
            return ActivationGrid(max(abs(mean), 1e-12), 0, 1, mean)
        high = float((x * weight)[above].sum() / weight[above].sum())
        low = float((x * weight)[~above].sum() / weight[~above].sum())
        mean = (low + high) / 2
    return ActivationGrid(max(high - low, 1e-12), 0, 1, low)
