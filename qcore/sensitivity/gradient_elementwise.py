"""The gradient sensitivity taken value by value: 1/2 E[sum (g d)^2], kept for comparison.

The form of NVIDIA ModelOpt's auto_quantize, here with true Fisher gradients. It drops the cross
terms between the values of a sample: between tokens and channels of a transformer they are most of
the damage, and in a convolutional network they mostly cancel. `gradient` keeps them.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from qcore.problem import SensitivityTable
from qcore.sensitivity.gradient import PROBES, batches_of, index_of, rows_of
from qcore.sensitivity.kinds import Step

if TYPE_CHECKING:
    from qcore.scoring.evaluator import Evaluator


def elementwise_table(
    evaluator: "Evaluator",
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    on_step: Step = lambda done, total: None,
) -> SensitivityTable:
    """Elementwise Fisher scores; a layer that runs several times has the sum over its calls.

    Returns:
        Table of kind "gradient_elementwise", in the judge's unit, without pairs.
    """
    started = time.perf_counter()
    index = index_of(evaluator.model, weight_bits, activation_bits)
    scores = torch.zeros(len(index), dtype=torch.float64)
    n = 0
    for batch in batches_of(evaluator, index):
        n += batch.size
        for row, gradients, change in batch.changes:
            squares = torch.stack(gradients).square_().sum(0)
            scores[row] += float((squares * change.square()).sum())
    weight, activation = rows_of(index, (scores / (2 * n * PROBES)).tolist())
    unit, seconds = evaluator.judge.unit, time.perf_counter() - started
    return SensitivityTable("gradient_elementwise", unit, weight, activation, n=n, seconds=seconds)
