"""Pairs from measured changes of the answers: each layer quantized alone, sample by sample.

With D the change of the answers that one layer's bits make and H the curvature of the divergence
at the float answers, 1/2 E[D H D] is that layer's damage, and 1/2 E[D H D'] how two of them add up:
the divergence of the summed changes to second order. No gradient goes through the network; H comes
from the judge's probes at the answers, of which many cost next to nothing.
"""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from qcore.problem import SensitivityTable
from qcore.ptq.calibration import float_allocation
from qcore.ptq.parallel import counted_positions
from qcore.scoring.evaluator import Evaluator
from qcore.sensitivity.gradient import index_of, per_sample, rows_of
from qcore.sensitivity.kinds import Step
from qcore.sensitivity.measured import MEASURED_IMAGES, release, set_corrected
from qcore.sensitivity.prefix import PrefixReplay
from qcore.trees import Tree, count, tensors

PROBES = 32


def answer_gradients(evaluator: Evaluator, answers: Tree) -> list[list[Tensor]]:
    """d(probe)/d(answers) of each of PROBES probes, for every tensor of the answers."""
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        if isinstance(answers, Tensor):
            leaves: Tree = answers.detach().clone().requires_grad_(True)
        else:
            leaves = {n: t.detach().clone().requires_grad_(True) for n, t in answers.items()}
        return [
            list(
                torch.autograd.grad(
                    evaluator.judge.probe(leaves, generator),
                    list(tensors(leaves)),
                    materialize_grads=True,
                )
            )
            for _ in range(PROBES)
        ]


def logit_gram_table(
    evaluator: Evaluator,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """Second-order damage of one layer at a time, and of any two, from measured answers.

    On the first 256 calibration samples that no rounding saw, corrected as the model is.

    Returns:
        Table of kind "logit_gram", in the judge's unit; scores are the diagonal of its pairs.
    """
    started = time.perf_counter()
    model, judge = evaluator.model, evaluator.judge
    model.set_allocation(float_allocation(model))
    index = index_of(model, weight_bits, activation_bits)
    gram = torch.zeros(len(index), len(index), dtype=torch.float64)
    n = 0
    batches = evaluator.unseen(MEASURED_IMAGES)
    for number, (x, _) in enumerate(batches):
        size = count(x)
        n += size
        replay, masks = PrefixReplay(model, x), counted_positions(x)
        wanted = judge.read(replay.answers, x)
        probes = answer_gradients(evaluator, wanted)
        rows = torch.zeros(len(index), PROBES, size, dtype=torch.float64)
        for row, (name, part, bits) in enumerate(index):
            on_step(number * len(index) + row, len(batches) * len(index))
            layer = model.layers[name]
            set_corrected(model, layer, part, bits, replay.outputs[name], masks)
            seen = judge.read(replay.run_from(name), x)
            release(model, layer)
            pairs = list(zip(tensors(seen), tensors(wanted), strict=True))
            for probe, gradients in enumerate(probes):
                for (after, before), gradient in zip(pairs, gradients, strict=True):
                    change = per_sample(gradient * (after - before), size)
                    rows[row, probe] += change.double().cpu()
        # a probe's mean is zero for small changes: what is left of it is of higher order
        rows -= rows.mean(1, keepdim=True)
        projections = rows.flatten(1)
        gram += projections @ projections.T
    gram /= 2 * n * (PROBES - 1)
    weight, activation = rows_of(index, gram.diagonal().tolist())
    return SensitivityTable(
        "logit_gram",
        judge.unit,
        weight,
        activation,
        pairs=gram.numpy(),
        pair_index=index,
        n=n,
        seconds=time.perf_counter() - started,
    )
