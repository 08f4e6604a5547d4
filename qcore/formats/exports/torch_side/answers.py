"""What a network answers to a sample, and how alike two answers are, in its judge's words.

A network may take one tensor or several, and return a tensor or several under names or in order. A
file gives its outputs as a list of arrays, in the order of the network's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qcore.formats.config import BitConfig
from qcore.judges import CLASSES, Judge, read_judge
from qcore.trees import Tree, call, count, leaves, part

RUN_BATCH = 32


@torch.no_grad()
def answers_of(network: nn.Module, sample: Tree) -> Any:
    """What a network returns for a sample (n, ...), run in batches and put together."""
    found = [call(network, part(sample, slice(at, at + RUN_BATCH))) for at in _starts(sample)]
    return _joined(found)


def _starts(sample: Tree) -> range:
    return range(0, count(sample), RUN_BATCH)


def _joined(pieces: Sequence[Any]) -> Any:
    first = pieces[0]
    if isinstance(first, Tensor):
        return torch.cat(list(pieces)).float()
    if isinstance(first, Mapping):
        names = [name for name, value in first.items() if _holds_tensors(value)]
        return {name: _joined([piece[name] for piece in pieces]) for name in names}
    return tuple(_joined(list(each)) for each in zip(*pieces, strict=True))


def _holds_tensors(value: Any) -> bool:
    return next(leaves(value), None) is not None


def like(answers: Any, arrays: Sequence[np.ndarray]) -> Any:
    """A file's outputs in the form of a network's answers, in whose order they come."""
    waiting = iter(arrays)

    def placed(value: Any) -> Any:
        if isinstance(value, Tensor):
            return torch.from_numpy(np.array(next(waiting))).float()
        if isinstance(value, Mapping):
            return {name: placed(each) for name, each in value.items()}
        return tuple(placed(each) for each in value)

    return placed(answers)


def judge_of(config: BitConfig) -> Judge:
    """The judge that a configuration was measured with."""
    return read_judge(config.provenance.get("judge"))


def agreement(judge: Judge, sample: Tree, wanted: Any, got: Any) -> dict[str, Any]:
    """How alike the answers of two networks to a sample (n, ...) are.

    Returns:
        "max_abs_diff" and "median_abs_diff" over all outputs (in their own units), "logit_range"
        (largest minus smallest wanted number, to judge the two by), "n" (samples), and what the
        judge says: "argmax_agreement" (0..1) for classes; else "divergence" (mean) with
        "divergence_unit", "likeness" (mean) with "likeness_name" and "likeness_unit".
    """
    ours, theirs = (
        torch.cat([leaf.detach().double().reshape(-1) for leaf in leaves(answers)])
        for answers in (wanted, got)
    )
    difference = (ours - theirs).abs()
    return {
        "max_abs_diff": float(difference.max()),
        "median_abs_diff": float(difference.median()),
        "logit_range": float(ours.max() - ours.min()),
        **_judged(judge, sample, wanted, got),
        "n": count(sample),
    }


def _judged(judge: Judge, sample: Tree, wanted: Any, got: Any) -> dict[str, Any]:
    aim, seen = judge.read(wanted, sample), judge.read(got, sample)
    likeness = float(judge.matched(judge.matches(seen, aim)).double().mean())
    if judge.name == CLASSES.name:
        return {"argmax_agreement": likeness}
    return {
        "divergence": max(0.0, float(judge.divergence(seen, aim).double().mean())),
        "divergence_unit": judge.unit,
        "likeness": likeness,
        "likeness_name": judge.match.name,
        "likeness_unit": judge.match.unit,
    }
