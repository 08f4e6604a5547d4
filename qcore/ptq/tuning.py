"""Label-free tuning of a quantized model: scales and biases learn the float network's outputs.

The integer codes stay as they are; each channel's scale (and with it a folded norm) and bias follow
the gradient of the divergence from the float network on the calibration samples. It needs no
labels and a few hundred steps, and below three bits it is worth more than any allocator.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qcore.judges import CLASSES, Judge
from qcore.ptq.calibration import float_allocation
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.ptq.settings import TuningParams
from qcore.trees import Tree, count, join, part

MOST_BYTES = 2 * 2**30
"""Of what a step keeps for its gradient, about; larger batches go through it in pieces."""

KEPT = 24
"""Bytes kept for each number that a layer puts out: it, what becomes of it, and its rounding."""


def samples_at_once(outputs: int, kept: int = KEPT) -> int:
    """Samples whose gradient is computed at once; at least 1.

    Args:
        outputs: Numbers that all layers put out for a sample.
        kept: Bytes kept for each of them.
    """
    return max(1, MOST_BYTES // (kept * max(1, outputs)))


def tune(
    model: QuantizedModel,
    batches: Sequence[tuple[Tree, Tensor | None]],
    params: TuningParams,
    judge: Judge = CLASSES,
) -> None:
    """Tune the current allocation in place; read the result with `model.state()`.

    Args:
        model: Switched to the allocation and corrected.
        batches: Calibration samples; labels are not looked at.
        params: Settings.
        judge: Whose divergence is minimised.
    """
    images = join([x for x, _ in batches])
    total = count(images)
    allocation, state = model.allocation, model.state()
    with torch.no_grad():
        model.set_allocation(float_allocation(model))
        teacher = join([judge.read(model(x), x) for x, _ in batches])
    model.load_state(allocation, state)
    gains, shifts = {}, {}
    # scales of rows that are looked up are not felt in the outputs of a product
    kinds = {layer.name: layer.kind for layer in model.spec.layers}
    tuned = {n: x for n, x in model.layers.items() if not kinds[n].endswith("embedding")}
    for name, layer in tuned.items():
        # floats of 16 bits have no scale that could be tuned
        if not layer.scaleless:
            start = torch.ones_like(layer.bias) if layer.gain is None else layer.gain
            gains[name] = start.clone().requires_grad_(True)
        shifts[name] = layer.shift.clone().requires_grad_(True)

    def scaled(layer: QuantizedLayer, output: Tensor) -> Tensor:
        shift = layer.per_channel(shifts[layer.name], output)
        if layer.name not in gains:
            return output + shift
        # scaling outputs instead of weights gives the same gradient without a weight gradient
        return output * layer.per_channel(gains[layer.name], output) + shift

    piece = samples_at_once(sum(layer.outputs for layer in model.spec.layers))
    optimizer = torch.optim.Adam([*gains.values(), *shifts.values()], lr=params.rate)
    generator = torch.Generator().manual_seed(params.seed)
    order = torch.empty(0, dtype=torch.long)
    for layer in model.layers.values():
        layer.watch = scaled
    try:
        for step in range(params.steps):
            while len(order) < params.batch_images:
                order = torch.cat([order, torch.randperm(total, generator=generator)])
            index, order = order[: params.batch_images], order[params.batch_images :]
            for group in optimizer.param_groups:
                group["lr"] = params.rate * 0.5 * (1 + math.cos(math.pi * step / params.steps))
            optimizer.zero_grad()
            for some in index.split(piece):
                x = part(images, some)
                distance = judge.divergence(judge.read(model(x), x), part(teacher, some))
                (distance.sum() / len(index)).backward()
            optimizer.step()
    finally:
        for layer in model.layers.values():
            layer.watch = None
    for name, layer in tuned.items():
        gain = gains[name].detach() if name in gains else None
        layer.correct(gain, shifts[name].detach())
