"""The smallest allocation that loses at most so much, with 95 % confidence. Pure.

Each method's tested points are taken in the order of its front on the search split, from the
dearest down, and the test images confirm them one after another: see `qcore.paired.promises`. The
promises of all methods that are shown hold together with 95 %.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pages.shared.columns import (
    OBJECTIVE,
    TEST_DIVERGENCE,
    TEST_DIVERGENCE_ERROR,
    TEST_GAINED,
    TEST_LOSS,
    TEST_LOSS_ERROR,
    TEST_LOST,
    TEST_N,
    column_of,
)
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.front import SLACK
from qcore.graded import Graded
from qcore.paired import confirmed, loss_bounds, one_sided, shared_level

UNITS = ("points", "nats")
"""What a loss can be limited in: percent points of accuracy, or divergence; for other judges their
own units (`pages.shared.judged`)."""


def bounds_of(rows: pd.DataFrame, unit: str, methods: int) -> np.ndarray:
    """What each row's loss stays below; NaN where its test images do not say.

    Args:
        rows: Of `points_frame`.
        unit: One of UNITS.
        methods: How many methods are shown; their promises hold together with 95 %.
    """
    level = shared_level(methods)
    if unit == "nats":
        spread = one_sided(level) * rows[TEST_DIVERGENCE_ERROR].to_numpy(float)
        return rows[TEST_DIVERGENCE].to_numpy(float) + spread
    found = np.full(len(rows), np.nan)
    known = rows[TEST_LOST].notna().to_numpy(bool)
    n, lost, gained = (rows[c].to_numpy(float)[known] for c in (TEST_N, TEST_LOST, TEST_GAINED))
    found[known] = loss_bounds(n, lost, gained, level)
    if TEST_LOSS_ERROR not in rows:
        return found
    rest = np.flatnonzero(rows[TEST_LOSS_ERROR].notna().to_numpy(bool) & ~known)
    graded = rows.iloc[rest][[TEST_N, TEST_LOSS, TEST_LOSS_ERROR]].to_numpy(float)
    found[rest] = [Graded(int(n), loss, error, 1.0).bound(level) for n, loss, error in graded]
    return found


def sequence(
    rows: pd.DataFrame, cost: str, unit: str, methods: int
) -> tuple[list[int], list[float]]:
    """The order in which one method's points are confirmed, and what each then promises.

    Args:
        rows: Points of one method.
        cost: Column of the cost that is to be small.
        unit: One of UNITS.
        methods: As in `bounds_of`.

    Returns:
        Places among the rows by falling cost, and the least loss that is promised down to each.
    """
    return sequences(rows, {cost: cost}, unit, methods)[cost]


def sequences(
    rows: pd.DataFrame, columns: Mapping[str, str], unit: str, methods: int
) -> dict[str, tuple[list[int], list[float]]]:
    """`sequence` for many costs: by the names of the costs, whose columns are given."""
    values, bounds = rows[OBJECTIVE].tolist(), bounds_of(rows, unit, methods)
    return {
        name: confirmed(rows[column].tolist(), values, bounds) for name, column in columns.items()
    }


def smallest(
    frame: pd.DataFrame,
    within: float,
    cost: str,
    limits: Mapping[str, float] | None = None,
    *,
    unit: str = "points",
    costs: Mapping[str, CostModel] = COSTS,
    among: pd.Series | None = None,
) -> pd.DataFrame:
    """Each method's smallest point that is shown to lose at most so much.

    Args:
        frame: Every point that is shown, of `points_frame`.
        within: The loss that is accepted, in `unit`.
        cost: Name of the cost that is to be small.
        limits: Cost name to its limit, for costs that are limited besides.
        unit: One of UNITS.
        costs: The costs there are.
        among: Which rows may be given, by the index of `frame`; None for all.

    Returns:
        Rows of `frame`, at most one a method, in the order methods appear.
    """
    methods, chosen = frame["method"].nunique(), []
    column = column_of(costs[cost])
    for _, rows in frame.groupby("method", sort=False):
        places, bounds = sequence(rows, column, unit, methods)
        for place, bound in reversed(list(zip(places, bounds, strict=True))):
            row = rows.iloc[place]
            fits = (among is None or among[rows.index[place]]) and all(
                row[column_of(costs[name])] <= limit * (1 + SLACK)
                for name, limit in (limits or {}).items()
            )
            if bound <= within * (1 + SLACK) and fits:
                chosen.append(rows.index[place])
                break
    return frame.loc[chosen].reset_index(drop=True)
