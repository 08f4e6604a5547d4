"""The first-order score of AutoRound: sum of |gradient x change|, value by value, for comparison.

DeltaLoss of SignRoundV2 (Cheng et al., 2025), which AutoRound's AutoScheme allocates by: for
weights |dL/dw (w_hat - w)| and for inputs |dL/dx (x_hat - x)|, summed over all values, one sample
at a time. With absolute values nothing cancels, so that the score bounds the first-order change of
the loss and is no estimate of damage: it is linear in the change where a divergence is quadratic.

Differs from AutoRound: gradients are those of the float network and not of one that is quantized to
the width in question, and the loss is the judge's on answers drawn from the float network's own, so
that no labels are needed.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS
from qcore.problem import SensitivityTable
from qcore.ptq.calibration import float_allocation
from qcore.sensitivity.kinds import Step
from qcore.trees import count, part

if TYPE_CHECKING:
    from qcore.scoring.evaluator import Evaluator

SAMPLES = 64
"""AutoRound takes 16 texts of 256 tokens."""

UNIT = "of the loss, first order"


def autoround_table(
    evaluator: "Evaluator",
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """First-order scores on the first 64 samples that no rounding saw, without correction.

    Returns:
        Table of kind "autoround"; scores are means over samples, at least 0, and no divergences.
    """
    started = time.perf_counter()
    model, judge = evaluator.model, evaluator.judge
    model.set_allocation(float_allocation(model))
    layers = model.layers
    widths = sorted(set(weight_bits) - {FLOAT_BITS})
    input_widths = sorted(set(activation_bits) - {FLOAT_BITS})
    # a change of weights is the same for every sample: only their gradients are summed
    sums = {name: torch.zeros_like(layer.weight) for name, layer in layers.items()}
    activation = {name: dict.fromkeys(input_widths, 0.0) for name in layers if input_widths}
    generator = torch.Generator().manual_seed(0)
    samples = [
        part(x, slice(at, at + 1)) for x, _ in evaluator.unseen(SAMPLES) for at in range(count(x))
    ]
    inputs: list[tuple[str, Tensor]] = []

    def tap(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        layer: Any = module
        if not given[0].is_floating_point():
            return given
        # a copy of its own: what several layers read has a gradient through each of them, and what
        # is changed in place later is still needed for the gradients of weights
        own = given[0].clone()
        own = own if own.requires_grad else own.requires_grad_(True)
        inputs.append((layer.name, own))
        return (own, *given[1:])

    handles = [layer.register_forward_pre_hook(tap) for layer in layers.values()]
    for layer in layers.values():
        layer.weight.requires_grad_(True)
    try:
        for number, x in enumerate(samples):
            on_step(number, len(samples))
            inputs.clear()
            with torch.enable_grad():
                loss = judge.probe(judge.read(model(x), x), generator)
            wanted = [layer.weight for layer in layers.values()] + [own for _, own in inputs]
            gradients = torch.autograd.grad(loss, wanted, materialize_grads=True)
            for name, gradient in zip(layers, gradients, strict=False):
                sums[name] += gradient.abs()
            for (name, own), gradient in zip(inputs, gradients[len(layers) :], strict=True):
                values = own.detach()
                for bits in input_widths:
                    grid = model.activation_grid(name, bits)
                    if grid is not None:
                        change = grid.quantize(values) - values
                        activation[name][bits] += float((gradient * change).abs().sum())
    finally:
        for handle in handles:
            handle.remove()
        for layer in layers.values():
            layer.weight.requires_grad_(False)
    n = len(samples)
    weight: dict[str, dict[int, float]] = {name: {} for name in layers}
    for name, layer in layers.items():
        for bits in widths:
            change = model.prepared_weight(name, bits) - layer.weight
            weight[name][bits] = float((sums[name] * change.abs()).sum()) / n
    means = {name: {bits: row[bits] / n for bits in row} for name, row in activation.items()}
    seconds = time.perf_counter() - started
    return SensitivityTable("autoround", UNIT, weight, means, n=n, seconds=seconds)
