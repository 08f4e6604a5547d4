import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages.shared.hypervolume import Box, box_of, normalised, spread, trace, zero_of
from pages.shared.run_facts import no_front
from qcore.costs import COSTS
from qcore.problem import Scores
from tests.pages import sample
from tests.variants import examples

BOX = Box(COSTS["weight_bytes"], 12.0)
# twenty steps of height between 1 and 0.0001 nats, and beyond both ends
points = st.lists(st.tuples(st.integers(0, 15), st.integers(-5, 25)), max_size=12)
lines = st.lists(
    st.lists(st.tuples(st.integers(1, 9), st.floats(0, 1)), min_size=1, max_size=5),
    min_size=1,
    max_size=4,
)


def nats(step):
    """The divergence at a step of height: 0 is 1 nat, 20 is 0.0001 nats."""
    return 10 ** (-4 * step / 20)


def counted(found):
    """Share of the box's 12 by 20 unit cells that some point dominates."""
    cells = [
        any(cost <= x and step > y for cost, step in found) for x in range(12) for y in range(20)
    ]
    return sum(cells) / len(cells)


@given(points)
@settings(max_examples=examples(60), deadline=None)
def test_hypervolume_is_the_share_of_cells_that_are_dominated(found):
    costs, values = [c for c, _ in found], [nats(s) for _, s in found]
    assert normalised(costs, values, BOX) == pytest.approx(counted(found))


@given(points)
@settings(max_examples=examples(60), deadline=None)
def test_the_trace_is_the_hypervolume_of_every_beginning(found):
    costs, values = [c for c, _ in found], [nats(s) for _, s in found]
    reached = trace(costs, values, BOX)
    assert reached == pytest.approx([counted(found[: at + 1]) for at in range(len(found))])
    assert reached == sorted(reached)


def test_the_float_network_at_no_cost_is_one_and_beyond_the_reference_is_nothing():
    assert normalised([0], [0.0], BOX) == 1
    assert normalised([0], [1e-9], BOX) == normalised([0], [1e-4], BOX) == 1
    assert normalised([12, 3], [1e-4, 1.0], BOX) == 0
    assert normalised([0], [math.nan], BOX) == 0


def test_a_loss_counts_above_that_of_the_float_network():
    costs, values = [2, 5], [0.31, 0.2102]
    above = Box(COSTS["weight_bytes"], 12.0, "loss", 0.21)
    expected = normalised(costs, [0.1, 0.0002], BOX)
    assert normalised(costs, values, above) == pytest.approx(expected)
    # a trained network may lose less than the float one: it is as good, not better
    assert normalised([0], [0.1], above) == 1
    unknown = Box(COSTS["weight_bytes"], 12.0, "loss", None)
    assert normalised(costs, values, unknown) == 0


def test_what_the_float_network_has_of_an_objective():
    scores = Scores(1000, 0.0, 1.0, 0.93, 0.21)
    assert zero_of("kl", None) == zero_of("kl", scores) == 0
    assert zero_of("loss", scores) == 0.21
    assert zero_of("loss", None) is None


def test_the_box_depends_on_the_model_alone_and_prints_its_corner():
    box = box_of(sample.MODEL, COSTS["weight_bytes"])
    assert box.most == COSTS["weight_bytes"].total(sample.MODEL, sample.uniform(8))
    assert "weights up to 75.3 KiB" in box.words()
    assert "from 1 down to 0.0001 nats" in box.words()


def test_only_a_front_has_a_hypervolume():
    assert no_front(sample.run_of(1, "random"), 2) == ""
    assert no_front(sample.run_of(1, "random"), 1) == "one point"
    limited = {"limits": {"weight_bytes": 30_000}}
    assert no_front(sample.run_of(1, "cmaes", **limited), 200) == "made for one budget"
    # the ladder ignores limits
    assert no_front(sample.run_of(1, "uniform", **limited), 4) == ""


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
