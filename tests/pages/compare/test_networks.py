from dataclasses import replace

import numpy as np
import pytest

from pages.compare import networks
from pages.compare.methods import run_rows
from pages.compare.networks import Network
from pages.shared.columns import OBJECTIVE, TEST_N, TRAINED, column_of
from qcore.costs import COSTS
from qcore.errors import InvalidData
from qcore.setting import Setting
from tests.pages import sample

COST = COSTS["weight_bytes"]
COLUMN = column_of(COST)


def rows_of(number, count=12, tested=3, stage="ptq"):
    """A run of which every third point was tested."""
    run = sample.run_of(number, "portfolio")
    stored = [
        sample.stored(
            100 * number + at, number, sample.point(a, 700 + 20 * at, at % tested == 0, stage)
        )
        for at, a in enumerate(sample.allocations(count, seed=number))
    ]
    return run_rows(stored, run, sample.MODEL)


@pytest.fixture(scope="module")
def pair():
    return [
        Network("small", networks.seen([rows_of(1), rows_of(2)]), 92.0),
        Network("<b>large</b>", networks.seen([rows_of(3)]), 93.5),
    ]


def test_networks_differ_in_nothing_else_that_must_be_equal():
    here = Setting.of(sample.run_of(1, "portfolio").spec, "a" * 64)
    there = replace(here, model="resnet20", digest="b" * 64)
    assert networks.alike(here, there)
    for change in ({"search_images": 2048}, {"data": "cifar10"}, {"activations": (4,)}):
        assert not networks.alike(here, replace(there, **change))


def test_only_points_of_the_same_test_images_are_taken():
    tables = [rows_of(1), rows_of(2)]
    found = networks.seen(tables)
    assert set(found[TEST_N]) == {10_000}
    assert len(found) == 8
    assert networks.seen(tables, 5_000).empty
    assert networks.seen([]).empty


def test_the_line_is_the_front_of_what_was_minimised_and_trained_points_are_not_on_it(pair):
    line = networks.front(pair[0], COST)
    assert line[COLUMN].is_monotonic_increasing
    assert line[OBJECTIVE].is_monotonic_decreasing
    trained = Network("t", networks.seen([rows_of(4, stage="final")]))
    assert trained.rows[TRAINED].all()
    assert networks.front(trained, COST).empty


def test_every_tested_point_is_drawn_once_and_names_are_text(pair):
    figure = networks.networks_figure(pair, COST)
    drawn = sorted(row[0] for trace in figure.data for row in trace.customdata)
    assert drawn == sorted(p for network in pair for p in network.rows["point"])
    assert "<b>large" not in str([trace.name for trace in figure.data])
    assert figure.layout.yaxis.title.text == "Accuracy on the test split, %"
    notes = [note.text for note in figure.layout.annotations]
    assert any("float 92.0 %" in note for note in notes)


def test_the_pair_to_begin_with_costs_about_the_same(pair):
    first, second = networks.proposed(pair, COST)
    sides = [networks.front(network, COST).set_index("point")[COLUMN] for network in pair]
    gap = abs(np.log(sides[0][first] / sides[1][second]))
    gaps = [abs(np.log(x / y)) for x in sides[0] for y in sides[1]]
    assert gap == pytest.approx(min(gaps), abs=1e-6)


def test_every_point_is_offered_with_its_network_cost_and_accuracy(pair):
    words = networks.offered(pair, COST)
    assert set(words) == {int(p) for network in pair for p in network.rows["point"]}
    assert all("KiB" in each and "run" in each for each in words.values())
    assert sum(each.startswith("small, ") for each in words.values()) == len(pair[0].rows)


def test_two_networks_are_told_apart_on_the_same_images_alone():
    right = np.arange(2000) < 1800
    worse = right & (np.arange(2000) % 20 > 0)
    words = networks.verdict_words(("A", "B"), right, worse)
    assert words.startswith("A is more accurate: -4.50 points")
    assert "p below 0.001, 2,000 test images" in words
    same = networks.verdict_words(("A", "B"), right, right)
    assert same.startswith("cannot be told apart")
    assert "p = 1.000" in same
    with pytest.raises(InvalidData, match="same test images"):
        networks.verdict_words(("A", "B"), right, right[:10])
