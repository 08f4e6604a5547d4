import pytest

from pages.plots import allocations
from pages.plots.style import BIT_COLOURS
from pages.shared.columns import column_of
from pages.shared.points_table import points_frame
from qcore.costs import COSTS
from tests.pages import sample


@pytest.fixture(scope="module")
def front():
    points = [
        sample.stored(at + 1, 1, sample.point(allocation, 600 + at))
        for at, allocation in enumerate(sample.allocations(60, activations=(4, 8)))
    ]
    rows = points_frame(points, {1: sample.run_of(1, "random")}, sample.MODEL)
    return rows.sort_values(column_of(COSTS["weight_bytes"]))


def widths(figure):
    """Bit-widths the figure's cells stand for, read back from their colours."""
    codes = list(BIT_COLOURS)
    return [[codes[code - 1] for code in row] for row in figure.data[0].z]


@pytest.mark.parametrize("part", ["weights", "activations"])
def test_each_row_is_an_allocation_and_each_column_a_layer(front, part):
    found = allocations.allocations_frame(front.head(9), COSTS["weight_bytes"])
    figure = allocations.allocations_figure(found, sample.MODEL, COSTS["weight_bytes"], part)
    side = {"weights": "weight", "activations": "activation"}[part]
    assert widths(figure) == [
        [getattr(allocation[name], side) for name in sample.MODEL.names]
        for allocation in front.head(9)["allocation"]
    ]
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.yaxis.ticktext == tuple(found["label"])
    for trace in figure.data[1:]:
        for x, y, digit in zip(trace.x, trace.y, trace.text, strict=True):
            assert digit == str(widths(figure)[y - 1][x - 1])


def test_a_long_front_is_thinned_and_keeps_its_ends(front):
    found = allocations.allocations_frame(front, COSTS["weight_bytes"], most=7)
    assert len(found) <= 8
    ends = front["point"].tolist()[0], front["point"].tolist()[-1]
    assert (found["point"].iloc[0], found["point"].iloc[-1]) == ends
    assert len(allocations.allocations_frame(front.head(5), COSTS["weight_bytes"], most=7)) == 5
    assert allocations.allocations_frame(front.head(0), COSTS["weight_bytes"]).empty


def test_rows_say_cost_with_unit_and_accuracy(front):
    label = allocations.allocations_frame(front.head(1), COSTS["weight_bytes"])["label"][0]
    assert "KiB" in label
    assert label.endswith("%")
