"""What a network's answers come to, as a judge sees them."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from qcore.errors import InvalidData
from qcore.judges import Judge
from qcore.problem import Scores
from qcore.trees import Tree, call, count

Batch = tuple[Tree, Tensor | None]
"""Inputs of a network, and labels or None."""


def tally(
    judge: Judge,
    batches: Sequence[Batch],
    answers: Iterable[Tree],
    reference: Sequence[Tree],
    right: list[Tensor] | None = None,
) -> Scores:
    """Scores of a network's answers.

    Args:
        judge: How they are compared.
        batches: Samples with their labels, or None.
        answers: What the judge read of the network's outputs, batch by batch.
        reference: The float network's, the same.
        right: Gets one tensor (n,): each sample's score, or its likeness to the float network where
            there are no labels; bool where samples are right or wrong.

    Raises:
        InvalidData: an answer is NaN.
    """
    n, kl, squares, loss = 0, 0.0, 0.0, 0.0
    losses = labelled = True
    matches: list[Tensor] = []
    marks: list[Tensor] = []
    float_marks: list[Tensor] = []
    for (x, y), seen, wanted in zip(batches, answers, reference, strict=True):
        n += count(x)
        divergence = judge.divergence(seen, wanted)
        kl += float(divergence.sum())
        squares += float(divergence.square().sum())
        matches.append(judge.matches(seen, wanted))
        if y is None:
            labelled = False
            continue
        marks.append(judge.marks(seen, y))
        float_marks.append(judge.marks(wanted, y))
        cost = judge.loss(seen, y)
        losses = losses and cost is not None
        loss += 0.0 if cost is None else float(cost.sum())
    if kl != kl:
        raise InvalidData(
            "The network's outputs are NaN on these samples; check the data and its weights."
        )
    alike = _kept(judge.matched(torch.cat(matches)))
    score = _kept(judge.marked(torch.cat(marks))) if labelled else alike
    expected = _kept(judge.marked(torch.cat(float_marks))) if labelled else None
    if right is not None:
        right.append(score)
    common = {
        "n": n,
        # rounding can leave a divergence of -1e-9 where the networks agree
        "kl": max(0.0, kl / n),
        "agreement": float(alike.double().mean()),
        "accuracy": float(score.double().mean()) if labelled else None,
        "loss": loss / n if labelled and losses else None,
        "kl_error": math.sqrt(max(0.0, squares / n - (kl / n) ** 2) / n),
    }
    if judge.hits:
        were = torch.ones_like(score) if expected is None else expected
        lost, gained = int((were & ~score).sum()), int((score & ~were).sum())
        return Scores(**common, lost=lost, gained=gained)  # type: ignore[arg-type]
    error = _error(score)
    if expected is None and not judge.match.share:
        return Scores(**common, score_error=error)  # type: ignore[arg-type]
    change = (1.0 if expected is None else expected.double()) - score.double()
    return Scores(
        **common,  # type: ignore[arg-type]
        score_error=error,
        change=float(change.mean()),
        change_error=_error(change),
    )


def mean_score(
    judge: Judge, network: nn.Module, batches: Sequence[Batch], teacher: nn.Module | None
) -> float | None:
    """Mean of the judge's score on some samples, or of the likeness to a teacher without labels.

    Batches of a single sample are left out, as norms may use their statistics. None where there is
    neither a label nor a teacher, or no batch.
    """
    found = mean_values(judge, network, batches, teacher)
    return None if found is None else found[1]


def mean_values(
    judge: Judge, network: nn.Module, batches: Sequence[Batch], teacher: nn.Module | None
) -> tuple[float, float] | None:
    """Mean loss of some samples and what `mean_score` gives, of the same batches.

    The loss is that on labels; the divergence from the teacher where there are none, or the judge
    takes no loss from them; 0 where there is no teacher either.
    """
    marks: list[Tensor] = []
    matches: list[Tensor] = []
    losses: list[Tensor] = []
    for x, labels in batches:
        if count(x) < 2:
            continue
        y = judge.truth(x, labels)
        seen = judge.read(call(network, x), x)
        loss = None if y is None else judge.loss(seen, y)
        if y is not None:
            marks.append(judge.marks(seen, y))
        if teacher is not None and (y is None or loss is None):
            wanted = judge.read(call(teacher, x), x)
            loss = judge.divergence(seen, wanted)
            if y is None:
                matches.append(judge.matches(seen, wanted))
        if loss is not None:
            losses.append(loss)
    if not marks and not matches:
        return None
    values = judge.marked(torch.cat(marks)) if marks else judge.matched(torch.cat(matches))
    mean = float(torch.cat(losses).double().mean()) if losses else 0.0
    return mean, float(values.double().mean())


def _kept(values: Tensor) -> Tensor:
    return values.detach().cpu()


def _error(values: Tensor) -> float:
    """Standard error of a mean; 0 for a single value, which says nothing of its spread."""
    if len(values) < 2:
        return 0.0
    return float(values.double().std()) / math.sqrt(len(values))


def score_bytes(right: Tensor) -> bytes:
    """Scores sample by sample as they are stored: one bit each where they are right or wrong."""
    if right.dtype == torch.bool:
        return np.packbits(right.numpy()).tobytes()
    return right.numpy().astype("<f4").tobytes()
