"""GPTQ with coordinate descent and refitted steps: codes of least error in a layer's output.

Three stages, all after e' H e with e the errors of a channel's weights and H the second moments of
its inputs, damped by a share of their mean diagonal:

1. GPTQ: weights in falling order of their inputs' power; the error of each is made up for by those
   not yet rounded, w_k -= e_i U_ik / U_ii with U'U = H^-1.
2. Coordinate descent: each code in turn becomes the best one while all others stay, some sweeps.
3. Some times: the step becomes the one of least error for these codes, and one more sweep.

2 and 3 never raise e' H e. Channels that rounding to the nearest code serves better, measured
without the damping, keep that.

Reference: Frantar, Ashkboos, Hoefler and Alistarh, GPTQ, arXiv 2210.17323, 2022, algorithm 1;
activation order from its code. Stage 2 is the coordinate descent of Behdin et al., QuantEase, arXiv
2309.01885, 2023. Differs from the paper: stages 2 and 3, and inputs of the float network.
"""

import torch
from torch import Tensor

from qcore.rounding.nearest import nearest_codes, output_error

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
        steps: Of each channel (groups, channels), never zero: where the fit begins.
        bits: 1..8.
        sweeps: Sweeps of coordinate descent before steps are fitted.
        refits: Times that steps are fitted anew.

    Returns:
        Codes like the weights, and steps like those given; a step keeps its sign.
    """
    plain = nearest_codes(weights, steps, bits)
    least = output_error(weights - plain * steps[..., None], moments)
    damped = damp(moments)
    order = damped.diagonal(dim1=-2, dim2=-1).argsort(dim=-1, descending=True, stable=True)
    columns = order[:, None, :].expand_as(weights)
    w = weights.gather(-1, columns)
    h = damped.gather(-2, order[..., None].expand_as(damped))
    h = h.gather(-1, order[:, None, :].expand_as(h))
    codes, fitted = feed_forward(w, h, steps, bits), steps
    for _ in range(sweeps):
        codes = descend(w, h, fitted, bits, codes)
    for _ in range(refits):
        fitted = refit(w, h, fitted, codes)
        codes = descend(w, h, fitted, bits, codes)
    codes = torch.empty_like(codes).scatter_(-1, columns, codes)
    better = output_error(weights - codes * fitted[..., None], moments) < least
    return torch.where(better[..., None], codes, plain), torch.where(better, fitted, steps)


def damp(moments: Tensor) -> Tensor:
    """Second moments with a share of their mean diagonal added to it, so that they have an inverse.

    Inputs that are always zero get the smallest power there is, and those of a group that sees
    nothing but zeros one alike: their weights are rounded to the nearest code.
    """
    mean = moments.diagonal(dim1=-2, dim2=-1).mean(-1)
    more = torch.where(mean > 0, DAMPING * mean, 1.0)
    eye = torch.eye(moments.shape[-1], dtype=moments.dtype, device=moments.device)
    return moments + more[:, None, None] * eye


def feed_forward(weights: Tensor, moments: Tensor, steps: Tensor, bits: int) -> Tensor:
    """Codes of GPTQ in the order of the columns; `moments` has an inverse."""
    wide = moments if moments.device.type == "mps" else moments.double()
    upper = _upper(wide).to(weights.dtype)
    left, codes = weights.clone(), torch.empty_like(weights)
    n = weights.shape[-1]
    for first in range(0, n, FORWARD_BLOCK):
        end = min(first + FORWARD_BLOCK, n)
        errors = torch.empty_like(left[..., first:end])
        for t in range(first, end):
            code = nearest_codes(left[..., t, None], steps, bits)[..., 0]
            codes[..., t] = code
            error = (left[..., t] - code * steps) / upper[:, t, t, None]
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


def descend(weights: Tensor, moments: Tensor, steps: Tensor, bits: int, codes: Tensor) -> Tensor:
    """Codes after one sweep: each in turn the best while all others stay.

    The error e' H e of no channel rises. `moments` has a positive diagonal.
    """
    codes = codes.clone()
    pull = (weights - codes * steps[..., None]) @ moments
    power = moments.diagonal(dim1=-2, dim2=-1)
    n = weights.shape[-1]
    for first in range(0, n, SWEEP_BLOCK):
        end = min(first + SWEEP_BLOCK, n)
        moves = torch.empty_like(codes[..., first:end])
        inside = pull[..., first:end]
        for t in range(first, end):
            here = codes[..., t] * steps
            wanted = here + inside[..., t - first] / power[:, t, None]
            code = nearest_codes(wanted[..., None], steps, bits)[..., 0]
            move = (code - codes[..., t]) * steps
            codes[..., t], moves[..., t - first] = code, move
            inside -= move[..., None] * moments[:, None, t, first:end]
        pull[..., end:] -= moves @ moments[:, first:end, end:]
    return codes


def refit(weights: Tensor, moments: Tensor, steps: Tensor, codes: Tensor) -> Tensor:
    """The step of least e' H e for these codes, within 0.7 to 1.4 of what it was."""
    pull = codes @ moments
    power = (pull * codes).sum(-1)
    best = (pull * weights).sum(-1) / power.clamp_min(torch.finfo(power.dtype).tiny)
    change = (best / steps).clamp(LEAST_CHANGE, MOST_CHANGE)
    return torch.where(power > 0, steps * change, steps)
