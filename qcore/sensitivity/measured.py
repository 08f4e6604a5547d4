"""Sensitivity tables: what quantizing one layer is predicted to cost.

`compute_table` computes any of SENSITIVITIES. All are label-free but "loss" and "hessian", which
use labels where there are any. Measured and gradient scores are taken with each layer corrected
as the model is (mean, and spread where a norm was folded in): it changes the ranking.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from qcore.allocation import FLOAT_BITS, in_order, stored_bits
from qcore.errors import InvalidParams
from qcore.problem import SensitivityTable
from qcore.ptq.calibration import float_allocation, layer_correction
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.ptq.parallel import counted_positions
from qcore.scoring.evaluator import Evaluator
from qcore.sensitivity.input_ranges import input_ranges
from qcore.sensitivity.kinds import SENSITIVITIES, Step
from qcore.sensitivity.output_error import output_errors
from qcore.sensitivity.prefix import PrefixReplay
from qcore.sensitivity.zero_codes import zero_shares
from qcore.trees import count
from qcore.widths import takes_gain

Rows = dict[str, dict[int, float]]

MEASURED_UP_TO = 4
"""Widest weights whose divergence is measured. What wider ones do is small, so that it grows with
the square of the error in the layer's output, and is known from that of these."""

MEASURED_IMAGES = 256
"""Images behind a measured table: a mean divergence settles long before an accuracy does."""


def choices(weight_bits: Iterable[int], activation_bits: Iterable[int]) -> list[tuple[str, int]]:
    """("weight", bits) and ("activation", bits) worth scoring: every width but float."""
    parts = [("weight", b) for b in sorted(set(weight_bits)) if b != FLOAT_BITS]
    return parts + [("activation", b) for b in sorted(set(activation_bits)) if b != FLOAT_BITS]


def weight_mse_table(
    evaluator: Evaluator,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """Sum of squared weight errors per layer; activations by their inputs' mean squared error.

    Needs no image; a preview, and the weakest score in most comparisons.
    """
    started = time.perf_counter()
    model = evaluator.model
    weight: Rows = {name: {} for name in model.layers}
    activation: Rows = {name: {} for name in model.layers} if set(activation_bits) - {32} else {}
    for name, layer in model.layers.items():
        for part, bits in choices(weight_bits, activation_bits):
            if part == "weight":
                error = model.prepared_weight(name, bits) - layer.weight
                weight[name][bits] = float(error.square().sum())
            else:
                histogram, grid = model.histograms[name], model.activation_grid(name, bits)
                x, counts = histogram.centres, histogram.counts
                error = (grid.quantize(x) - x).square() if grid else torch.zeros_like(x)
                activation[name][bits] = float((error * counts).sum() / counts.sum().clamp_min(1))
    seconds = time.perf_counter() - started
    return SensitivityTable("weight_mse", "squared weight", weight, activation, seconds=seconds)


def set_corrected(
    model: QuantizedModel,
    layer: QuantizedLayer,
    part: str,
    bits: int,
    targets: Sequence[Tensor],
    masks: Sequence[Tensor] = (),
) -> None:
    """Quantize one part of one layer and let its next calls correct themselves to targets.

    They are corrected as the model is, which may be not at all.

    Args:
        model: The model, all else in float.
        layer: The layer.
        part: "weight" or "activation".
        bits: Bit-width of that part.
        targets: The layer's float outputs on the images that the next forward pass sees, one a
            call; further calls take the last.
        masks: What counts of those images, as `counted_positions` gives it.
    """
    moments = [layer.channel_moments(target, masks) for target in targets]

    def correct(this: QuantizedLayer, output: Tensor) -> Tensor:
        target = moments.pop(0) if len(moments) > 1 else moments[0]
        seen = this.channel_moments(output, masks)
        gain, shift = layer_correction(model, this, target, seen, gains=this.gains)
        moved = this.per_channel(shift, output)
        if gain is None:
            return output + moved
        return torch.addcmul(moved, output, this.per_channel(gain, output))

    weight = model.prepared_weight(layer.name, bits if part == "weight" else FLOAT_BITS)
    grid = model.activation_grid(layer.name, bits if part == "activation" else FLOAT_BITS)
    layer.set_bits(weight, grid, scaleless=part == "weight" and not takes_gain(bits))
    layer.watch = correct


def release(model: QuantizedModel, layer: QuantizedLayer) -> None:
    """Put one layer back into float."""
    layer.watch = None
    layer.set_bits(model.prepared_weight(layer.name, FLOAT_BITS), None)


def measured_table(
    kind: str,
    evaluator: Evaluator,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """Measured damage of quantizing one layer at a time, everything else in float.

    Kind "kl": divergence from the float outputs, in the judge's unit. Kind "loss": increase of the
    loss on the labels; may be negative. On the first MEASURED_IMAGES calibration samples, with
    every layer's prefix replayed, not recomputed. Of "kl", weights wider than MEASURED_UP_TO bits
    have what those of that width do, times the ratio of the squared errors of the layer's output;
    they are named in `derived`.

    Raises:
        InvalidParams: kind "loss" on samples without labels.
    """
    started = time.perf_counter()
    model, judge = evaluator.model, evaluator.judge
    model.set_allocation(float_allocation(model))
    quantized = sorted(set(weight_bits) - {FLOAT_BITS})
    wider = [bits for bits in quantized if stored_bits(bits) > MEASURED_UP_TO]
    if kind != "kl" or MEASURED_UP_TO not in weight_bits:
        wider = []
    parts = choices(set(weight_bits) - set(wider), activation_bits)
    sums = {name: dict.fromkeys(parts, 0.0) for name in model.layers}
    n = 0
    batches = evaluator.unseen(MEASURED_IMAGES)
    for number, (x, y) in enumerate(batches):
        if kind == "loss" and y is None:
            raise InvalidParams("These samples have no labels: use the 'kl' sensitivity instead.")
        n += count(x)
        replay, masks = PrefixReplay(model, x), counted_positions(x)
        wanted = judge.read(replay.answers, x)
        base = None if kind == "kl" or y is None else judge.loss(wanted, y)
        for index, (name, layer) in enumerate(model.layers.items()):
            on_step(number * len(sums) + index, len(batches) * len(sums))
            for part, bits in parts:
                set_corrected(model, layer, part, bits, replay.outputs[name], masks)
                seen = judge.read(replay.run_from(name), x)
                if kind == "kl":
                    damage = judge.divergence(seen, wanted)
                else:
                    loss = None if y is None else judge.loss(seen, y)
                    if loss is None or base is None:
                        raise InvalidParams(
                            f"The judge {judge.name!r} takes no loss from these labels: use the "
                            "'kl' sensitivity instead."
                        )
                    damage = loss - base
                sums[name][part, bits] += float(damage.sum())
            release(model, layer)
    weight: Rows = {name: {} for name in model.layers}
    activation: Rows = {name: {} for name in model.layers} if set(activation_bits) - {32} else {}
    for name, row in sums.items():
        for (part, bits), total in row.items():
            (weight if part == "weight" else activation)[name][bits] = total / n
    inputs = [x for x, _ in batches]
    errors = output_errors(model, inputs, (MEASURED_UP_TO, *wider)) if wider else {}
    for name, measured in weight.items():
        known = errors.get((name, MEASURED_UP_TO), 0.0)
        for bits in wider:
            share = errors[name, bits] / known if known else 0.0
            measured[bits] = share * measured[MEASURED_UP_TO]
    seconds = time.perf_counter() - started
    derived = tuple(in_order(wider))
    return SensitivityTable(
        kind, judge.unit, weight, activation, n=n, seconds=seconds, derived=derived
    )


def kl_table(
    evaluator: Evaluator,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """Measured divergence of one layer at a time; see `measured_table`."""
    return measured_table("kl", evaluator, weight_bits, activation_bits, on_step)


def loss_table(
    evaluator: Evaluator,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """Measured increase of the loss of one layer at a time; see `measured_table`."""
    return measured_table("loss", evaluator, weight_bits, activation_bits, on_step)


def compute_table(
    kind: str,
    evaluator: Evaluator,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """Compute one table of SENSITIVITIES, leaving the evaluator as it was found.

    With it comes what reaches each layer's input (`SensitivityTable.ranges`).

    Args:
        kind: Key of SENSITIVITIES.
        evaluator: The network and its images.
        weight_bits: Widths of weights to score.
        activation_bits: Widths of activations to score.
        on_step: Told of progress, by the measured kinds.

    Raises:
        InvalidParams: unknown kind, or a kind these images cannot give.
    """
    if kind not in SENSITIVITIES:
        raise InvalidParams(f"Unknown sensitivity {kind!r}; known: {', '.join(SENSITIVITIES)}.")
    module, _, name = SENSITIVITIES[kind].place.rpartition(".")
    # only now, for the file that holds it may import this one
    compute: Any = getattr(import_module(f"qcore.sensitivity.{module}"), name)
    try:
        table: SensitivityTable = compute(evaluator, weight_bits, activation_bits, on_step)
        zeros = zero_shares(evaluator.model, weight_bits)
        return replace(table, ranges=input_ranges(evaluator.model, activation_bits), zeros=zeros)
    finally:
        evaluator.forget()
