"""The gradient sensitivity: one forward and a few backward passes give the whole table.

With g the gradient of -log p(c | x) at a layer's output, c drawn from the float network's own
prediction, and d the change that quantizing the layer makes to that output, the Fisher form of the
KL divergence is 1/2 E[(g . d)^2], the product taken over all values of a sample. Other judges have
probes of their own whose second moment is their curvature. The projections a = g . d are kept per
sample: their Gram matrix holds every pairwise interaction of layers for nothing, in the sense of
CLADO (Deng et al. 2023) but without its quadratically many evaluations, and its diagonal is each
layer's own score. (`gradient_elementwise` drops what the values of a sample do to one another,
which is most of it where all tokens have one gradient.)
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS
from qcore.network.operation import Operation
from qcore.problem import SensitivityTable
from qcore.ptq.calibration import float_allocation, layer_correction
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.ptq.parallel import counted_positions
from qcore.ptq.tuning import samples_at_once
from qcore.sensitivity.kinds import Step
from qcore.trees import Tree, count, laid_out, pieces
from qcore.widths import takes_gain

if TYPE_CHECKING:
    from qcore.judges import Judge
    from qcore.scoring.evaluator import Evaluator

PROBES = 4
IMAGES = 512

KEPT = 24 + 4 * PROBES
"""Bytes kept for each number that a layer puts out: what a gradient needs, and those of probes."""


class _Tap:
    """Records input and output of every call of a layer in one float pass that autograd follows."""

    def __init__(self, model: QuantizedModel, batch: Tree, judge: "Judge") -> None:
        self.calls: list[tuple[str, Tensor, Tensor, Operation]] = []
        self.judge = judge

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            layer: Any = module
            if not output.requires_grad:  # it does not depend on the images
                output = output.detach().requires_grad_(True)
            self.calls.append((layer.name, inputs[0].detach(), output, layer.operation))
            # later in-place operations must not touch the recorded tensor
            return output.clone()

        handles = [layer.register_forward_hook(hook) for layer in model.layers.values()]
        try:
            with torch.enable_grad():
                self.answers = judge.read(model(_followed(batch)), batch)
        finally:
            for handle in handles:
                handle.remove()

    def gradients(self, generator: torch.Generator) -> list[Tensor]:
        """d(probe)/d(output) of every call of a layer."""
        with torch.enable_grad():
            loss = self.judge.probe(self.answers, generator)
        outputs = [output for _, _, output, _ in self.calls]
        return list(torch.autograd.grad(loss, outputs, retain_graph=True, materialize_grads=True))


def _followed(batch: Tree) -> Tree:
    """The inputs, with a gradient where they are numbers and not ids."""
    if isinstance(batch, Tensor):
        return batch.clone().requires_grad_(True) if batch.is_floating_point() else batch
    return {
        name: t.clone().requires_grad_(True) if t.is_floating_point() else t
        for name, t in batch.items()
    }


@torch.no_grad()
def output_change(
    model: QuantizedModel,
    layer: QuantizedLayer,
    part: str,
    bits: int,
    x: Tensor,
    y: Tensor,
    masks: Sequence[Tensor] = (),
    operation: Operation | None = None,
) -> Tensor:
    """Change of a layer's output when one part of it is quantized and then corrected.

    Args:
        model: Says how it is corrected.
        layer: The layer.
        part: "weight" or "activation".
        bits: Bit-width of that part.
        x: The layer's float input.
        y: Its float output.
        masks: What counts of the batch, as `counted_positions` gives it.
        operation: What the layer computed in this call; None is its own (`readers.Reader`).
    """
    call = (operation or layer.operation).call
    weight = model.prepared_weight(layer.name, bits if part == "weight" else FLOAT_BITS)
    grid = model.activation_grid(layer.name, bits if part == "activation" else FLOAT_BITS)
    if not x.is_floating_point():
        return call(x, weight, None) - y
    seen = call(x if grid is None else grid.quantize(x), weight, None)
    moments = layer.channel_moments(y, masks), layer.channel_moments(seen, masks)
    # floats of 16 bits have no scale that a gain could go into
    scaled = part != "weight" or takes_gain(bits)
    gain, shift = layer_correction(model, layer, *moments, gains=layer.normed and scaled)
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


@dataclass(frozen=True)
class Batch:
    """What one batch of samples gives: gradients, and the changes they are multiplied with.

    Attributes:
        size: Samples.
        changes: (row of the table, gradients of each probe, change of a layer's output), one for
            each call of a layer and each width; computed as it is asked for.
    """

    size: int
    changes: Iterator[tuple[int, list[Tensor], Tensor]]


def index_of(
    model: QuantizedModel, weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> tuple[tuple[str, str, int], ...]:
    """(layer, "weight" or "activation", bits) of every row: the rows of a layer are adjacent."""
    parts = [("weight", b) for b in sorted(set(weight_bits) - {FLOAT_BITS})]
    parts += [("activation", b) for b in sorted(set(activation_bits) - {FLOAT_BITS})]
    return tuple((name, part, bits) for name in model.layers for part, bits in parts)


def batches_of(evaluator: "Evaluator", index: Sequence[tuple[str, str, int]]) -> Iterator[Batch]:
    """Gradients and changes on the first IMAGES samples that no rounding saw, PROBES probes each.

    Args:
        evaluator: The network and its samples; left in float.
        index: Rows that are wanted, as `index_of` gives them.
    """
    model = evaluator.model
    model.set_allocation(float_allocation(model))
    rows: dict[str, list[tuple[int, str, int]]] = {name: [] for name in model.layers}
    for row, (name, part, bits) in enumerate(index):
        rows[name].append((row, part, bits))
    generator = torch.Generator().manual_seed(0)
    # half of what tuning takes: a search holds answers and prepared weights beside it
    most = samples_at_once(sum(layer.outputs for layer in model.spec.layers), 2 * KEPT)
    for batch, _ in evaluator.unseen(IMAGES):
        parts = -(-count(batch) // most)
        for x in pieces(batch, parts) if parts > 1 else (batch,):
            # made as it is asked for, and gone when it was: never two batches at a time
            yield Batch(count(x), _changes(model, evaluator.judge, laid_out(x), rows, generator))


def _changes(
    model: QuantizedModel,
    judge: "Judge",
    x: Tree,
    rows: Mapping[str, Sequence[tuple[int, str, int]]],
    generator: torch.Generator,
) -> Iterator[tuple[int, list[Tensor], Tensor]]:
    """A batch's `changes`: one pass that autograd follows, and PROBES probes of it."""
    tap = _Tap(model, x, judge)
    probes = [tap.gradients(generator) for _ in range(PROBES)]
    masks = counted_positions(x)
    for position, (name, inputs, output, operation) in enumerate(tap.calls):
        gradients, y = [p[position] for p in probes], output.detach()
        for row, part, bits in rows[name]:
            layer = model.layers[name]
            change = output_change(model, layer, part, bits, inputs, y, masks, operation)
            yield row, gradients, change


def rows_of(
    index: Sequence[tuple[str, str, int]], scores: Iterable[float]
) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, float]]]:
    """Scores of the rows of an index as the `weight` and `activation` rows of a table."""
    tables: dict[str, dict[str, dict[int, float]]] = {"weight": {}, "activation": {}}
    for (name, part, bits), value in zip(index, scores, strict=True):
        tables[part].setdefault(name, {})[bits] = float(value)
    return tables["weight"], tables["activation"]


def gradient_table(
    evaluator: "Evaluator",
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """Fisher scores and the Gram matrix of per-sample projections, whose diagonal they are.

    A layer that runs several times has the sum over its calls.

    Returns:
        Table of kind "gradient", in the judge's unit; `pairs` is (rows, rows) with
        ||selected rows||^2 = 1/2 E[(sum of g . d)^2], rows as `pair_index` says.
    """
    started = time.perf_counter()
    index = index_of(evaluator.model, weight_bits, activation_bits)
    gram = torch.zeros(len(index), len(index), dtype=torch.float64)
    n = 0
    for batch in batches_of(evaluator, index):
        n += batch.size
        rows = torch.zeros(len(index), PROBES, batch.size, device=evaluator.device)
        for row, gradients, change in batch.changes:
            for probe, gradient in enumerate(gradients):
                rows[row, probe] += per_sample(gradient * change, batch.size)
        projections = rows.flatten(1).double().cpu()
        gram += projections @ projections.T
    gram /= 2 * n * PROBES
    weight, activation = rows_of(index, gram.diagonal().tolist())
    return SensitivityTable(
        "gradient",
        evaluator.judge.unit,
        weight,
        activation,
        pairs=gram.numpy(),
        pair_index=index,
        n=n,
        seconds=time.perf_counter() - started,
    )
