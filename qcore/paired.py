"""Paired comparison of two networks on the same images: difference, interval, test, promise.

Two networks answer the same images, so only images on which one is right and the other wrong tell
them apart: McNemar's table. Torch-free and pure.

References: McNemar, Psychometrika 12, 1947. Tango, Statistics in Medicine 17, 1998 (score interval
of a paired difference). Holm, Scandinavian Journal of Statistics 6, 1979. Fixed sequence of tests:
Maurer, Hothorn and Lehmacher 1995; Angelopoulos et al., Learn then Test, 2021.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from qcore.front import front_points
from qcore.graded import Graded, graded
from qcore.problem import Z95, Scores

LEVEL = 0.95
"""Confidence of every interval and promise."""

_STEPS = 60


@dataclass(frozen=True, slots=True)
class Paired:
    """How one network answers compared with another, on the same images.

    Attributes:
        n: Images both answered.
        lost: Images the other names right and this one wrong.
        gained: Images this one names right and the other wrong.
        exact: False where only an upper bound of `lost + gained` is known; `lost - gained` is
            exact all the same, and what follows from them is then wider than it need be.
    """

    n: int
    lost: int
    gained: int
    exact: bool = True

    @property
    def points(self) -> float:
        """Accuracy lost against the other network, percent points; negative where it gains."""
        return 100 * (self.lost - self.gained) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `points` (Tango's score interval)."""
        low, high = loss_intervals([self.n], [self.lost], [self.gained])
        return float(low[0]), float(high[0])

    @property
    def upper(self) -> float:
        """The loss in points that it stays below with 95 % confidence, one-sided."""
        return float(loss_bounds([self.n], [self.lost], [self.gained])[0])

    def bound(self, level: float) -> float:
        """The loss in points that it stays below with this confidence, one-sided."""
        return float(loss_bounds([self.n], [self.lost], [self.gained], level)[0])

    @property
    def p_value(self) -> float:
        """Chance of a difference at least as large if neither were better (exact McNemar test)."""
        return mcnemar(self.lost, self.gained)


def against_float(
    scores: Scores, reference: Scores | None = None, factor: float = 100.0
) -> Paired | Graded | None:
    """How a quantized network answers compared with the float network.

    Args:
        scores: Of the quantized network.
        reference: The float network's on the same split. Needed for scores that were stored before
            lost and gained images were counted: at most as many images as the two name differently
            can be lost or gained.
        factor: What a score is multiplied with to be written, see `Measure.factor`; only for judges
            whose samples are not right or wrong.

    Returns:
        The comparison; where images have no labels an image is lost when the two name it
        differently. None where the scores say too little.
    """
    if scores.lost is not None and scores.gained is not None:
        return Paired(scores.n, scores.lost, scores.gained)
    if scores.score_error is not None:
        if scores.change is None or scores.change_error is None:
            return None
        return Graded(scores.n, scores.change, scores.change_error, factor)
    changed = round(scores.n * (1 - scores.agreement))
    if scores.accuracy is None:
        return Paired(scores.n, changed, 0)
    if reference is None or reference.n != scores.n or reference.accuracy is None:
        return None
    net = round(scores.n * (reference.accuracy - scores.accuracy))
    changed = max(changed, abs(net))
    lost = (changed + net + 1) // 2
    return Paired(scores.n, lost, lost - net, exact=False)


def compare(a: np.ndarray, b: np.ndarray, factor: float = 100.0) -> Paired | Graded:
    """How b answers compared with a.

    Args:
        a: Bool (n,): which samples it gets right; or float (n,), the score of each.
        b: The same of the other, on the same samples in the same order.
        factor: What a score is multiplied with to be written; for float scores only.
    """
    if a.dtype != bool:
        return graded(a, b, factor)
    return Paired(len(a), int((a & ~b).sum()), int((b & ~a).sum()))


def loss_intervals(
    n: Sequence[int] | np.ndarray,
    lost: Sequence[int] | np.ndarray,
    gained: Sequence[int] | np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of many losses at once: (low, high), points, float64 (k,) each."""
    count, worse, better = (np.asarray(each, float) for each in (n, lost, gained))
    high = _limit(count, worse, better, Z95, 0.0)
    low = -_limit(count, better, worse, Z95, 0.0)
    return 100 * low, 100 * high


def loss_bounds(
    n: Sequence[int] | np.ndarray,
    lost: Sequence[int] | np.ndarray,
    gained: Sequence[int] | np.ndarray,
    level: float = LEVEL,
) -> np.ndarray:
    """What many losses stay below with this confidence, one-sided; points, float64 (k,).

    Tango's bound with a continuity correction of half an image: without it a network that loses
    no image of n would be promised 2.7 / n, where 3 / n is right.
    """
    count, worse, better = (np.asarray(each, float) for each in (n, lost, gained))
    return 100 * _limit(count, worse, better, one_sided(level), 0.5)


def one_sided(level: float) -> float:
    """Standard deviations that a normal variable stays below with this probability."""
    return NormalDist().inv_cdf(level)


def shared_level(methods: int) -> float:
    """Confidence of each of some promises so that all hold together with 95 % (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(1, methods)


def _limit(
    n: np.ndarray, lost: np.ndarray, gained: np.ndarray, z: float, correction: float
) -> np.ndarray:
    """The largest difference that `z` standard deviations do not rule out, as a share."""
    low, high = (lost - gained) / n, np.ones_like(n)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        a = 2 * n
        b = -lost - gained + (2 * n - lost + gained) * middle
        c = -gained * middle * (1 - middle)
        share = (np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        spread = np.sqrt(np.maximum(n * (2 * share + middle * (1 - middle)), 1e-300))
        inside = (n * middle - (lost - gained) - correction) / spread < z
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return (low + high) / 2


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided p-value of the exact McNemar test: a fair coin for every image that differs."""
    count, fewer = lost + gained, min(lost, gained)
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        for k in range(fewer + 1)
    ]
    tail = sum(math.exp(each - count * math.log(2)) for each in logs)
    return min(1.0, 2 * tail)


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """p-values corrected for their number (Holm's step-down method), in the order given.

    Args:
        p_values: Of the comparisons that are looked at.
        family: Comparisons that could have been looked at; None for as many as are given. Where
            one side is the best of m it is m (m - 1) / 2: which one is best was not known before.
    """
    count = len(p_values) if family is None else family
    corrected, worst = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    for rank, at in enumerate(order):
        worst = max(worst, min(1.0, (count - rank) * p_values[at]))
        corrected[at] = worst
    return corrected


def tied_with_best(losses: Sequence[float], p_values: Sequence[float]) -> list[bool]:
    """Which of several networks cannot be told apart from the best of them.

    Args:
        losses: Loss of each in points; the smallest is the best.
        p_values: Of each against the best; its own is not looked at.

    Returns:
        True for the best and for each whose difference from it is within chance at 95 %, corrected
        for all pairs, as the best was found by the same images.
    """
    if not losses:
        return []
    best = min(range(len(losses)), key=lambda at: losses[at])
    others = [at for at in range(len(losses)) if at != best]
    family = len(losses) * (len(losses) - 1) // 2
    corrected = dict(zip(others, holm([p_values[at] for at in others], family), strict=True))
    return [at == best or corrected[at] > 1 - LEVEL for at in range(len(losses))]


def confirmed(
    costs: Sequence[float], values: Sequence[float], bounds: np.ndarray
) -> tuple[list[int], list[float]]:
    """The order in which a method's points are confirmed, and what each then promises.

    Args:
        costs: The cost that is to be small.
        values: What the search minimised, on its own split.
        bounds: What each point's loss stays below, of `loss_bounds` or in nats; NaN where the test
            images do not say.

    Returns:
        Places of the members of the tested points' front, by falling cost, and the least loss that
        is promised down to each; see `promises`.
    """
    tested = np.flatnonzero(np.isfinite(bounds)).tolist()
    order = front_points([costs[at] for at in tested], [values[at] for at in tested])
    places = [tested[at] for at in reversed(order)]
    reached: list[float] = promises(bounds[places]).tolist()
    return places, reached


def promises(bounds: Sequence[float] | np.ndarray) -> np.ndarray:
    """What the members of a front promise together: running maximum of their bounds.

    The members are tested in a fixed order, from the dearest to the cheapest, and a promise "loses
    at most x" reaches down to the last member before the first whose bound is above x. The order
    was found on other images than those of the bounds, so the chance that any promise of the front
    fails is at most 5 %, however many members there are: a fixed sequence of tests needs no
    further correction.

    Args:
        bounds: Of `loss_bounds`, by falling cost.

    Returns:
        The least x at which the promise holds for each member; float64, rising.
    """
    return np.maximum.accumulate(np.asarray(bounds, float)) if len(bounds) else np.empty(0)
