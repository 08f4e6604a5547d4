"""Mirror maps: soft weights that sharpen to levels, and the steps taken in the dual space.

On weights scaled so that levels are -1..1, with sharpness b (the paper's beta):

    tanh:     two levels w = tanh(b x); three w = (tanh(b (x + 1/2)) + tanh(b (x - 1/2))) / 2
    softmax:  w = sum_l l u_l, u = softmax(b x) over the levels l, x and u (levels, ...)
    MD-S:     x <- x - rate dL/dw (softmax: dL/du), the map itself without a derivative
    MD-tanh:  w <- (E - 1) / (E + 1), E = (1 + w) / (1 - w) exp(-2 b rate dL/dw)
    MD-softmax, exponentiated gradient:  u <- u exp(-b rate dL/du) / sum
    GD:       x <- x - rate J dL/dw, J the derivative of the map (with softmax: PMF)

Every map P is strictly monotone and onto the inside of the levels' hull, so that it is the inverse
of the gradient of a strictly convex Phi: for two levels Phi(w) = ((1 + w) log(1 + w) + (1 - w)
log(1 - w)) / (2 b), for softmax Phi(u) = sum u log u / b. Without limit, at b = infinity, P is the
rounding itself and MD-S takes the gradient at the rounded weights over to x unchanged: that is the
straight-through estimator, which so is the last stage of the annealing.

MD-S with a fixed b and plain gradient descent equals its unstable form without auxiliary x exactly;
but in float32 the latter's weights reach -1 and 1 and never move again.

Reference: Ajanthan, Gupta, Torr, Hartley and Dokania, Mirror Descent View for Neural Network
Quantization, arXiv 1910.08237, AISTATS 2021, algorithms 1 and 2. ProxQuant: Bai, Wang and Liberty,
ICLR 2019. PMF: Ajanthan, Dokania, Hartley and Torr, Proximal Mean-field for Neural Network
Quantization, ICCV 2019; SLB (Yang et al., Searching for Low-Bit Weights, NeurIPS 2020) is the same
with a slower rise of b. Differs from the paper: softmax takes any number of levels, where the
published stabiliser has two; the hull of the levels is scaled to each layer (`mirror_layer`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

HARD = float("inf")
"""Sharpness of the levels themselves."""

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


THRESHOLD = 0.7
"""Weights below this share of the mean size are 0 in ternary ProxQuant."""


def ternary_codes(x: Tensor) -> Tensor:
    """-1, 0 or 1 of each weight of any shape, as ternary ProxQuant rounds them."""
    threshold = THRESHOLD * x.abs().mean()
    return (x >= threshold).to(x.dtype) - (x <= -threshold).to(x.dtype)


def ternary_prox_step(x: Tensor, pull: float) -> Tensor:
    """Ternary ProxQuant's step, (x + pull T(x)) / (1 + pull).

    T(x) is 0 where `ternary_codes` is; elsewhere the mean of the weights that have its code.
    """
    codes, target = ternary_codes(x), torch.zeros_like(x)
    for code in (-1, 1):
        mine = codes == code
        if mine.any():
            target[mine] = x[mine].mean()
    return (x + pull * target) / (1 + pull)


def sharpness(step: int, steps: int, largest: float, interval: int) -> float:
    """Beta at a step: from 1 to `largest` after `steps` steps, in equal factors every `interval`.

    As published, the first multiplication is at step 0.
    """
    times = max(1, -(-steps // interval))
    return float(largest ** min(1.0, (step // interval + 1) / times))


def scaled_levels(codes: Sequence[int], like: Tensor) -> Tensor:
    """Whole codes such as (-1, 1) or (-2, -1, 0, 1), as a tensor."""
    return torch.tensor(list(codes), dtype=like.dtype, device=like.device)
