"""GPFQ: weights one after the other, each making up for the output error of those before.

With x_t the t-th input over all samples and u the output error so far,

    q_t = Q((x_t . (u + w_t x_t)) / (x_t . x_t)),   u <- u + (w_t - q_t) x_t

where Q is rounding to the nearest code. Only products of inputs enter, so second moments do. The
order is that of the weights, and steps stay as they are.

Reference: Zhang, Zhou and Saab, Post-training Quantization for Neural Networks with Provable
Guarantees, arXiv 2201.11113, 2022, equations 6 and 7. Differs from the paper: inputs are those of
the float network at every layer (the paper's later layers see what quantized ones before them
give), so that codes do not depend on how other layers are quantized.
"""

import torch
from torch import Tensor

from qcore.rounding.nearest import nearest_codes, step_of_weights


def gpfq(weights: Tensor, moments: Tensor, steps: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Round weights along the path of their output error.

    Args:
        weights: (groups, channels, n).
        moments: Second moments of their inputs (groups, n, n); an input that is always zero
            leaves its weights to the nearest code.
        steps: Of each channel (groups, channels), never zero; of each of its scales (groups,
            channels, scales) where the width has groups.
        bits: 1..8, or a width with groups.

    Returns:
        Codes like the weights, and the steps as they were given.
    """
    codes, each = torch.empty_like(weights), step_of_weights(steps, bits, weights.shape[-1])
    errors = torch.zeros_like(weights)
    power = moments.diagonal(dim1=-2, dim2=-1)
    for t in range(weights.shape[-1]):
        # (x_t . u) / (x_t . x_t), (groups, channels)
        left = (errors[..., :t] @ moments[:, :t, t, None])[..., 0]
        left = torch.where(power[:, t, None] > 0, left / power[:, t, None], 0.0)
        wanted = weights[..., t] + left
        codes[..., t] = nearest_codes(wanted, each[..., t], bits)
        errors[..., t] = weights[..., t] - codes[..., t] * each[..., t]
    return codes, steps
