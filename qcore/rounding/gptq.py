"""GPTQ with coordinate descent and refitted steps: codes of least error in a layer's output.

Three stages, all after e' H e with e the errors of a channel's weights and H the second moments of
its inputs, damped by a share of their mean diagonal:

1. GPTQ: weights in falling order of their inputs' power; the error of each is made up for by those
   not yet rounded, w_k -= e_i U_ik / U_ii with U'U = H^-1.
2. Coordinate descent: each code in turn becomes the best one while all others stay, some sweeps.
3. Some times: the step becomes the one of least error for these codes, and one more sweep. Where a
   channel has several steps, one after the other.

2 and 3 never raise e' H e. Channels that rounding to the nearest code serves better, measured
without the damping, keep that.

Reference: Frantar, Ashkboos, Hoefler and Alistarh, GPTQ, arXiv 2210.17323, 2022, algorithm 1;
activation order from its code. Stage 2 is the coordinate descent of Behdin et al., QuantEase, arXiv
2309.01885, 2023. Differs from the paper: stages 2 and 3, and inputs of the float network.
"""

import torch
from torch import Tensor

from qcore.quantizers import kept_step
from qcore.rounding.nearest import nearest_codes, output_error, step_of_weights
from qcore.widths import group_inputs

DAMPING = 0.01
SWEEPS, REFITS = 2, 2
LEAST_CHANGE, MOST_CHANGE = 0.7, 1.4
FORWARD_BLOCK, SWEEP_BLOCK = 128, 64


def gptq(
    weights: Tensor,
    moments: Tensor,
    steps: Tensor,
    bits: int,
    sweeps: int = SWEEPS,
    refits: int = REFITS,
) -> tuple[Tensor, Tensor]:
    """Round weights to least error of their channels' outputs.

    Args:
        weights: (groups, channels, n).
        moments: Second moments of their inputs (groups, n, n).
        steps: Of each channel (groups, channels), never zero: where the fit begins; of each of its
            scales (groups, channels, scales) where the width has groups.
        bits: 1..8, or a width with groups.
        sweeps: Sweeps of coordinate descent before steps are fitted.
        refits: Times that steps are fitted anew.

    Returns:
        Codes like the weights, and steps like those given; a step keeps its sign.
    """
    n = weights.shape[-1]
    each = step_of_weights(steps, bits, n)
    plain = nearest_codes(weights, each, bits)
    least = output_error(weights - plain * each, moments)
    damped = damp(moments)
    order = damped.diagonal(dim1=-2, dim2=-1).argsort(dim=-1, descending=True, stable=True)
    columns = order[:, None, :].expand_as(weights)
    w = weights.gather(-1, columns)
    h = damped.gather(-2, order[..., None].expand_as(damped))
    h = h.gather(-1, order[:, None, :].expand_as(h))
    moved = each.gather(-1, columns)
    codes, fitted = feed_forward(w, h, moved, bits), steps
    for _ in range(sweeps):
        codes = descend(w, h, moved, bits, codes)
    for _ in range(refits):
        inside = torch.empty_like(codes).scatter_(-1, columns, codes)
        fitted = refit(weights, damped, fitted, bits, inside)
        moved = step_of_weights(fitted, bits, n).gather(-1, columns)
        codes = descend(w, h, moved, bits, codes)
    codes = torch.empty_like(codes).scatter_(-1, columns, codes)
    error = output_error(weights - codes * step_of_weights(fitted, bits, n), moments)
    better = (error < least)[..., None]
    kept = torch.where(better if fitted.dim() == 3 else better[..., 0], fitted, steps)
    return torch.where(better, codes, plain), kept


def damp(moments: Tensor) -> Tensor:
    """Second moments with a share of their mean diagonal added to it, so that they have an inverse.

    Inputs that are always zero get the smallest power there is, and those of a group that sees
    nothing but zeros one alike: their weights are rounded to the nearest code.
    """
    mean = moments.diagonal(dim1=-2, dim2=-1).mean(-1)
    more = torch.where(mean > 0, DAMPING * mean, 1.0)
    eye = torch.eye(moments.shape[-1], dtype=moments.dtype, device=moments.device)
    return moments + more[:, None, None] * eye


def feed_forward(weights: Tensor, moments: Tensor, each: Tensor, bits: int) -> Tensor:
    """Codes of GPTQ in the order of the columns.

    Args:
        weights: (groups, channels, n).
        moments: (groups, n, n), with an inverse.
        each: The step of every weight (groups, channels, n).
        bits: The width.
    """
    wide = moments if moments.device.type == "mps" else moments.double()
    upper = _upper(wide).to(weights.dtype)
    left, codes = weights.clone(), torch.empty_like(weights)
    n = weights.shape[-1]
    for first in range(0, n, FORWARD_BLOCK):
        end = min(first + FORWARD_BLOCK, n)
        errors = torch.empty_like(left[..., first:end])
        for t in range(first, end):
            code = nearest_codes(left[..., t], each[..., t], bits)
            codes[..., t] = code
            error = (left[..., t] - code * each[..., t]) / upper[:, t, t, None]
            errors[..., t - first] = error
            left[..., t:end] -= error[..., None] * upper[:, None, t, t:end]
        left[..., end:] -= errors @ upper[:, first:end, end:]
    return codes


def _upper(moments: Tensor) -> Tensor:
    """U of U'U = H^-1; what rounding errors of sums took from H is added to it first."""
    mean = moments.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    eye = torch.eye(moments.shape[-1], dtype=moments.dtype, device=moments.device)
    for more in (0.0, DAMPING, 1.0, 100.0):
        lower, failed = torch.linalg.cholesky_ex(moments + more * mean * eye)
        if not failed.any():
            break
    else:  # numbers beyond all reason: every weight for itself
        lower = eye.expand_as(moments)
    return torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)


def descend(weights: Tensor, moments: Tensor, each: Tensor, bits: int, codes: Tensor) -> Tensor:
    """Codes after one sweep: each in turn the best while all others stay.

    The error e' H e of no channel rises. `moments` has a positive diagonal; `each` is the step of
    every weight.
    """
    codes = codes.clone()
    pull = (weights - codes * each) @ moments
    power = moments.diagonal(dim1=-2, dim2=-1)
    n = weights.shape[-1]
    for first in range(0, n, SWEEP_BLOCK):
        end = min(first + SWEEP_BLOCK, n)
        moves = torch.empty_like(codes[..., first:end])
        inside = pull[..., first:end]
        for t in range(first, end):
            step = each[..., t]
            wanted = codes[..., t] * step + inside[..., t - first] / power[:, t, None]
            code = nearest_codes(wanted, step, bits)
            move = (code - codes[..., t]) * step
            codes[..., t], moves[..., t - first] = code, move
            inside -= move[..., None] * moments[:, None, t, first:end]
        pull[..., end:] -= moves @ moments[:, first:end, end:]
    return codes


def refit(weights: Tensor, moments: Tensor, steps: Tensor, bits: int, codes: Tensor) -> Tensor:
    """The step of least e' H e for these codes, within 0.7 to 1.4 of what it was.

    Of the scales of a channel each in turn, while its others stay.
    """
    n, group = weights.shape[-1], group_inputs(bits) or weights.shape[-1]
    scales = steps if group_inputs(bits) else steps[..., None]
    pull = (weights - codes * step_of_weights(steps, bits, n)) @ moments
    fitted = []
    for at, step in enumerate(scales.unbind(-1)):
        part = slice(at * group, min((at + 1) * group, n))
        mine = codes[..., part]
        reach = mine @ moments[:, part]
        power = (reach[..., part] * mine).sum(-1)
        best = step + (pull[..., part] * mine).sum(-1) / power.clamp_min(
            torch.finfo(power.dtype).tiny
        )
        change = (best / step).clamp(LEAST_CHANGE, MOST_CHANGE)
        new = kept_step(torch.where(power > 0, step * change, step), bits)
        pull -= (new - step)[..., None] * reach
        fitted.append(new)
    return torch.stack(fitted, -1) if group_inputs(bits) else fitted[0]
