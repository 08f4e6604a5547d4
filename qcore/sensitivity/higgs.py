"""The alpha score of HIGGS: what noise in one layer costs, times the relative error of its codes.

Malinovskii et al., Pushing the Limits of Large Language Model Quantization via the Linearity
Theorem, 2024: damage is the sum over layers of alpha_l t_l^2 with t_l = ||W_hat - W|| / ||W||,
where alpha_l is fitted to what Gaussian noise of known relative sizes does in that layer alone. Its
errors are rotated to be like noise; those of nearest codes nearly are, but a rounding that looks at
inputs (GPFQ, GPTQ) lowers the damage while this error grows.

Differs from the paper: the damage is the judge's divergence and not perplexity, and inputs, which
the paper leaves in float, have an alpha of their own, from noise in the input of the layer.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS
from qcore.problem import SensitivityTable
from qcore.ptq.calibration import float_allocation
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.scoring.evaluator import Evaluator
from qcore.sensitivity.kinds import Step
from qcore.sensitivity.measured import MEASURED_IMAGES, release
from qcore.sensitivity.prefix import PrefixReplay
from qcore.trees import count

LEVELS = (0.08, 0.11, 0.14, 0.17, 0.2)
"""Relative sizes of the noise, one draw each: above the rounding of floats, and still quadratic."""


def fitted(damages: Sequence[float]) -> float:
    """Slope of damage over squared size; every draw counts alike, for each errs in proportion.

    Args:
        damages: Damage at each of LEVELS.

    Example:
        >>> round(fitted([2 * level**2 for level in LEVELS]), 6)
        2.0
    """
    pairs = zip(damages, LEVELS, strict=True)
    return sum(damage / level**2 for damage, level in pairs) / len(LEVELS)


def higgs_table(
    evaluator: Evaluator,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """Alpha times squared relative error, on the first 256 samples that no rounding saw.

    Returns:
        Table of kind "higgs", in the judge's unit.
    """
    started = time.perf_counter()
    model, judge = evaluator.model, evaluator.judge
    model.set_allocation(float_allocation(model))
    parts = [
        part
        for part, widths in (("weight", weight_bits), ("activation", activation_bits))
        if set(widths) - {FLOAT_BITS}
    ]
    damages = {(name, part): [0.0] * len(LEVELS) for name in model.layers for part in parts}
    n = 0
    batches = evaluator.unseen(MEASURED_IMAGES)
    for number, (x, _) in enumerate(batches):
        n += count(x)
        replay = PrefixReplay(model, x)
        wanted = judge.read(replay.answers, x)
        for index, (name, layer) in enumerate(model.layers.items()):
            on_step(number * len(model.layers) + index, len(batches) * len(model.layers))
            for part in parts:
                if part == "activation" and layer.operation.looks_up:
                    continue
                for at, level in enumerate(LEVELS):
                    seed = len(LEVELS) * index + at
                    seen = judge.read(_noisy(model, layer, part, level, seed, replay), x)
                    damages[name, part][at] += float(judge.divergence(seen, wanted).sum())
    weight: dict[str, dict[int, float]] = {}
    activation: dict[str, dict[int, float]] = {}
    for (name, part), found in damages.items():
        alpha = fitted([damage / n for damage in found])
        widths = weight_bits if part == "weight" else activation_bits
        (weight if part == "weight" else activation)[name] = {
            bits: alpha * relative_error(model, name, part, bits)
            for bits in sorted(set(widths) - {FLOAT_BITS})
        }
    seconds = time.perf_counter() - started
    return SensitivityTable("higgs", judge.unit, weight, activation, n=n, seconds=seconds)


def relative_error(model: QuantizedModel, name: str, part: str, bits: int) -> float:
    """t^2: squared error over squared size, of the weights or of what reaches the input; 0 up."""
    if part == "weight":
        change = model.prepared_weight(name, bits) - model.layers[name].weight
        error = float(change.square().mean())
    else:
        grid = model.activation_grid(name, bits)
        if grid is None:
            return 0.0
        x, counts = model.histograms[name].centres, model.histograms[name].counts
        change = grid.quantize(x) - x
        error = float((change.square() * counts).sum() / counts.sum().clamp_min(1))
    return error / max(_power(model, name, part), 1e-30)


def _power(model: QuantizedModel, name: str, part: str) -> float:
    """Mean square of the weights, or of what counts of the input on the calibration samples."""
    if part == "weight":
        return float(model.layers[name].weight.square().mean())
    x, counts = model.histograms[name].centres, model.histograms[name].counts
    return float((x.square() * counts).sum() / counts.sum().clamp_min(1))


@torch.no_grad()
def _noisy(
    model: QuantizedModel,
    layer: QuantizedLayer,
    part: str,
    level: float,
    seed: int,
    replay: PrefixReplay,
) -> Any:
    """What the network returns with noise of a relative size in one layer, all else in float."""
    generator = torch.Generator().manual_seed(seed)
    size = level * _power(model, layer.name, part) ** 0.5

    def blurred(values: Tensor) -> Tensor:
        noise = torch.randn(values.shape, generator=generator).to(values)
        return values + size * noise

    if part == "weight":
        layer.set_bits(blurred(layer.weight), None)
        answers = replay.run_from(layer.name)
        release(model, layer)
        return answers

    def hook(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # a head that shares its weights with a table is also given ids
        return (blurred(given[0]), *given[1:]) if given[0].is_floating_point() else given

    handle = layer.register_forward_pre_hook(hook)
    try:
        return replay.run_from(layer.name)
    finally:
        handle.remove()
