"""One-bit weights: their sign times their mean magnitude; more bits are a learned clip.

    W_1 = E|W| sign(W),   dL/dW = g where |W| <= 3 std(W), else 0

A network with one-bit weights and float inputs is a BinaryConnect, with one-bit inputs a binarized
network: additions, or bit operations, in place of multiplications.

References: Courbariaux, Bengio and David, BinaryConnect, NeurIPS 2015 (the sign, and no gradient
where clipped); Rastegari et al., XNOR-Net, ECCV 2016, equation 6 (the mean magnitude).
Differs from the papers: one magnitude per tensor, since a batch-norm behind the layer makes one per
channel the same; clipped at three standard deviations instead of 1, whatever the weights' size.
"""

import torch
from torch import Tensor

from qcore.quantizers import learned_clip
from qcore.quantizers.straight_through import LearnedQuantizer

CLIP = 3.0


def sign_weight(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Put a weight of any shape on two levels; at more bits `scale` is a learned clip."""
    if bits > 1:
        return learned_clip.clip_weight(weight, scale, bits)
    kept = weight.detach()
    limit = CLIP * kept.std(correction=0)
    signs = torch.where(kept >= 0, 1.0, -1.0).to(weight.dtype)
    clipped = weight.clamp(-limit, limit)
    return signs * _magnitude(kept) + (clipped - clipped.detach())


def _magnitude(weight: Tensor) -> Tensor:
    return weight.abs().mean().clamp_min(1e-12)


def sign_weight_step(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Step of `sign_weight`, shape ()."""
    if bits > 1:
        return learned_clip.clip_weight_step(weight, scale, bits)
    return _magnitude(weight.detach())


QUANTIZER = LearnedQuantizer(
    name="sign",
    title="Sign (one bit), else learned clip",
    weight=sign_weight,
    weight_step=sign_weight_step,
    weight_start=learned_clip.mse_clip,
    inputs=learned_clip.clip_inputs,
    input_step=learned_clip.span_step,
    input_start=learned_clip.span_start,
    learns=True,
    paper="Courbariaux et al., NeurIPS 2015; Rastegari et al., ECCV 2016",
)
