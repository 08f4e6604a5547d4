"""A point of the same method that can be taken away at once, for one that has no files yet."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import streamlit as st

from pages.explore.reference import key_of
from pages.shared import frames
from pages.shared.columns import OBJECTIVE, SEARCH_SCORE, WEIGHT_BITS, column_of
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.ranges import BUDGETS
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel


def nearest_with_files(frame: pd.DataFrame, row: pd.Series) -> pd.Series | None:
    """The point of the same method with files whose costs are nearest, or None.

    Args:
        frame: Every point that is shown, of `points_frame`.
        row: One of them, without files.

    Returns:
        The row with the smallest sum of |log ratio| of the costs that have a budget; of equals the
        one with the least objective.
    """
    ready = frame[(frame["method"] == row["method"]) & (frame["config_point"] >= 0)]
    if ready.empty:
        return None
    columns = [column_of(COSTS[name]) for name in BUDGETS]
    logs = [np.log(np.maximum(1.0, ready[column].to_numpy(float))) for column in columns]
    here = [np.log(max(1.0, float(row[column]))) for column in columns]
    apart = sum(np.abs(one - own) for one, own in zip(logs, here, strict=True))
    order = np.lexsort((ready[OBJECTIVE].to_numpy(float), np.round(apart, 9)))
    return ready.iloc[int(order[0])]


def best_with_files(
    frame: pd.DataFrame,
    row: pd.Series,
    limits: Mapping[str, float],
    costs: Mapping[str, CostModel] = COSTS,
) -> pd.Series | None:
    """What the picking rule chooses among the points of the same method that have files, or None.

    Args:
        frame: As in `nearest_with_files`.
        row: The method's pick within the limits, without files.
        limits: Cost name to limit, in the cost's unit.
        costs: The costs there are.
    """
    ready = frame[(frame["method"] == row["method"]) & (frame["config_point"] >= 0)]
    found = frames.picks(ready, limits, costs=costs)
    return None if found.empty else found.iloc[0]


def offer(
    frame: pd.DataFrame,
    row: pd.Series,
    limits: Mapping[str, float] | None,
    costs: Mapping[str, CostModel],
    words: Words = CLASSIFIER,
) -> None:
    """Offer to show another point of the method: the best within the budgets, else the nearest.

    Args:
        frame: Every point that is shown.
        row: The one without files.
        limits: The budgets it is the pick of; None where it was chosen by itself.
        costs: The costs there are.
        words: What scores are called.
    """
    best = None if limits is None else best_with_files(frame, row, limits, costs)
    found = nearest_with_files(frame, row) if best is None else best
    if found is None:
        return
    st.button(
        f"Show the {'nearest' if best is None else 'best'} that has files: "
        f"{words.value(found[SEARCH_SCORE])} at {found[WEIGHT_BITS]:.1f} bits",
        icon=":material/near_me:",
        key="nearest",
        on_click=_show,
        args=(key_of(found),),
        help="Another point of this method, already measured on the test split: its files can be "
        f"taken away at once. {words.title} on the search split.",
    )


LINKED = "The point of the link"
"""What the basic controls call a point that is no method's pick."""


def _show(point: str) -> None:
    st.query_params["pt"] = point
    st.session_state["take"] = LINKED
