"""Names of the columns of the pages' tables, each with its unit.

Units are those of classifiers; figures of another judge stand in the same columns in its own units,
and what a reader sees is named by `pages.shared.judged`.
"""

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
OBJECTIVE = "Objective, nats"
"""What the run's search minimised on the search split; what every pick and front goes by."""

AIM = "Objective"
"""Which one that is: "kl", the divergence from the float network, or "loss", on labels."""

SEARCH_LOSS = "Loss on the search split, points"
SEARCH_LOSS_LOW = "Loss on the search split low, points"
SEARCH_LOSS_HIGH = "Loss on the search split high, points"
TEST_LOSS = "Loss on the test split, points"
TEST_LOSS_LOW = "Loss on the test split low, points"
TEST_LOSS_HIGH = "Loss on the test split high, points"
TEST_LOST = "Test images lost"
TEST_GAINED = "Test images gained"
"""Accuracy lost against the float network on the same images, paired, with 95 % intervals, and on
how many test images one is right and the other wrong (`qcore.paired`)."""

TEST_LOSS_ERROR = "Standard error of the loss on the test split, points"
"""Only where samples have a number each and are not right or wrong (`qcore.graded`)."""

TEST_DIVERGENCE = "Divergence on the test split, nats"
TEST_DIVERGENCE_ERROR = "Standard error of the divergence on the test split, nats"

TRAINED = "Trained"
"""Whether weights were trained, other than by tuning without labels."""

SMALLER = "Weights, against float and 8 bits"
"""How many times smaller than the float network and than 8 bits everywhere, in words."""

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
    TRAINED,
    AIM,
    OBJECTIVE,
    SEARCH_SCORE,
    SEARCH_LOW,
    SEARCH_HIGH,
    SEARCH_N,
    TEST_SCORE,
    TEST_LOW,
    TEST_HIGH,
    TEST_N,
    SEARCH_LOSS,
    SEARCH_LOSS_LOW,
    SEARCH_LOSS_HIGH,
    TEST_LOSS,
    TEST_LOSS_LOW,
    TEST_LOSS_HIGH,
    TEST_LOST,
    TEST_GAINED,
    TEST_LOSS_ERROR,
    TEST_DIVERGENCE,
    TEST_DIVERGENCE_ERROR,
    WEIGHT_BITS,
    ACTIVATION_BITS,
)
"""Columns of `points_frame` before those of the costs."""


SPLITS = {
    "search split": (SEARCH_SCORE, SEARCH_LOW, SEARCH_HIGH),
    "test split": (TEST_SCORE, TEST_LOW, TEST_HIGH),
}

LOSSES = {
    "test split": (TEST_LOSS, TEST_LOSS_LOW, TEST_LOSS_HIGH),
    "search split": (SEARCH_LOSS, SEARCH_LOSS_LOW, SEARCH_LOSS_HIGH),
}
"""Columns of the loss against the float network of each split, the one to be shown first."""
