"""What reaches each layer's input, coarse enough to be kept and drawn."""

from collections.abc import Iterable

import torch

from qcore.allocation import is_float_width
from qcore.problem import InputRange
from qcore.ptq.model import QuantizedModel
from qcore.quantizers import ActivationGrid, HalfGrid, Histogram

BINS = 48
WIDTHS = (2, 3, 4, 8)
"""Widths whose grids are always kept: those that a reader compares with."""


def input_ranges(model: QuantizedModel, bits: Iterable[int] = ()) -> dict[str, InputRange]:
    """Layer name to what the calibration images feed it; layers that saw nothing are left out.

    Args:
        model: Calibrated.
        bits: Widths whose grids are wanted besides WIDTHS; floats of any size have none.
    """
    widths = sorted(width for width in {*WIDTHS, *bits} if not is_float_width(width))
    return {
        name: _range(histogram, {width: model.activation_grid(name, width) for width in widths})
        for name, histogram in model.histograms.items()
        if histogram.reach > 0
    }


def _range(histogram: Histogram, grids: dict[int, ActivationGrid | HalfGrid | None]) -> InputRange:
    used = histogram.counts > 0
    x, counts = histogram.centres[used], histogram.counts[used]
    smallest, largest = histogram.smallest, histogram.largest
    wide = max(largest - smallest, 1e-12)
    at = ((x - smallest) / wide * BINS).long().clamp(0, BINS - 1)
    binned = torch.zeros(BINS, dtype=torch.float64).index_add_(0, at, counts)
    kept = {}
    for width, grid in grids.items():
        if not isinstance(grid, ActivationGrid):
            continue
        low = grid.offset + grid.step * grid.low
        high = grid.offset + grid.step * grid.high
        # half a step beyond the last level is still rounded to it, not cut off
        beyond = (x < low - grid.step / 2) | (x > high + grid.step / 2)
        kept[width] = (low, high, grid.step, float(counts[beyond].sum() / counts.sum()))
    return InputRange(smallest, largest, tuple(int(count) for count in binned), kept)
