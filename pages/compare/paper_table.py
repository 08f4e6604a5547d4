"""The table of a paper: test scores, bits and differences of every method at every budget. Pure."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pages.compare.chance import Contest, Right, Side, pool_of, side_of
from pages.compare.methods import Method, Trial
from pages.shared.columns import (
    ACTIVATION_BITS,
    SEARCH_SCORE,
    TEST_HIGH,
    TEST_LOSS_ERROR,
    TEST_LOST,
    TEST_LOW,
    TEST_N,
    TEST_SCORE,
    WEIGHT_BITS,
    column_of,
)
from pages.shared.text import scale_of
from qcore.allocation import FLOAT_BITS
from qcore.costs.formulas import CostModel
from qcore.problem import wilson_interval
from qcore.searches import SEARCHES
from qcore.seeds import Spread

TEST = "Test accuracy, %"
DIFFERENCE = "Difference, points"
LOW, HIGH = ", 95 % low", ", 95 % high"
OVER = "Interval over"


def paper_table(
    methods: Sequence[Method],
    baseline: str,
    cost: CostModel,
    budgets: Sequence[float],
    right: Right,
) -> pd.DataFrame:
    """One row per budget and method that has a tested point within it in every seed.

    Args:
        methods: What is compared.
        baseline: Label of the method that differences are taken from.
        cost: The cost that is limited.
        budgets: Limits, in the cost's unit.
        right: Reads which test images points named right.

    Returns:
        Numbers, means over seeds: the budget and what is used of it (in the unit of the largest
        budget), mean bits of weights and of activations (32 is float), whether weights were
        trained, accuracy on the search and the test split with the latter's 95 % Wilson interval
        (percent), the paired difference from the baseline with its 95 % interval (points) and
        whether that is "images and seeds" or "images" alone (`chance.Contest`), test images. A
        difference is missing for the baseline, where answers were not kept, and where a
        side does not use the budget (`chance.side_of`). Figures
        with an interval are rounded to two digits of its half width.
    """
    factor, unit = scale_of(cost, max(budgets, default=1.0))
    rows = []
    for budget in budgets:
        sides = {method.label: side_of(method, cost, budget) for method in methods}
        known = right([point for side in sides.values() for point in side.points])
        pool = pool_of([*sides.values()], known)
        for method in methods:
            side = sides[method.label]
            if len(side.points) < len(method.trials):
                continue
            rows.append(
                {
                    f"Budget, {unit}": _figure(budget / factor),
                    "Method": method.label,
                    "Seeds": len(method.trials),
                    "Weights trained": "yes" if _trains(method.trials) else "no",
                    **_picked(method, side.points, cost, factor, unit),
                    **_difference(sides.get(baseline), side, known, pool),
                }
            )
    return pd.DataFrame(rows)


def _alike(baseline: Side, side: Side) -> bool:
    """Whether two sides can be held against each other at a budget."""
    return baseline.label != side.label and not (baseline.missing or side.missing)


def _trains(trials: Sequence[Trial]) -> bool:
    search = SEARCHES.get(trials[0].run.spec.search)
    return search is not None and search.trains


def _picked(
    method: Method, picks: Sequence[int], cost: CostModel, factor: float, unit: str
) -> dict[str, object]:
    found = pd.DataFrame(
        [
            trial.rows[trial.rows["point"] == point].iloc[0]
            for trial, point in zip(method.trials, picks, strict=True)
        ]
    )
    share, n = float(found[TEST_SCORE].mean()) / 100, int(found[TEST_N].min())
    low, high = (100 * end for end in wilson_interval(min(1.0, max(0.0, share)), n))
    if found[TEST_LOST].isna().all() and found[TEST_LOSS_ERROR].notna().any():
        # samples have a number each
        low, high = (float(found[end].mean()) for end in (TEST_LOW, TEST_HIGH))
    digits = digits_of((high - low) / 2)
    return {
        f"{cost.title}, {unit}": _figure(float(found[column_of(cost)].mean()) / factor),
        WEIGHT_BITS: round(float(found[WEIGHT_BITS].mean()), 2),
        ACTIVATION_BITS: round(float(found[ACTIVATION_BITS].mean()), 2),
        SEARCH_SCORE: round(float(found[SEARCH_SCORE].mean()), digits),
        TEST: round(100 * share, digits),
        f"{TEST}{LOW}": round(low, digits),
        f"{TEST}{HIGH}": round(high, digits),
        "Test images": n,
    }


def _difference(
    baseline: Side | None, side: Side, known: Mapping[int, np.ndarray], pool: Spread | None
) -> dict[str, float | str | None]:
    missing: dict[str, float | str | None] = dict.fromkeys(
        (DIFFERENCE, f"{DIFFERENCE}{LOW}", f"{DIFFERENCE}{HIGH}", OVER)
    )
    if baseline is None or not _alike(baseline, side):
        return missing
    if any(point not in known for point in (*baseline.points, *side.points)):
        return missing
    a, b = ([known[point] for point in each.points] for each in (baseline, side))
    contest = Contest(a, b, pool, (baseline.chance, side.chance))
    found = contest.difference()
    digits = digits_of((found.high - found.low) / 2)
    values = (round(value, digits) for value in (found.points, found.low, found.high))
    over = "images and seeds" if contest.seeds_count else "images"
    return dict(zip(missing, (*values, over), strict=True))


def digits_of(half: float) -> int:
    """Decimals that show two digits of the half width of an interval, 0 to 4.

    Example:
        >>> [digits_of(half) for half in (12.0, 1.94, 0.53, 0.0)]
        [0, 1, 2, 2]
    """
    if not half > 0:
        return 2
    return max(0, min(4, 1 - math.floor(math.log10(half))))


def _figure(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """The table as a paper prints it: intervals in brackets, float bits by name.

    Args:
        table: From `paper_table`, with at least one row.
    """
    budget, used = table.columns[0], table.columns[4]
    rows = []
    for row in table.to_dict("records"):
        bits = float(row[ACTIVATION_BITS])
        rows.append(
            {
                str(budget): f"{row[budget]:g}",
                "Method": row["Method"],
                "Seeds": row["Seeds"],
                "Trained": row["Weights trained"],
                str(used): f"{row[used]:g}",
                "Bits W": f"{row[WEIGHT_BITS]:.2f}",
                "Bits A": "float" if bits == FLOAT_BITS else f"{bits:.2f}",
                TEST: _bracketed(row, TEST, ""),
                DIFFERENCE: _bracketed(row, DIFFERENCE, "+"),
                OVER: "" if pd.isna(row[OVER]) else row[OVER],
            }
        )
    return pd.DataFrame(rows)


WORDS = ("Method", "Trained", OVER)
"""Columns of `printed` that are no figures."""


def _bracketed(row: dict[str, object], name: str, sign: str) -> str:
    values = [row[name], row[f"{name}{LOW}"], row[f"{name}{HIGH}"]]
    if any(pd.isna(value) for value in values):
        return ""
    value, low, high = (float(str(each)) for each in values)
    digits = digits_of((high - low) / 2)
    return f"{value:{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"
