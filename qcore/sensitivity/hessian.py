"""The Hessian sensitivity of HAWQ-V2: average trace times squared weight error.

Reference: Dong et al., HAWQ-V2, NeurIPS 2020, eq. 2: Omega = sum_l (Tr(H_l) / n_l) * ||dW_l||^2.
The trace is Hutchinson's estimate, the mean of v . Hv over random signs v, with its standard error.
Traces are left as they come, negative ones too. Those of depthwise layers are small and most of
them drown in their own standard error (`benchmarks.allocation.hessian`): use the
gradient score there.
"""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from qcore.allocation import FLOAT_BITS
from qcore.errors import InvalidParams
from qcore.problem import SensitivityTable
from qcore.ptq.calibration import first_images, float_allocation
from qcore.sensitivity.kinds import Step
from qcore.trees import count

if TYPE_CHECKING:
    from qcore.scoring.evaluator import Evaluator

PROBES = 16
IMAGES = 256


def hutchinson_traces(evaluator: "Evaluator") -> dict[str, tuple[float, float]]:
    """Trace of the loss Hessian per layer's weights and its standard error, in the judge's unit.

    The loss is that on the labels; for classes without labels it is the cross-entropy with the
    float network's own top class. On the first 256 calibration samples; 16 probes.

    Raises:
        InvalidParams: there are no labels that a loss could be taken from.
    """
    model, judge = evaluator.model, evaluator.judge
    model.set_allocation(float_allocation(model))
    batches = list(first_images(evaluator.calibration, IMAGES))
    taken = sum(count(x) for x, _ in batches)
    weights = [layer.weight for layer in model.layers.values()]
    generator = torch.Generator().manual_seed(0)
    samples = torch.zeros(PROBES, len(weights), dtype=torch.float64)
    for weight in weights:
        weight.requires_grad_(True)
    try:
        for probe in range(PROBES):
            signs = [
                (torch.randint(0, 2, w.shape, generator=generator) * 2.0 - 1).to(w) for w in weights
            ]
            for x, y in batches:
                # the fused kernels of attention have no second derivative
                with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
                    answers = judge.read(model(x), x)
                    if y is None and isinstance(answers, Tensor) and judge.hits:
                        y = answers.argmax(1)
                    costs = None if y is None else judge.loss(answers, y)
                    if costs is None:
                        raise InvalidParams(
                            "The 'hessian' sensitivity needs labels that a loss can be taken from, "
                            f"and the judge {judge.name!r} has none here: use 'gradient' or 'kl'."
                        )
                    loss = costs.sum() / taken
                    first = torch.autograd.grad(loss, weights, create_graph=True)
                    dot = sum(((g * v).sum() for g, v in zip(first, signs, strict=True)), loss * 0)
                    second = torch.autograd.grad(dot, weights)
                for i, (h, v) in enumerate(zip(second, signs, strict=True)):
                    samples[probe, i] += float((h * v).sum())
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    mean, error = samples.mean(0), samples.std(0) / math.sqrt(PROBES)
    return {
        name: (float(m), float(e)) for name, m, e in zip(model.layers, mean, error, strict=True)
    }


def hessian_table(
    evaluator: "Evaluator",
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """HAWQ-V2 scores of weights; activation widths score 0 here, as the paper gives none.

    Differs from the paper: 1/2 is written out, so that the score estimates a loss increase in nats.
    """
    started = time.perf_counter()
    model = evaluator.model
    weight: dict[str, dict[int, float]] = {}
    error: dict[str, float] = {}
    for name, (trace, deviation) in hutchinson_traces(evaluator).items():
        layer = model.layers[name]
        squared = {
            bits: float((model.prepared_weight(name, bits) - layer.weight).square().sum())
            for bits in sorted(set(weight_bits) - {FLOAT_BITS})
        }
        per_weight = trace / layer.weight.numel()
        weight[name] = {bits: 0.5 * per_weight * value for bits, value in squared.items()}
        largest = max(squared.values(), default=0.0)
        error[name] = 0.5 * deviation / layer.weight.numel() * largest
    widths = set(activation_bits) - {FLOAT_BITS}
    activation = {name: dict.fromkeys(sorted(widths), 0.0) for name in model.layers if widths}
    seconds = time.perf_counter() - started
    n = min(IMAGES, sum(count(x) for x, _ in evaluator.calibration))
    unit = evaluator.judge.unit
    return SensitivityTable("hessian", unit, weight, activation, error, n=n, seconds=seconds)
