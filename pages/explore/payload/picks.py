"""What may be picked within budgets, and what is drawn: the explorer's side of the one rule. Pure.

The rule itself is `qcore.front.best_within`; the explorer's JavaScript has the same rule and gets
the points it can pick from here.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pages.shared.columns import OBJECTIVE, TEST_LOST, column_of, cost_columns
from pages.shared.held import NOTHING, Held
from pages.shared.promised import UNITS, sequence
from qcore.allocation import ModelSpec
from qcore.costs import COSTS
from qcore.front import front_points

MOST_SELECTABLE = 500
"""Most points of one method whose bits are sent to the browser."""

MOST_DRAWN = 5000
"""Most points of all methods together that are drawn."""

MOST_BYTES = 2_000_000
"""Largest payload aimed at; bits of fewer points are sent where it would be larger."""


def most_selectable(model: ModelSpec, methods: int, ceiling: int = MOST_SELECTABLE) -> int:
    """Points per method whose bits fit into the payload, at most `ceiling`."""
    each = 2 * max(1, len(model.layers)) * 4 / 3
    return max(20, min(ceiling, int(0.75 * MOST_BYTES / each / max(1, methods))))


def selectable(rows: pd.DataFrame, costs: Sequence[str]) -> list[int]:
    """Positions of the rows that some budget picks, in rising order.

    Args:
        rows: Points of one method, with the cost columns and OBJECTIVE.
        costs: Names of the costs that can be limited, in the order budgets name them.

    Returns:
        A point is among them when it is the pick of `best_within` for some limits on any of the
        costs; nothing else is needed to answer every drag.
    """
    found: set[int] = set()
    values = rows[OBJECTIVE].to_numpy(float)
    prices = {name: rows[column_of(COSTS[name])].to_numpy(float) for name in costs}
    places = np.arange(len(rows))
    for count in range(1, len(costs) + 1):
        for limited in itertools.combinations(costs, count):
            order = np.lexsort((places, prices[limited[0]], values))
            table = np.column_stack([prices[name][order] for name in limited])
            while len(order):
                # the first of what is left is beaten by none; what it beats can never be picked
                found.add(int(order[0]))
                left = ~(table >= table[0]).all(axis=1)
                order, table = order[left], table[left]
    return sorted(found)


def confirmed(rows: pd.DataFrame, costs: Sequence[str]) -> set[int]:
    """Places of one method's points whose loss is promised, by any of the costs."""
    known = TEST_LOST in rows  # a table that says nothing of test images promises nothing
    return {
        place
        for name in costs
        if known
        for unit in UNITS
        for place in sequence(rows, column_of(COSTS[name]), unit, 1)[0]
    }


def _fronts(rows: pd.DataFrame, places: np.ndarray) -> set[int]:
    """Those of the places that are on the front of some of them against any cost."""
    values = rows[OBJECTIVE].to_numpy(float)[places].tolist()
    return {
        int(places[at])
        for column in cost_columns(COSTS, rows).values()
        for at in front_points(rows[column].to_numpy(float)[places].tolist(), values)
    }


def spread(places: Sequence[int], costs: Sequence[float], most: int) -> list[int]:
    """At most this many of the places, evenly over their costs, both ends kept; rising order."""
    if len(places) <= most:
        return sorted(places)
    ordered = sorted(places, key=lambda place: (costs[place], place))
    steps = np.linspace(0, len(ordered) - 1, max(2, most)).round().astype(int)
    return sorted({ordered[step] for step in steps})


def drawn(
    frame: pd.DataFrame,
    costs: Sequence[str],
    most: int = MOST_SELECTABLE,
    all_of: int = MOST_DRAWN,
    held: Held = NOTHING,
) -> pd.DataFrame:
    """The rows the explorer gets, with a column that says which of them it may pick.

    Args:
        frame: What `points_frame` returns.
        costs: Names of the costs that can be limited.
        most: Most selectable rows per method; more are thinned evenly over the first cost.
        all_of: Most rows in all; others than selectable ones are thinned with a fixed seed.
        held: What is set on layers.

    Returns:
        Rows of `frame` in their order, a boolean column "selectable" and one, "kept", of the rows
        that have what is set. Picking from the selectable rows gives the same as from all, and so
        does picking from those kept, where nothing selectable had to be thinned.
    """
    frame = frame.assign(kept=[held.admits(bits) for bits in frame["allocation"]] if held else True)
    chosen: list[int] = []
    for _, rows in frame.groupby("method", sort=False):
        places = selectable(rows, costs)
        first = rows[column_of(COSTS[costs[0]])].tolist()
        kept = {*spread(places, first, most), *confirmed(rows, costs)}
        if held:
            mine = np.flatnonzero(rows["kept"].to_numpy(bool))
            those = [int(mine[at]) for at in selectable(rows.iloc[mine], costs)]
            kept |= {*spread(those, first, most), *_fronts(rows, mine)}
        chosen += rows.index[sorted(kept)].tolist()
    marked = frame.assign(selectable=frame.index.isin(chosen))
    rest = marked[~marked["selectable"]]
    room = max(0, all_of - len(chosen))
    if len(rest) > room:
        rest = rest.sample(room, random_state=0)
    return pd.concat([marked[marked["selectable"]], rest]).sort_index()
