"""Names of the columns of the pages' tables, each with its unit."""

from collections.abc import Iterator, Mapping

from qcore.costs import COSTS


class _CostColumns(Mapping[str, str]):
    """The columns of the costs there are now: a user's tables come and go."""

    def __getitem__(self, name: str) -> str:
        return f"{COSTS[name].title}, {COSTS[name].unit}"

    def __iter__(self) -> Iterator[str]:
        return iter(list(COSTS))

    def __len__(self) -> int:
        return len(COSTS)


COST_COLUMNS: Mapping[str, str] = _CostColumns()
"""Cost name to the column that holds it. A table has those columns that all its rows have."""

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
