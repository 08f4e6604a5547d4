import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages.plots import reliability as rel
from pages.shared.columns import DAMAGE, SEARCH_SCORE
from qcore.allocation import LayerBits
from qcore.problem import Point, Scores
from tests.pages import sample

VALUES = st.lists(st.integers(0, 6), min_size=2, max_size=14)


def brute_force(first, second):
    """Kendall's tau-b by counting pairs, from its definition."""
    concordant = discordant = one_tied = two_tied = 0
    for (a, x), (b, y) in itertools.combinations(zip(first, second, strict=True), 2):
        product = (a - b) * (x - y)
        concordant += product > 0
        discordant += product < 0
        one_tied += a == b
        two_tied += x == y
    pairs = len(first) * (len(first) - 1) // 2
    scale = math.sqrt((pairs - one_tied) * (pairs - two_tied))
    return None if scale == 0 else (concordant - discordant) / scale


@given(VALUES, st.randoms(use_true_random=False))
def test_kendalls_tau_is_the_count_of_pairs(values, rng):
    other = [rng.randint(0, 6) for _ in values]
    found = rel.kendall_tau(np.array(values, float), np.array(other, float))
    assert found == pytest.approx(brute_force(values, other))


def points_of(table, measured, count=40, stage="ptq", images=None):
    """Points whose measured damage is a function of the predicted one."""
    made = []
    for at, bits in enumerate(sample.allocations(count, seed=3)):
        predicted = sum(table.score(name, pair) for name, pair in bits.items())
        scores = Scores(1000, measured(predicted), 0.9, 0.95 - predicted / 100, 0.3)
        made.append(sample.stored(at, 1, Point(bits, scores, stage=stage, images=images)))
    return made


def test_predictions_of_the_right_order_are_trusted_and_of_the_wrong_one_are_not():
    table = sample.table()
    good = rel.reliability(table, sample.MODEL, points_of(table, math.sqrt))
    assert good.tau == pytest.approx(1)
    assert good.score_tau == pytest.approx(1)
    assert rel.trusted(good)
    bad = rel.reliability(table, sample.MODEL, points_of(table, lambda damage: 9 - damage))
    assert bad.tau == pytest.approx(-1)
    assert not rel.trusted(bad)
    assert "hidden" in rel.words(bad)
    assert rel.expected_score(bad, float(bad.frame[DAMAGE].median())) is None


def test_too_few_measurements_judge_nothing():
    table = sample.table()
    wrong = points_of(table, lambda damage: 9 - damage, count=rel.ENOUGH - 1)
    found = rel.reliability(table, sample.MODEL, wrong)
    assert rel.trusted(found)
    assert f"{rel.ENOUGH - 1} measured allocations" in rel.words(found)
    assert rel.expected_score(found, float(found.frame[DAMAGE].median())) is None


def test_none_at_all_is_no_error():
    found = rel.reliability(sample.table(), sample.MODEL, [])
    assert (found.tau, found.n) == (None, 0)
    assert rel.trusted(found)


def test_measurements_all_alike_cannot_be_ranked():
    table = sample.table()
    found = rel.reliability(table, sample.MODEL, points_of(table, lambda damage: 1.0))
    assert found.tau is None
    assert not rel.trusted(found)


def test_other_weights_windows_of_images_and_repeats_are_left_out():
    table = sample.table()
    whole = points_of(table, math.sqrt)
    trained = points_of(table, math.sqrt, stage="round-1/weights")
    windows = points_of(table, math.sqrt, images=(0, 100))
    found = rel.reliability(table, sample.MODEL, [*whole, *trained, *windows, *whole])
    assert found.n == len(whole)


@given(st.integers(0, 50))
@settings(max_examples=10)
def test_damage_is_the_sum_over_layers(seed):
    table = sample.table(activations=(4, 8))
    bits = sample.allocations(3, seed=seed, activations=(4, 8, 32))
    wanted = [sum(table.score(*item) for item in each.items()) for each in bits]
    assert rel.damages(table, sample.MODEL, bits) == pytest.approx(wanted)


def test_bits_the_table_does_not_know_have_no_damage():
    odd = sample.uniform(8).replace("fc", LayerBits(5))
    assert np.isnan(rel.damages(sample.table(), sample.MODEL, [odd])).all()
    table = sample.table()
    known = points_of(table, math.sqrt)
    extra = sample.stored(999, 1, Point(odd, Scores(1000, 0.1, 0.9)))
    assert rel.reliability(table, sample.MODEL, [*known, extra]).n == len(known)


def test_an_expected_score_is_that_of_the_nearest_predictions():
    table = sample.table()
    found = rel.reliability(table, sample.MODEL, points_of(table, math.sqrt))
    damages, scores = found.frame[DAMAGE], found.frame[SEARCH_SCORE]
    damage = float(damages.iloc[7])
    low, middle, high, count = rel.expected_score(found, damage)
    nearest = sorted(zip(abs(damages - damage), scores, strict=True))[: rel.NEAREST]
    assert count == rel.NEAREST
    assert (low, high) == (min(s for _, s in nearest), max(s for _, s in nearest))
    assert middle == pytest.approx(np.median([s for _, s in nearest]))
    assert rel.expected_score(found, float(damages.max()) * 2) is None


@pytest.mark.parametrize("title", [None, "Measured accuracy, %"])
def test_the_figure_marks_every_allocation_and_names_its_axes(title):
    table = sample.table()
    found = rel.reliability(table, sample.MODEL, points_of(table, math.sqrt))
    runs = {1: sample.run_of(1, "portfolio")}
    figure = rel.reliability_figure(found, "nats", runs, score_title=title, here=0.5)
    assert sum(len(trace.x) for trace in figure.data) == found.n
    assert figure.layout.xaxis.title.text == "Predicted damage, nats"
    assert figure.layout.yaxis.title.text == (title or rel.MEASURED)
    assert (figure.data[0].error_y.array is not None) == (title is not None)
