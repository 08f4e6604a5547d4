"""The gradient sensitivity: one forward and a few backward passes give the whole table.

With g the gradient of -log p(c | x) at a layer's output, c drawn from the float network's own
prediction, and d the change that quantizing the layer makes to that output, the Fisher form of the
KL divergence is 1/2 E[(g . d)^2]. The table's scores take it elementwise, 1/2 E[sum (g d)^2], the
form of NVIDIA ModelOpt's auto_quantize with true Fisher gradients. The projections a = g . d are
kept per sample: their Gram matrix holds every pairwise interaction of layers for nothing, in the
sense of CLADO (Deng et al. 2023) but without its quadratically many evaluations.
"""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.allocation import FLOAT_BITS
from qcore.problem import SensitivityTable
from qcore.ptq.calibration import first_images, float_allocation, gain_and_shift
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel

if TYPE_CHECKING:
    from qcore.scoring.evaluator import Evaluator

PROBES = 4
IMAGES = 512


class _Tap:
    """Records inputs and outputs of every layer in one float pass that autograd follows.

    One entry a call: a recurrent layer is called at every step.
    """

    def __init__(self, model: QuantizedModel, batch: Tensor) -> None:
        self.inputs: dict[str, list[Tensor]] = {name: [] for name in model.layers}
        self.outputs: dict[str, list[Tensor]] = {name: [] for name in model.layers}

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            layer: Any = module
            if not output.requires_grad:  # it does not depend on the images
                output = output.detach().requires_grad_(True)
            self.inputs[layer.name].append(inputs[0].detach())
            self.outputs[layer.name].append(output)
            # later in-place operations must not touch the recorded tensor
            return output.clone()

        handles = [layer.register_forward_hook(hook) for layer in model.layers.values()]
        try:
            with torch.enable_grad():
                self.logits = model(batch.clone().requires_grad_(True))
        finally:
            for handle in handles:
                handle.remove()

    def gradients(self, generator: torch.Generator) -> list[list[Tensor]]:
        """d(-log p(c))/d(output) per layer, call and sample, c sampled from the prediction."""
        logs = functional.log_softmax(self.logits, 1)
        probabilities = logs.detach().exp().cpu()
        drawn = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        loss = functional.nll_loss(logs, drawn.to(logs.device), reduction="sum")
        outputs = [output for calls in self.outputs.values() for output in calls]
        flat = torch.autograd.grad(loss, outputs, retain_graph=True, materialize_grads=True)
        rest = iter(flat)
        return [[next(rest) for _ in calls] for calls in self.outputs.values()]


@torch.no_grad()
def output_change(
    model: QuantizedModel, layer: QuantizedLayer, part: str, bits: int, x: Tensor, y: Tensor
) -> Tensor:
    """Change of a layer's output when one part of it is quantized and then corrected."""
    weight = model.prepared_weight(layer.name, bits if part == "weight" else FLOAT_BITS)
    grid = model.activation_grid(layer.name, bits if part == "activation" else FLOAT_BITS)
    if not x.is_floating_point():
        return layer.operation.call(x, weight, None) - y
    seen = layer.operation.call(x if grid is None else grid.quantize(x), weight, None)
    gain, shift = gain_and_shift(
        layer.channel_moments(y), layer.channel_moments(seen), layer.normed
    )
    if gain is not None:
        seen = seen * layer.per_channel(gain, seen)
    return seen + layer.per_channel(shift, seen) - y


def per_sample(values: Tensor, n: int) -> Tensor:
    """Sum a layer's values for each of n samples, (n,).

    Attention in windows has several rows for each sample, one sample after the other. Where rows
    are no samples (a table of positions, the same for all), each gets 1 / sqrt(n) of the total:
    gradients of samples are independent and zero on average, so the mean square stays right.
    """
    if len(values) % n == 0:
        return values.reshape(n, -1).sum(1)
    return (values.sum() / math.sqrt(n)).expand(n)


def gradient_table(
    evaluator: "Evaluator", weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> SensitivityTable:
    """Elementwise Fisher scores and the Gram matrix of per-sample projections.

    Returns:
        Table of kind "gradient", nats; `pairs` is (rows, rows) with
        ||selected rows||^2 = 1/2 E[(sum of g . d)^2], rows as `pair_index` says.
    """
    started = time.perf_counter()
    model = evaluator.model
    model.set_allocation(float_allocation(model))
    parts = [("weight", b) for b in sorted(set(weight_bits) - {FLOAT_BITS})]
    parts += [("activation", b) for b in sorted(set(activation_bits) - {FLOAT_BITS})]
    index = [(name, part, bits) for name in model.layers for part, bits in parts]
    elementwise = torch.zeros(len(index), dtype=torch.float64)
    gram = torch.zeros(len(index), len(index), dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    n = 0
    for x, _ in first_images(evaluator.calibration, IMAGES):
        n += len(x)
        tap = _Tap(model, x)
        probes = [tap.gradients(generator) for _ in range(PROBES)]
        rows: list[Tensor] = []
        for position, (name, layer) in enumerate(model.layers.items()):
            calls = list(zip(tap.inputs[name], tap.outputs[name], strict=True))
            slopes = [
                torch.stack([p[position][call] for p in probes]) for call in range(len(calls))
            ]
            squares = [slope.square().sum(0) for slope in slopes]
            for part, bits in parts:
                row = torch.zeros(PROBES, len(x), device=x.device)
                for (given, output), slope, square in zip(calls, slopes, squares, strict=True):
                    change = output_change(model, layer, part, bits, given, output.detach())
                    row += torch.stack([per_sample(s * change, len(x)) for s in slope])
                    elementwise[len(rows)] += float((square * change.square()).sum())
                rows.append(row)
        projections = torch.stack(rows).flatten(1).double().cpu()
        gram += projections @ projections.T
    scale = 1 / (2 * n * PROBES)
    tables: dict[str, dict[str, dict[int, float]]] = {"weight": {}, "activation": {}}
    for (name, part, bits), value in zip(index, elementwise.tolist(), strict=True):
        tables[part].setdefault(name, {})[bits] = value * scale
    return SensitivityTable(
        "gradient",
        "nats",
        tables["weight"],
        tables["activation"],
        pairs=(gram * scale).numpy(),
        pair_index=tuple(index),
        n=n,
        seconds=time.perf_counter() - started,
    )
