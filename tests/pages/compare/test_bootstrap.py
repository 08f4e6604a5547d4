import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pages.compare.bootstrap import paired_bootstrap
from qcore.errors import InvalidData
from qcore.paired import compare


def sides(rng, n, both, only_a, only_b):
    """Answers of two networks: shares of images right by both, by a alone, by b alone."""
    drawn = rng.choice(4, size=n, p=[both, only_a, only_b, 1 - both - only_a - only_b])
    return (drawn == 0) | (drawn == 1), (drawn == 0) | (drawn == 2)


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth = 100 * (0.06 - 0.04)
    hits = 0
    for repeat in range(400):
        a, b = sides(rng, 800, 0.8, 0.04, 0.06)
        found = paired_bootstrap([a], [b], draws=1000, seed=repeat)
        hits += found.low <= truth <= found.high
    # 95 % of 400 is 380; five standard deviations below it is 358
    assert 358 <= hits <= 398


def test_two_equal_networks_differ_by_chance_one_time_in_twenty():
    rng = np.random.default_rng(2)
    shown = 0
    for repeat in range(400):
        a, b = sides(rng, 800, 0.8, 0.05, 0.05)
        shown += paired_bootstrap([a], [b], draws=1000, seed=repeat).shown
    assert 2 <= shown <= 42


def test_counting_changes_is_the_same_as_drawing_images():
    rng = np.random.default_rng(3)
    a, b = sides(rng, 500, 0.7, 0.1, 0.15)
    found = paired_bootstrap([a], [b], draws=20_000)
    picked = rng.integers(0, 500, size=(20_000, 500))
    means = 100 * (b.astype(float) - a)[picked].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    # ends of 20,000 draws are sure to about a twentieth of the interval
    assert found.low == pytest.approx(low, abs=0.25)
    assert found.high == pytest.approx(high, abs=0.25)
    assert found.points == pytest.approx(100 * (b.mean() - a.mean()))


def test_the_pairs_count_not_the_shares():
    right = np.arange(1000) < 900
    moved = np.roll(right, 450)
    same = paired_bootstrap([right], [right])
    assert (same.points, same.low, same.high, same.shown) == (0, 0, 0, False)
    other = paired_bootstrap([right], [moved])
    assert other.points == 0
    assert other.high - other.low > 1


@given(arrays(bool, (2, 40)), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_swapping_the_sides_turns_the_sign(pair, seed):
    one = paired_bootstrap([pair[0]], [pair[1]], 2000, seed)
    two = paired_bootstrap([pair[1]], [pair[0]], 2000, seed)
    assert one.points == pytest.approx(-two.points)
    assert one.low <= one.points <= one.high


def test_seeds_are_averaged_image_by_image():
    rng = np.random.default_rng(4)
    a, b = rng.random(300) < 0.8, rng.random(300) < 0.9
    found = paired_bootstrap([a], [a, b])
    assert found.points == pytest.approx(100 * (b.mean() - a.mean()) / 2)


def test_the_p_value_is_that_of_the_interval_and_near_that_of_the_exact_test():
    rng = np.random.default_rng(5)
    for extra in (0.0, 0.01, 0.02, 0.03):
        a, b = sides(rng, 2000, 0.8, 0.04, 0.04 + extra)
        found = paired_bootstrap([a], [b])
        for level in (0.5, 0.9, 0.99):
            assert paired_bootstrap([a], [b], level=level).shown == (found.p_value < 1 - level)
        # 80 to 140 changed images: steps of the exact test are a few percent
        assert found.p_value == pytest.approx(compare(a, b).p_value, abs=0.12)
    right = np.arange(1000) < 900
    assert paired_bootstrap([right], [right]).p_value == 1
    assert paired_bootstrap([right], [~right], draws=999).p_value <= 0.01


@pytest.mark.parametrize(
    ("a", "b"),
    [([], [np.ones(3, bool)]), ([np.ones(3, bool)], [np.ones(4, bool)]), ([np.ones(0)],) * 2],
)
def test_different_images_are_refused(a, b):
    with pytest.raises(InvalidData, match="same test images"):
        paired_bootstrap(a, b)
