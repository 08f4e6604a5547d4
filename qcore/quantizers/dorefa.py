"""DoReFa: weights squeezed by tanh onto 2^b even levels, inputs clipped to a fixed range.

    W_b = 2 q_b(tanh(W) / (2 max|tanh(W)|) + 1/2) - 1,   q_b(t) = round((2^b - 1) t) / (2^b - 1)
    X_b = q_b(clip(X, 0, 1))

The gradient takes the rounding for the identity and follows tanh, the maximum and the clipping.
The weights' levels are odd multiples of one step: zero is not among them. At one bit W_b is
E|W| sign(W).

Reference: Zhou et al., DoReFa-Net, arXiv 1606.06160, 2016, equations 5, 7, 9 and 11.
Differs from the paper: the weights are multiplied by the scale that brings them nearest to W (least
squares, without gradient), and inputs are clipped at their calibrated range instead of 1, so that a
trained network keeps its meaning; inputs of both signs use the calibrated whole codes.
"""

import torch
from torch import Tensor

from qcore.quantizers.activations import ActivationGrid
from qcore.quantizers.learned_clip import clip_inputs, span_start, span_step
from qcore.quantizers.straight_through import LearnedQuantizer


def _odd_codes(weight: Tensor, bits: int) -> Tensor:
    """Odd whole numbers -(2^b-1)..2^b-1, straight through: 2 round((2^b-1) t) - (2^b-1)."""
    n = 2**bits - 1
    if bits == 1:
        codes = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
        return codes + (weight - weight.detach())
    squeezed = torch.tanh(weight)
    largest = squeezed.abs().max().clamp_min(torch.finfo(weight.dtype).tiny)
    scaled = (squeezed / (2 * largest) + 0.5) * n
    return 2 * (scaled.detach().round() + (scaled - scaled.detach())) - n


def _nearest_scale(weight: Tensor, codes: Tensor) -> Tensor:
    codes, weight = codes.detach(), weight.detach()
    scale = (weight * codes).sum() / codes.square().sum()
    return scale.clamp_min(torch.finfo(weight.dtype).tiny)


def dorefa_weight(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Put a weight of any shape on its grid; nothing of it is learned, `scale` is not looked at."""
    codes = _odd_codes(weight, bits)
    return codes * _nearest_scale(weight, codes)


def dorefa_weight_step(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Step of `dorefa_weight`, shape (): its values are odd multiples of it."""
    return _nearest_scale(weight, _odd_codes(weight, bits))


def dorefa_inputs(x: Tensor, scale: Tensor, grid: ActivationGrid) -> Tensor:
    """Put an input on the codes of a grid that spans the fixed range `scale`."""
    return clip_inputs(x, scale.detach(), grid)


QUANTIZER = LearnedQuantizer(
    name="dorefa",
    title="DoReFa",
    weight=dorefa_weight,
    weight_step=dorefa_weight_step,
    weight_start=lambda weight, bits: 1.0,
    inputs=dorefa_inputs,
    input_step=span_step,
    input_start=span_start,
    learns=False,
    paper="Zhou et al., arXiv 1606.06160, 2016",
)
