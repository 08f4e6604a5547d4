"""Nested codes: those of fewer bits are the leading bits of those of more (vertical layering).

    c_b = floor(2^(b-1) W / (s a)), clipped to -2^(b-1) .. 2^(b-1) - 1, so that c_b = c_(b+1) >> 1
    W_b = (c_b + 1/2) 2^(1-b) s a g_b

s is the standard deviation of the layer's weights, without gradient; a, a clip, is learned for all
widths together, and g_b, a gain, for each width. W_b is the middle of the weights of its code but
for g_b: zero is no code. One set of codes thus serves every width: a reader drops bits. The
gradient takes the rounding for the identity and is zero where clipped; dL/da = sum g 2^(1-b) s g_b
(c_b + 1/2 - u inside, c_b + 1/2 where clipped), u = 2^(b-1) W / (s a). Behind a batch-norm of its
own, a gain changes nothing. Inputs have a learned clip for every width.

Reference: Wu et al., Vertical Layering of Quantized Neural Networks for Heterogeneous Inference,
arXiv 2212.05326, 2022 (bits that enhance a base, and weights trained for all widths at once).

Reconstructed: the paper's formulas could not be read. Its codes are rounded on the way down from
width to width; here bits are cut off and the middle of what they could have been is taken, which
is nearer to the weights. So is floor, and not round, for the widest codes: of the values c + 1/2
the nearest one has c = floor. The clip begins where the squared errors of all widths, each at its
best gain, are least together; the loss of a step adds the widths up too.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from qcore.quantizers.activations import Histogram
from qcore.quantizers.learned_clip import CANDIDATES, clip_inputs, deviation, span_start, span_step
from qcore.quantizers.straight_through import LearnedQuantizer


class _Cut(torch.autograd.Function):
    """(weight, reach (), bits) -> the middle of each weight's cell; reach is where codes end."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, reach: Tensor, bits: int) -> Tensor:
        # a power of two changes no digit: the codes of all widths are cut from one number
        scaled = (weight / reach) * 2 ** (bits - 1)
        middles = codes_of(scaled, bits) + 0.5
        ctx.save_for_backward(scaled, middles)
        ctx.bits = bits
        return middles * (reach * 2 ** (1 - bits))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        scaled, middles = ctx.saved_tensors
        inside = torch.where(scaled.abs() <= 2 ** (ctx.bits - 1), grad, 0.0)
        grad_reach = None
        if ctx.needs_input_grad[1]:
            grad_reach = ((grad * middles).sum() - (inside * scaled).sum()) * 2 ** (1 - ctx.bits)
        return inside, grad_reach, None


def codes_of(scaled: Tensor, bits: int) -> Tensor:
    """Codes -2^(b-1) .. 2^(b-1)-1 of weights in steps of these bits; whole floats, same shape."""
    return scaled.floor().clamp_(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def cut(codes: Tensor, bits: int, fewer: int) -> Tensor:
    """Leading bits of codes.

    Args:
        codes: Whole numbers -2^(bits-1) .. 2^(bits-1)-1, any shape, of an integer type.
        bits: Their width.
        fewer: The width that is wanted, 1..bits.

    Returns:
        Whole numbers of `fewer` bits, same shape.

    Example:
        >>> cut(torch.tensor([-128, -1, 0, 127]), 8, 2)
        tensor([-2, -1,  0,  1])
    """
    return codes >> (bits - fewer)


def nested_weight(weight: Tensor, clip: Tensor, bits: int) -> Tensor:
    """Put a weight of any shape on its grid; `clip` is in standard deviations of the weight."""
    rounded: Tensor = _Cut.apply(weight, clip * deviation(weight), bits)
    return rounded


def nested_step(weight: Tensor, clip: Tensor, bits: int) -> Tensor:
    """Step of `nested_weight`, shape (): its values are odd multiples of it."""
    return clip.detach() * deviation(weight) * 2.0**-bits


def shared_clip(weight: Tensor, widths: Sequence[int]) -> float:
    """Clip at which the sum of all widths' squared errors is least, each at its best gain.

    Args:
        weight: Any shape.
        widths: Bits that share the clip, at least one.

    Returns:
        In standard deviations of the weight.
    """
    scaled = weight.detach() / deviation(weight)
    if max(widths) == 1:
        return 2 * float(scaled.abs().mean()) or 1.0
    histogram = Histogram()
    histogram.add(scaled)
    used = histogram.counts > 0
    x, count = histogram.centres[used], histogram.counts[used]
    reach = max(float(x.abs().max()), 1e-3)
    clips = torch.linspace(reach / CANDIDATES, reach, CANDIDATES, dtype=torch.float64)
    gained = torch.zeros_like(clips)
    for bits in set(widths):
        middles = codes_of((x / clips[:, None]) * 2 ** (bits - 1), bits) + 0.5
        # at its best gain a width's error is the weights' squares less this
        gained += (count * x * middles).sum(1).square() / (count * middles.square()).sum(1)
    return float(clips[int(gained.argmax())])


QUANTIZER = LearnedQuantizer(
    name="nested",
    title="Nested codes",
    weight=nested_weight,
    weight_step=nested_step,
    weight_start=lambda weight, bits: shared_clip(weight, (bits,)),
    inputs=clip_inputs,
    input_step=span_step,
    input_start=span_start,
    learns=True,
    paper="Vertical layering, arXiv 2212.05326, 2022",
    shared_start=shared_clip,
)
