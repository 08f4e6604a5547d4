import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages.shared.hypervolume import Box, box_of, default_floor, normalised, spread, trace
from qcore.costs import COSTS
from tests.pages import sample

BOX = Box(COSTS["weight_bytes"], 12.0, 80.0)
points = st.lists(st.tuples(st.integers(0, 15), st.integers(70, 100)), max_size=12)
lines = st.lists(
    st.lists(st.tuples(st.integers(1, 9), st.floats(0, 1)), min_size=1, max_size=5),
    min_size=1,
    max_size=4,
)


def counted(found):
    """Share of the box's 12 by 20 unit cells that some point dominates."""
    cells = [
        any(cost <= x and score >= 100 - y for cost, score in found)
        for x in range(12)
        for y in range(20)
    ]
    return sum(cells) / len(cells)


@given(points)
@settings(max_examples=60, deadline=None)
def test_hypervolume_is_the_share_of_cells_that_are_dominated(found):
    costs, scores = [c for c, _ in found], [s for _, s in found]
    assert normalised(costs, scores, BOX) == pytest.approx(counted(found))


@given(points)
@settings(max_examples=60, deadline=None)
def test_the_trace_is_the_hypervolume_of_every_beginning(found):
    costs, scores = [c for c, _ in found], [s for _, s in found]
    reached = trace(costs, scores, BOX)
    assert reached == pytest.approx([counted(found[: at + 1]) for at in range(len(found))])
    assert reached == sorted(reached)


def test_full_accuracy_at_no_cost_is_one_and_beyond_the_reference_is_nothing():
    assert normalised([0], [100], BOX) == 1
    assert normalised([12, 3], [100, 80], BOX) == 0


def test_the_box_depends_on_the_model_alone_and_prints_its_corner():
    box = box_of(sample.MODEL, COSTS["weight_bytes"], 84.0)
    assert box.most == COSTS["weight_bytes"].total(sample.MODEL, sample.uniform(8))
    assert "75.3 KiB at 84 %" in box.words()
    assert [default_floor(score) for score in (None, 4.0, 94.7, 100.0)] == [0, 0, 84, 90]


def value_at(line, place):
    reached = [value for at, value in line if at <= place]
    return reached[-1] if reached else 0.0


@given(lines)
@settings(max_examples=40, deadline=None)
def test_seeds_are_joined_by_what_each_had_reached_at_every_place(found):
    found = [sorted(dict(line).items()) for line in found]
    joined = spread([([a for a, _ in line], [v for _, v in line]) for line in found])
    ends = {line[-1][0] for line in found}
    assert set(joined.at) <= {at for line in found for at, _ in line}
    assert max(joined.at) == max(ends)
    for at, middle, low, high in zip(
        joined.at, joined.median, joined.low, joined.high, strict=True
    ):
        values = [value_at(line, at) for line in found]
        assert middle == pytest.approx(statistics.median(values))
        assert (low, high) == (min(values), max(values))


def test_no_trace_is_an_empty_line():
    assert spread([]).at == ()
    assert spread([([], [])]).median == ()
