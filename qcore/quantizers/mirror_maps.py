"""Mirror maps: soft weights that sharpen to levels, and the steps taken in the dual space.

On weights scaled so that levels are -1..1, with sharpness b (the paper's beta):

    tanh:     two levels w = tanh(b x); three w = (tanh(b (x + 1/2)) + tanh(b (x - 1/2))) / 2
    softmax:  w = sum_l l u_l, u = softmax(b x) over the levels l, x and u (levels, ...)
    MD-S:     x <- x - rate dL/dw (softmax: dL/du), the map itself without a derivative
    MD-tanh:  w <- (E - 1) / (E + 1), E = (1 + w) / (1 - w) exp(-2 b rate dL/dw)
    MD-softmax, exponentiated gradient:  u <- u exp(-b rate dL/du) / sum

MD-S with a fixed b and plain gradient descent equals its unstable form without auxiliary x exactly;
but in float32 the latter's weights reach -1 and 1 and never move again.

Reference: Ajanthan, Gupta, Torr, Hartley and Dokania, Mirror Descent View for Neural Network
Quantization, arXiv 1910.08237, AISTATS 2021, algorithms 1 and 2. ProxQuant: Bai, Wang and Liberty,
ICLR 2019. Differs from the paper: softmax takes any number of levels, where the published
stabiliser has two; the hull of the levels is scaled to each layer (`mirror_layer`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

METHODS = {
    "md-tanh-s": "Mirror descent, tanh, stable",
    "md-softmax-s": "Mirror descent, softmax, stable",
    "md-tanh": "Mirror descent, tanh, without auxiliary variables",
    "md-softmax": "Mirror descent, softmax, without auxiliary variables",
    "gd-tanh": "Gradient descent through tanh",
    "ste": "Straight through (BinaryConnect)",
    "proxquant": "ProxQuant",
}
"""Ways to train weights of few levels: name to title."""

PLAIN = ("md-tanh", "md-softmax")
SOFTMAX = ("md-softmax-s", "md-softmax")
HARD = float("inf")
TINY = 1e-20


def tanh_map(x: Tensor, beta: float, levels: int) -> Tensor:
    """Soft weights of two or three levels, any shape, within -1..1; differentiable."""
    if levels == 2:
        return torch.tanh(beta * x)
    return (torch.tanh(beta * (x + 0.5)) + torch.tanh(beta * (x - 0.5))) / 2


def softmax_map(x: Tensor, beta: float) -> Tensor:
    """Shares of the levels, (levels, ...), that sum to one along the first axis."""
    return torch.softmax(beta * x, 0)


def hard_tanh(x: Tensor, levels: int) -> Tensor:
    """What `tanh_map` becomes without limit: the sign, or three levels with thresholds 1/2."""
    if levels == 2:
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
    return (x >= 0.5).to(x.dtype) - (x < -0.5).to(x.dtype)


def nearest_level(w: Tensor, levels: Tensor) -> Tensor:
    """The nearest of `levels` (k,), rising, to each weight of any shape; ties go up."""
    middles = (levels[1:] + levels[:-1]) / 2
    return levels[torch.bucketize(w.contiguous(), middles, right=True)]


def level_shares(x: Tensor, levels: Tensor) -> Tensor:
    """Auxiliary variables (levels, ...) of softmax that stand for the weights x.

    softmax(b (x l - l^2 / 2)) over the levels l is the Gaussian nearness of x to each of them; for
    the levels -1 and 1 its mean is tanh(b x).
    """
    column = levels.view(-1, *([1] * x.dim()))
    return x[None] * column - column.square() / 2


def mix(shares: Tensor, levels: Tensor) -> Tensor:
    """Weights sum_l l u_l of shares (levels, ...)."""
    return torch.tensordot(levels, shares, dims=1)


def md_tanh_step(w: Tensor, change: Tensor, beta: float) -> Tensor:
    """One step of MD-tanh on two-level weights: `change` is what would be taken off x."""
    # beyond 80 a float32 overflows, and zero times infinity is no number
    ratio = (1 + w) / (1 - w + TINY) * torch.exp((-2 * beta * change).clamp(-80, 80))
    moved = torch.where(torch.isinf(ratio), 1.0, (ratio - 1) / (ratio + 1 + TINY))
    # at an end the exact step is none; the published 1e-20 lets go of one end and not of the other
    return torch.where(w.abs() >= 1, w, moved).to(w.dtype)


def md_softmax_step(u: Tensor, change: Tensor, beta: float) -> Tensor:
    """One step of exponentiated gradient on shares (levels, ...)."""
    power = -beta * change
    grown = u * (torch.exp(power - power.amax(0, keepdim=True)) + TINY)
    return grown / grown.sum(0, keepdim=True)


def prox_step(x: Tensor, levels: Tensor, pull: float) -> Tensor:
    """ProxQuant's step: each weight moves by at most `pull` towards its nearest level."""
    target = nearest_level(x, levels)
    away = x - target
    return target + away.sign() * (away.abs() - pull).clamp_min(0)


def sharpness(step: int, steps: int, largest: float, interval: int) -> float:
    """Beta at a step: from 1 to `largest` after `steps` steps, in equal factors every `interval`.

    As published, the first multiplication is at step 0.
    """
    times = max(1, -(-steps // interval))
    return float(largest ** min(1.0, (step // interval + 1) / times))


def scaled_levels(codes: Sequence[int], like: Tensor) -> Tensor:
    """Whole codes such as (-1, 1) or (-2, -1, 0, 1), as a tensor."""
    return torch.tensor(list(codes), dtype=like.dtype, device=like.device)
