"""Which differences between methods are more than chance, on the same test images. Pure functions.

Points were chosen on the search split; test images only judge them. Words follow p-values that are
corrected for the number of comparisons shown (Holm), and intervals are as wide as that asks for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pages.compare.bootstrap import LEVEL, paired_bootstrap
from pages.compare.methods import Method, pick
from pages.shared.columns import ACTIVATION_BITS, TEST_SCORE, column_of
from pages.shared.text import activations_text, cost_text, significant
from qcore.costs.formulas import CostModel
from qcore.paired import compare, holm
from qcore.problem import Z95, wilson_interval
from qcore.searches import SEARCHES

NEAR = 0.05
"""A side is held against another only where it uses all of the budget but this share, at most."""

LIKE_BITS = 0.5
"""Mean activation bits that differ by more are told in words."""

Right = Callable[[Sequence[int]], Mapping[int, np.ndarray]]
"""Point numbers to which test images each named right."""

Answers = Sequence[np.ndarray]
"""Per seed of a method, bool (n,): which test images its point named right; or as `read.right_of`
gives samples with a number each."""

PAIRED_COLUMNS = (
    "Difference, points",
    "Interval, points",
    "p, corrected",
    "In words",
    "Uses",
    "Baseline uses",
    "Activations, mean bits",
    "Baseline activations, mean bits",
    "Test accuracy, %",
    "Baseline, %",
    "Test images",
)


@dataclass(frozen=True)
class Side:
    """What a method has at a budget: per run the point chosen on the search split.

    Attributes:
        label: The method.
        trained: Whether its weights were.
        rows: One row of each run's; empty unless every run has a tested point.
        missing: Why it cannot be held against another; "" where it can.
        alone: Whether it is one seed of a search that finds something else with another.
    """

    label: str
    trained: bool
    rows: pd.DataFrame
    missing: str
    alone: bool = False

    @property
    def activations(self) -> float:
        """Mean activation bits of its points."""
        return float(self.rows[ACTIVATION_BITS].mean())

    @property
    def points(self) -> list[int]:
        """Numbers of its points."""
        return [int(point) for point in self.rows["point"]] if len(self.rows) else []


def side_of(method: Method, cost: CostModel, budget: float) -> Side:
    """A method's side of a comparison at a budget.

    Of each run the best point by its objective among those the test split has seen.
    """
    found = []
    for trial in method.trials:
        rows = trial.rows[trial.rows[TEST_SCORE].notna()]
        best = pick(rows, cost, budget) if len(rows) else None
        if best is not None:
            found.append(best)
    rows = pd.DataFrame(found)
    missing = ""
    if len(found) < len(method.trials):
        missing = f"{method.label}: not every run has a tested point here"
    elif (least := float(rows[column_of(cost)].min())) < (1 - NEAR) * budget:
        below = significant(100 * (1 - least / budget), 2)
        at = cost_text(cost, least)
        missing = f"{method.label}: tested at {at}, {below} % below the budget"
    search = SEARCHES.get(method.trials[0].run.spec.search)
    alone = len(method.trials) == 1 and (search is None or search.chance)
    return Side(method.label, method.trained, rows, missing, alone)


def paired_table(
    methods: Sequence[Method],
    baseline: str,
    cost: CostModel,
    budgets: Sequence[float],
    right: Right,
) -> pd.DataFrame:
    """Every method against one, at every budget, on the same test images; empty cells are None.

    A difference is taken only where both sides use all but NEAR of the budget: else it is that of
    the sizes. With one seed a side the p-value is that of the exact McNemar test, with more that of
    the paired bootstrap; all are corrected for the number of comparisons in the table.

    Args:
        methods: What is compared.
        baseline: Label of the method the others are held against.
        cost: The cost that is limited.
        budgets: Limits, in the cost's unit.
        right: Reads which test images points named right.

    Returns:
        Columns: Method, Budget, "Difference, points" (percent points by which the method is more
        accurate than the baseline), its interval that holds for all comparisons together at 95 %,
        "p, corrected", "In words", what of the cost and which mean activation bits both sides
        really use, accuracy of both on the test split (percent, mean over seeds, with its 95 %
        interval), "Test images".

    Raises:
        InvalidData: the points were tested on different numbers of images.
    """
    other = next(method for method in methods if method.label == baseline)
    asked = [(m, budget) for m in methods if m.label != baseline for budget in budgets]
    pairs = [(side_of(other, cost, budget), side_of(m, cost, budget)) for m, budget in asked]
    answers = right([point for pair in pairs for side in pair for point in side.points])
    told = [_answers(pair, answers) for pair in pairs]
    counted = [at for at, sides in enumerate(told) if not isinstance(sides, str)]
    verdicts = dict(zip(counted, judged([told[at] for at in counted]), strict=True))  # type: ignore[misc]
    rows = []
    for at, ((method, budget), pair) in enumerate(zip(asked, pairs, strict=True)):
        row: dict[str, object] = {
            "Method": method.label,
            "Budget": f"at most {cost_text(cost, budget)}",
            **_used(pair, cost),
        }
        sides = told[at]
        row |= {"In words": sides} if isinstance(sides, str) else _cells(pair, sides, verdicts[at])
        rows.append(row)
    return pd.DataFrame(rows, columns=["Method", "Budget", *PAIRED_COLUMNS])


def _answers(
    pair: tuple[Side, Side], answers: Mapping[int, np.ndarray]
) -> tuple[Answers, Answers] | str:
    """Both sides' answers, or why they cannot be compared."""
    missing = next((side.missing for side in pair if side.missing), "")
    if missing:
        return missing
    a, b = ([answers[point] for point in side.points if point in answers] for side in pair)
    if len(a) < len(pair[0].points) or len(b) < len(pair[1].points):
        return "an older release kept no answers; measure again"
    return a, b


@dataclass(frozen=True, slots=True)
class Verdict:
    """A difference among several, b minus a, percent points.

    Attributes:
        points: The difference.
        low: Lower end of its interval, as wide as the number of comparisons asks for.
        high: Upper end.
        p: Corrected p-value.
        n: Test images.
    """

    points: float
    low: float
    high: float
    p: float
    n: int

    @property
    def told_apart(self) -> bool:
        """Whether it is more than chance at 95 %, all comparisons together."""
        return self.p < 1 - LEVEL

    def words(self, a: str, b: str) -> str:
        """Say so for two named sides."""
        if not self.told_apart:
            return "cannot be told apart"
        return f"{b if self.points > 0 else a} is more accurate"


def judged(pairs: Sequence[tuple[Answers, Answers]]) -> list[Verdict]:
    """Judge several comparisons together.

    Args:
        pairs: Per comparison both sides' answers.

    Raises:
        InvalidData: the sides of a comparison have different numbers of images.
    """
    raw = [_p_value(a, b) for a, b in pairs]
    corrected = holm(raw)
    # what Holm's method no longer rejects is held to the level at which it stopped
    passed = sum(p < 1 - LEVEL for p in corrected)
    ranks = {at: rank for rank, at in enumerate(sorted(range(len(raw)), key=lambda at: raw[at]))}
    verdicts = []
    for at, (a, b) in enumerate(pairs):
        share = (1 - LEVEL) / (len(pairs) - min(ranks[at], passed, len(pairs) - 1))
        found = paired_bootstrap(a, b, level=1 - share)
        verdicts.append(Verdict(found.points, found.low, found.high, corrected[at], found.n))
    return verdicts


def _p_value(a: Answers, b: Answers) -> float:
    if len(a) == len(b) == 1 and len(a[0]) == len(b[0]):
        return compare(a[0], b[0]).p_value
    return paired_bootstrap(a, b).p_value


def _used(pair: tuple[Side, Side], cost: CostModel) -> dict[str, str]:
    heads = (
        ("Baseline uses", "Baseline activations, mean bits"),
        ("Uses", "Activations, mean bits"),
    )
    cells = {}
    for side, (uses, bits) in zip(pair, heads, strict=True):
        if len(side.rows):
            ends = (side.rows[column_of(cost)].min(), side.rows[column_of(cost)].max())
            cells[uses] = " to ".join(dict.fromkeys(cost_text(cost, float(end)) for end in ends))
            widths = side.rows[ACTIVATION_BITS]
            cells[bits] = activations_text(float(widths.min()), float(widths.max()))
    return cells


def _cells(
    pair: tuple[Side, Side], sides: tuple[Answers, Answers], found: Verdict
) -> dict[str, object]:
    labels = [_told(side, other) for side, other in (pair, pair[::-1])]
    return {
        "Difference, points": round(found.points, 2),
        "Interval, points": f"{found.low:+.2f} to {found.high:+.2f}",
        "p, corrected": p_words(found.p),
        "In words": found.words(*labels),
        "Test accuracy, %": _accuracy(sides[1]),
        "Baseline, %": _accuracy(sides[0]),
        "Test images": found.n,
    }


def _told(side: Side, other: Side) -> str:
    """A side's name, with what it has and the other has not besides its weight bits."""
    more = ["one seed"] if side.alone else []
    more += ["trained"] if side.trained and not other.trained else []
    if side.activations > other.activations + LIKE_BITS:
        more.append(f"activations of {activations_text(side.activations)} bits")
    return f"{side.label} ({', '.join(more)})" if more else side.label


def p_words(p: float, *, sign: bool = False) -> str:
    """Write a p-value: "0.034", "below 0.001"; in a sentence with a sign: "= 0.034"."""
    if p < 0.001:
        return "below 0.001"
    return f"{'= ' if sign else ''}{p:.3f}"


def _accuracy(side: Answers) -> str:
    share = float(np.mean([right.mean() for right in side]))
    low, high = wilson_interval(share, len(side[0])) if side[0].dtype == bool else _mean(side)
    return f"{100 * share:.2f} ({100 * low:.1f} to {100 * high:.1f})"


def _mean(side: Answers) -> tuple[float, float]:
    """95 % interval of the mean of samples that have a number each, seeds averaged."""
    scores = np.mean(np.asarray(side, float), axis=0)
    half = Z95 * float(scores.std(ddof=1)) / len(scores) ** 0.5 if len(scores) > 1 else 0.0
    return float(scores.mean()) - half, float(scores.mean()) + half
