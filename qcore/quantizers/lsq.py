"""Learned step size quantization (LSQ).

    W_b = s round(clip(W / s, -Q_N, Q_P)),  dL/dW = g inside and 0 where clipped
    dL/ds = sum g (round(v) - v inside, -Q_N or Q_P where clipped) / sqrt(N Q_P),  v = W / s

Q_N = 2^(b-1) and Q_P = 2^(b-1) - 1 for weights, 0 and 2^b - 1 for inputs that are never negative;
N is the number of weights, or of features of one image. s begins at 2 E|v| / sqrt(Q_P).

Reference: Esser et al., Learned Step Size Quantization, ICLR 2020, equations 1-3, section 2.2.
Differs from the paper: a step for every bit-width; inputs of both signs use the calibrated whole
codes low..high, Q_P their larger magnitude; one-bit weights, which the paper leaves out, have the
codes -1 and +1 and Q_P = 1.
"""

from torch import Tensor

from qcore.quantizers.activations import ActivationGrid, Histogram
from qcore.quantizers.straight_through import LearnedQuantizer, round_to
from qcore.quantizers.weights import code_range


def lsq_weight(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    """Put a weight of any shape on its grid."""
    low, high = code_range(bits)
    strength = (weight.numel() * high) ** -0.5
    return round_to(weight, step, low, high, binary=bits == 1, strength=strength)


def lsq_step(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    """Step of `lsq_weight`, shape ()."""
    return step.detach()


def lsq_weight_start(weight: Tensor, bits: int) -> float:
    """2 E|w| / sqrt(Q_P); E|w| at one bit, which is its least squares."""
    mean = max(float(weight.detach().abs().mean()), 1e-12)
    return mean if bits == 1 else 2 * mean / code_range(bits)[1] ** 0.5


def lsq_inputs(x: Tensor, step: Tensor, grid: ActivationGrid) -> Tensor:
    """Put an input (n, ...) on the codes of a grid."""
    strength = (max(1, x[0].numel()) * _largest(grid)) ** -0.5
    if grid.offset:
        shifted = x - grid.offset
        return round_to(shifted, step, grid.low, grid.high, strength=strength) + grid.offset
    return round_to(x, step, grid.low, grid.high, strength=strength)


def lsq_input_step(step: Tensor, grid: ActivationGrid) -> Tensor:
    """Step of `lsq_inputs`, shape ()."""
    return step.detach()


def lsq_input_start(histogram: Histogram, grid: ActivationGrid) -> float:
    """2 E|x| / sqrt(Q_P) from a histogram; the calibrated step where a grid has an offset."""
    if grid.offset:
        return grid.step
    total = float(histogram.counts.sum())
    mean = float((histogram.counts * histogram.centres.abs()).sum()) / total
    return 2 * max(mean, 1e-12) / _largest(grid) ** 0.5


def _largest(grid: ActivationGrid) -> int:
    return max(abs(grid.low), abs(grid.high))


QUANTIZER = LearnedQuantizer(
    name="lsq",
    title="Learned step size (LSQ)",
    weight=lsq_weight,
    weight_step=lsq_step,
    weight_start=lsq_weight_start,
    inputs=lsq_inputs,
    input_step=lsq_input_step,
    input_start=lsq_input_start,
    learns=True,
    paper="Esser et al., ICLR 2020",
)
