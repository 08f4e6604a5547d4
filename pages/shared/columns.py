"""Names of the columns of the pages' tables, each with its unit."""

from collections.abc import Mapping

import pandas as pd

from qcore.costs.formulas import CostModel


def column_of(cost: CostModel) -> str:
    """The column that holds a cost."""
    return f"{cost.title}, {cost.unit}"


def cost_columns(costs: Mapping[str, CostModel], frame: pd.DataFrame) -> dict[str, str]:
    """Cost name to its column, of those costs that a table has: all of its rows have them."""
    named = {name: column_of(cost) for name, cost in costs.items()}
    return {name: column for name, column in named.items() if column in frame}


SEARCH_SCORE = "Search split, %"
SEARCH_LOW = "Search split low, %"
SEARCH_HIGH = "Search split high, %"
SEARCH_N = "Search split, images"
TEST_SCORE = "Test split, %"
TEST_LOW = "Test split low, %"
TEST_HIGH = "Test split high, %"
TEST_N = "Test split, images"
DAMAGE = "Predicted damage"
WEIGHT_BITS = "Mean weight bits"
ACTIVATION_BITS = "Mean activation bits"

POINT_COLUMNS = (
    "point",
    "run",
    "method",
    "stage",
    "digest",
    "allocation",
    "config_point",
    SEARCH_SCORE,
    SEARCH_LOW,
    SEARCH_HIGH,
    SEARCH_N,
    TEST_SCORE,
    TEST_LOW,
    TEST_HIGH,
    TEST_N,
    WEIGHT_BITS,
    ACTIVATION_BITS,
)
"""Columns of `points_frame` before those of the costs."""


SPLITS = {
    "search split": (SEARCH_SCORE, SEARCH_LOW, SEARCH_HIGH),
    "test split": (TEST_SCORE, TEST_LOW, TEST_HIGH),
}
