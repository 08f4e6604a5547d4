"""Which differences between methods are more than chance, on the same test images. Pure functions.

Points were chosen on the search split; test images only judge them. Two questions are kept apart:
whether two networks differ, which images answer alone, and whether one method is better than
another, which seeds have their part in (`qcore.seeds`). Words follow p-values that are corrected
for the number of comparisons shown (Holm), and intervals are as wide as that asks for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pages.compare.bootstrap import LEVEL, Difference, paired_bootstrap
from pages.compare.methods import Method, pick
from pages.shared.columns import ACTIVATION_BITS, TEST_SCORE, column_of
from pages.shared.text import activations_text, cost_text, significant
from qcore.costs.formulas import CostModel
from qcore.paired import compare, holm
from qcore.problem import Z95, wilson_interval
from qcore.searches import SEARCHES
from qcore.seeds import Spread, compare_methods, seed_spread

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
    "Seeds",
    "Seed to seed, points",
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
        chance: Whether its search finds something else with another seed.
    """

    label: str
    trained: bool
    rows: pd.DataFrame
    missing: str
    chance: bool = False

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
    chance = search is None or search.chance
    return Side(method.label, method.trained, rows, missing, chance)


@dataclass(frozen=True)
class Contest:
    """Two sides to be held against each other.

    Attributes:
        a: Answers of one.
        b: Answers of the other.
        pool: How far seeds move a pick; None where no method of the comparison has two seeds.
        chance: Whether either side's search depends on its seed.
    """

    a: Answers
    b: Answers
    pool: Spread | None = None
    chance: tuple[bool, bool] = (False, False)

    @property
    def seeds_count(self) -> bool:
        """Whether seeds have a part in the difference, and it is known how large."""
        return self.pool is not None and any(self.chance)

    @property
    def of_networks(self) -> bool:
        """Whether it says nothing of methods: seeds have a part in it that is not known."""
        return self.pool is None and any(self.chance)

    @property
    def p_value(self) -> float:
        """Chance of a difference as large if neither side were better, not corrected for others.

        Raises:
            InvalidData: the sides have different numbers of images.
        """
        single = len(self.a) == len(self.b) == 1 and not self.seeds_count
        if single and len(self.a[0]) == len(self.b[0]):
            return compare(self.a[0], self.b[0]).p_value
        return self.difference().p_value

    def difference(self, level: float = LEVEL) -> Difference:
        """How much more accurate b is, with its interval.

        Raises:
            InvalidData: the sides have different numbers of images.
        """
        if not self.seeds_count:
            return paired_bootstrap(self.a, self.b, level=level)
        found = compare_methods(self.a, self.b, self.pool, self.chance)
        return Difference(found.points, *found.interval(level), found.n, 0, found.p_value)


def pool_of(sides: Sequence[Side], answers: Mapping[int, np.ndarray]) -> Spread | None:
    """How far seeds move a pick at a budget, from all methods that ran with several there.

    Args:
        sides: What each method has at the budget.
        answers: Point number to which test images it named right.
    """
    several = [
        [answers[point] for point in side.points]
        for side in sides
        if side.chance and not side.missing and all(point in answers for point in side.points)
    ]
    return seed_spread(several)


def paired_table(
    methods: Sequence[Method],
    baseline: str,
    cost: CostModel,
    budgets: Sequence[float],
    right: Right,
) -> pd.DataFrame:
    """Every method against one, at every budget, on the same test images; empty cells are None.

    A difference is taken only where both sides use all but NEAR of the budget: else it is that of
    the sizes. How far seeds move a pick is pooled at each budget over the methods that ran with
    several; it widens the difference of methods that depend on their seed (`qcore.seeds`). Where no
    method ran with several, two networks are compared, by the exact McNemar test, and the words say
    so. Methods without chance are compared by their networks: those are all that they find. All
    p-values are corrected for the number of comparisons in the table.

    Args:
        methods: What is compared.
        baseline: Label of the method the others are held against.
        cost: The cost that is limited.
        budgets: Limits, in the cost's unit.
        right: Reads which test images points named right.

    Returns:
        Columns: Method, Budget, "Difference, points" (percent points by which the method is more
        accurate than the baseline), its interval that holds for all comparisons together at 95 %,
        "p, corrected", "In words", "Seeds" of both, "Seed to seed, points" (the standard deviation
        of a pick's true accuracy), what of the cost and which mean activation bits both sides
        really use, accuracy of both on the test split (percent, mean over seeds, with its 95 %
        interval), "Test images".

    Raises:
        InvalidData: the points were tested on different numbers of images.
    """
    sides = {
        budget: {method.label: side_of(method, cost, budget) for method in methods}
        for budget in budgets
    }
    answers = right([p for each in sides.values() for side in each.values() for p in side.points])
    pools = {budget: pool_of([*each.values()], answers) for budget, each in sides.items()}
    labels = [method.label for method in methods if method.label != baseline]
    asked = [(label, budget) for label in labels for budget in budgets]
    pairs = [(sides[budget][baseline], sides[budget][label]) for label, budget in asked]
    told = [
        _contest(pair, answers, pools[budget])
        for pair, (_, budget) in zip(pairs, asked, strict=True)
    ]
    verdicts = iter(judged([each for each in told if not isinstance(each, str)]))
    rows = []
    for (label, budget), pair, contest in zip(asked, pairs, told, strict=True):
        row: dict[str, object] = {
            "Method": label,
            "Budget": f"at most {cost_text(cost, budget)}",
            **_used(pair, cost),
        }
        row |= (
            {"In words": contest}
            if isinstance(contest, str)
            else _cells(pair, contest, next(verdicts))
        )
        rows.append(row)
    return pd.DataFrame(rows, columns=["Method", "Budget", *PAIRED_COLUMNS])


def _contest(
    pair: tuple[Side, Side], answers: Mapping[int, np.ndarray], pool: Spread | None
) -> Contest | str:
    """Both sides' answers, or why they cannot be compared."""
    missing = next((side.missing for side in pair if side.missing), "")
    if missing:
        return missing
    a, b = ([answers[point] for point in side.points if point in answers] for side in pair)
    if len(a) < len(pair[0].points) or len(b) < len(pair[1].points):
        return "an older release kept no answers; measure again"
    return Contest(a, b, pool, (pair[0].chance, pair[1].chance))


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


def judged(contests: Sequence[Contest]) -> list[Verdict]:
    """Judge several comparisons together.

    Raises:
        InvalidData: the sides of a comparison have different numbers of images.
    """
    raw = [contest.p_value for contest in contests]
    corrected = holm(raw)
    # what Holm's method no longer rejects is held to the level at which it stopped
    passed = sum(p < 1 - LEVEL for p in corrected)
    ranks = {at: rank for rank, at in enumerate(sorted(range(len(raw)), key=lambda at: raw[at]))}
    verdicts = []
    for at, contest in enumerate(contests):
        share = (1 - LEVEL) / (len(contests) - min(ranks[at], passed, len(contests) - 1))
        found = contest.difference(1 - share)
        verdicts.append(Verdict(found.points, found.low, found.high, corrected[at], found.n))
    return verdicts


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


def _cells(pair: tuple[Side, Side], contest: Contest, found: Verdict) -> dict[str, object]:
    labels = [_told(side, other) for side, other in (pair, pair[::-1])]
    words = found.words(*labels)
    if contest.of_networks:
        words = f"{ONE_SEED}; {_network_words(found, labels)}"
    pool = contest.pool if contest.seeds_count else None
    return {
        "Difference, points": round(found.points, 2),
        "Interval, points": f"{found.low:+.2f} to {found.high:+.2f}",
        "p, corrected": p_words(found.p),
        "In words": words,
        "Seeds": f"{len(contest.b)} and {len(contest.a)}",
        "Seed to seed, points": f"{pool.points:.2f}" if pool else SEEDLESS[contest.of_networks],
        "Test accuracy, %": _accuracy(contest.b),
        "Baseline, %": _accuracy(contest.a),
        "Test images": found.n,
    }


ONE_SEED = "one seed: only these two networks are compared"

SEEDLESS = {True: "not known", False: "no part"}
"""Whether the seed has a part in a difference to what is said of it where there is no pool."""


def _network_words(found: Verdict, labels: Sequence[str]) -> str:
    if not found.told_apart:
        return "they cannot be told apart"
    return f"that of {labels[1] if found.points > 0 else labels[0]} is more accurate"


def _told(side: Side, other: Side) -> str:
    """A side's name, with what it has and the other has not besides its weight bits."""
    more = ["trained"] if side.trained and not other.trained else []
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
