"""Which correction a network gets: measured on calibration samples that it was not made from.

Behind batch norms, matching mean and spread layer after layer is worth much. Where there are none
(transformers) the mean alone, restored on inputs that have drifted, does harm, so that this is not
even tried, and correcting on the float network's inputs usually helps. Each is tried at uniform
bits, and what a network usually gets is left only for what is better by the interval of the paired
difference.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qcore.allocation import BitAllocation
from qcore.judges import CLASSES, Judge
from qcore.ptq.calibration import (
    Correction,
    first_images,
    float_allocation,
    matched_layers,
)
from qcore.ptq.model import QuantizedModel
from qcore.ptq.settings import NORMED, OFF, PARALLEL, SEQUENTIAL
from qcore.trees import Tree, count, join, part

MOST, LEAST = 128, 16
"""Samples that each correction is made from, and as many others that it is measured on."""

WIDTHS = (3, 4)
"""Uniform bits of weights that are tried: fewer leave no signal, more no damage."""


@dataclass(frozen=True)
class Choice:
    """How a network is corrected, and what was measured of it.

    Attributes:
        how: Key of CORRECTIONS.
        damages: Correction to its mean divergence at 3 and at 4 bits, in the judge's unit; empty
            where there were too few samples to measure it.
        samples: Held-out samples behind each of them.
    """

    how: str
    damages: Mapping[str, tuple[float, ...]]
    samples: int = 0

    def words(self, unit: str) -> str:
        """What was measured, in a sentence; "" where nothing was."""
        if not self.damages:
            return ""
        told = "; ".join(
            f"{how} " + ", ".join(f"{value:.3g}" for value in values)
            for how, values in self.damages.items()
        )
        return (
            f"Correction of quantized layers: {self.how}. Divergence ({unit}) on {self.samples:,} "
            f"held-out calibration samples at uniform {' and '.join(map(str, WIDTHS))} bits: "
            f"{told}."
        )


def usual_correction(model: QuantizedModel) -> tuple[str, tuple[str, ...]]:
    """What a network gets unless another correction is measured to be better, and the others."""
    if not any(layer.normed for layer in model.layers.values()):
        return OFF, (PARALLEL,)
    everywhere = matched_layers(model, NORMED) == set(model.layers)
    return SEQUENTIAL if everywhere else NORMED, (PARALLEL, OFF)


def tried_widths(samples: int) -> tuple[int, ...]:
    """Widths at which corrections are tried on so many samples; none where they are too few."""
    return WIDTHS if samples // 2 >= LEAST else ()


def choose_correction(
    model: QuantizedModel,
    batches: Sequence[tuple[Tree, Tensor | None]],
    judge: Judge = CLASSES,
) -> Choice:
    """Measure every correction on samples it was not made from, and choose.

    Args:
        model: Calibrated; left in float.
        batches: Calibration samples: corrections are made from the first half, of at most 256, and
            measured on the second. No sample of the search split is looked at.
        judge: Whose divergence is compared.
    """
    usual, others = usual_correction(model)
    tried = (usual, *others)
    samples = sum(count(x) for x, _ in batches)
    half = min(MOST, samples // 2)
    if not tried_widths(samples):
        return Choice(usual, {})
    taken = join([x for x, _ in first_images(batches, 2 * half)])
    size = max(1, count(batches[0][0]))
    made, held = (
        [part(taken, slice(at, min(at + size, end))) for at in range(start, end, size)]
        for start, end in ((0, half), (half, 2 * half))
    )
    damages = {how: _damages(model, made, held, judge, how) for how in tried}
    scale = damages[usual].mean(1, keepdim=True).clamp_min(1e-12)
    best, least = usual, 0.0
    for how in tried:
        # relative, so that no width outweighs another
        change = ((damages[how] - damages[usual]) / scale).mean(0)
        mean, error = float(change.mean()), float(change.std() / math.sqrt(half))
        if mean + 1.96 * error < 0 and mean < least:
            best, least = how, mean
    told = {how: tuple(values.mean(1).tolist()) for how, values in damages.items()}
    return Choice(best, told, half)


def _damages(
    model: QuantizedModel, made: Sequence[Tree], held: Sequence[Tree], judge: Judge, how: str
) -> Tensor:
    """Divergence of each held-out sample at each of WIDTHS, (widths, n)."""
    correction = Correction(model, made, how)
    model.set_allocation(float_allocation(model))
    with torch.inference_mode():
        wanted = [judge.read(model(x), x) for x in held]
        rows = []
        for bits in WIDTHS:
            model.set_allocation(BitAllocation.uniform(model.spec.layers, bits))
            correction.apply()
            found = [
                judge.divergence(judge.read(model(x), x), answers)
                for x, answers in zip(held, wanted, strict=True)
            ]
            rows.append(torch.cat(found).double().cpu())
    model.set_allocation(float_allocation(model))
    return torch.stack(rows)
