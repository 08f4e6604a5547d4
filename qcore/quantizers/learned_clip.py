"""Learned symmetric clip: the quantizer of GradFreeBits, with one clip for every bit-width.

    q_n(t) = round(n t) / n
    weights:  W_b = s a q_n(clip(W / (s a), -1, 1)),  n = 2^(b-1) - 1, zero included
    inputs:   X_b = a q_n(clip(X / a, 0, 1)),         n = 2^b - 1

s is the standard deviation of the layer's weights, without gradient, and a is learned.
Straight-through rules, u the unit value and q its rounding: dL/dW passes unchanged, even where
clipped; dL/da = sum g (sign(u) if |u| > 1 else q - u). For inputs dL/dX is zero where clipped. A
network that changes its bits needs one clip per bit-width: the best one grows from 1.2 to 3.8
standard deviations between 2 and 8 bits.

Reference: Bodner, Ben Shalom and Treister, GradFreeBits, Sensors 22(24):9772, 2022, section 3.6
(bit-dependent clipping); grid and rules of Li, Dong and Wang, Additive Powers-of-Two Quantization,
ICLR 2020. Standard-deviation-based quantization (arXiv 2202.12422) is, as far as it is public,
this: an interval learned in standard deviations of the weights.

Reconstructed: the paper's formulas could not be read; these are the ones of the same group's later
code. Differs from the paper: their weights are standardised, (W - mean) / s, for good. Here a
trained network is quantized, so the weights are multiplied by s again, and the mean stays: taking
it off the shipped resnet8 costs 9 points at 8 bits before any training. Inputs of both signs use
the calibrated whole codes low..high with n = high - low; and at one bit, where n would be 0,
weights are s a times their sign.
"""

import torch
from torch import Tensor

from qcore.quantizers.activations import ActivationGrid, Histogram
from qcore.quantizers.straight_through import LearnedQuantizer, round_to

CANDIDATES = 96


def clip_levels(bits: int) -> int:
    """Positive codes of a symmetric b-bit weight: 2^(b-1) - 1, and 1 at one bit."""
    return max(1, 2 ** (bits - 1) - 1)


def deviation(weight: Tensor) -> Tensor:
    """Standard deviation of a weight of any shape, (), positive and without gradient."""
    # a weight that is constant, or a single number, still needs a positive step
    return weight.detach().std(correction=0).clamp_min(1e-12)


def clip_weight(weight: Tensor, clip: Tensor, bits: int) -> Tensor:
    """Put a weight of any shape on its grid; `clip` is in standard deviations of the weight."""
    n, scale = clip_levels(bits), clip * deviation(weight)
    return round_to(weight, scale, -n, n, levels=n, binary=bits == 1, passing=True)


def clip_weight_step(weight: Tensor, clip: Tensor, bits: int) -> Tensor:
    """Step of `clip_weight`, shape ()."""
    return clip.detach() * deviation(weight) / clip_levels(bits)


def clip_inputs(x: Tensor, clip: Tensor, grid: ActivationGrid) -> Tensor:
    """Put an input on the codes of a grid; `clip` is the length that all its steps span."""
    if grid.offset:
        return round_to(x - grid.offset, clip, grid.low, grid.high, levels=_span(grid)) + (
            grid.offset
        )
    return round_to(x, clip, grid.low, grid.high, levels=_span(grid))


def span_step(clip: Tensor, grid: ActivationGrid) -> Tensor:
    """Step of `clip_inputs`, shape ()."""
    return clip.detach() / _span(grid)


def span_start(histogram: Histogram, grid: ActivationGrid) -> float:
    """Begin with the span of least squared error, which the calibrated grid has."""
    return grid.step * _span(grid)


def _span(grid: ActivationGrid) -> int:
    return grid.high - grid.low


def mse_clip(weight: Tensor, bits: int) -> float:
    """Clip of least squared error in standard deviations of the weight, from its histogram."""
    scaled = weight.detach() / deviation(weight)
    if bits == 1:
        return float(scaled.abs().mean()) or 1.0
    histogram = Histogram()
    histogram.add(scaled)
    used = histogram.counts > 0
    x, count = histogram.centres[used], histogram.counts[used]
    n = clip_levels(bits)
    reach = max(float(x.abs().max()), 1e-3)
    clips = torch.linspace(reach / CANDIDATES, reach, CANDIDATES, dtype=torch.float64)
    steps = clips[:, None] / n
    error = (((x / steps).round_().clamp_(-n, n) * steps - x).square_() * count).sum(1)
    return float(clips[int(error.argmin())])


QUANTIZER = LearnedQuantizer(
    name="clip",
    title="Learned clip",
    weight=clip_weight,
    weight_step=clip_weight_step,
    weight_start=mse_clip,
    inputs=clip_inputs,
    input_step=span_step,
    input_start=span_start,
    learns=True,
    paper="Li, Dong and Wang, ICLR 2020; Bodner et al., Sensors 2022",
)
