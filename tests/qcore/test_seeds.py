"""Differences of methods: what images and seeds move, and how often chance is taken for more."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qcore.errors import InvalidData
from qcore.paired import compare
from qcore.seeds import MethodDifference, Spread, compare_methods, seed_spread
from tests.variants import crossed

IMAGES = 1000
CHURN = 0.02


def networks(rng, seeds, moved, better=0.0, images=None):
    """Answers of one method's seeds: each has a true score of its own, `moved` points apart.

    Images of `images` are as hard for all; each network answers a few in its own way.
    """
    hard = rng.random(IMAGES) if images is None else images
    shares = 0.85 + (better + moved * rng.standard_normal(seeds)) / 100
    flips = rng.random((seeds, IMAGES)) < CHURN
    return list((hard < shares[:, None]) ^ flips)


def told_apart(rng, seeds, moved, others, better=0.0, level=0.05):
    """Whether two methods are told apart; `others` are seeds of further ones in the comparison."""
    hard = rng.random(IMAGES)
    a = networks(rng, seeds[0], moved, images=hard)
    b = networks(rng, seeds[1], moved, better, hard)
    more = [networks(rng, count, moved, images=hard) for count in others]
    spread = seed_spread([a, b, *more])
    return compare_methods(a, b, spread).p_value < level


@pytest.mark.parametrize(
    ("sides", "moved"),
    crossed(
        [((2, 2), ()), ((1, 1), (3, 3)), ((3, 3), ()), ((1, 3), (2,)), ((5, 5), ())],
        [0.0, 0.5, 1.5, 4.0],
    ),
)
def test_equal_methods_are_told_apart_in_at_most_five_of_a_hundred(sides, moved):
    """Images alone move a difference of two networks by about 0.6 points here."""
    (seeds, others), rng = sides, np.random.default_rng(1)
    draws = 800
    wrong = sum(told_apart(rng, seeds, moved, others) for _ in range(draws))
    # three standard deviations above five of a hundred
    assert wrong <= 0.05 * draws + 3 * math.sqrt(0.0475 * draws)


def test_networks_of_equal_methods_differ_far_more_often_than_methods_do():
    """Why seeds have to count: the test of two networks is right, and says nothing of methods."""
    rng = np.random.default_rng(2)
    apart = 0
    for _ in range(300):
        hard = rng.random(IMAGES)
        a, b = (networks(rng, 1, 1.5, images=hard)[0] for _ in range(2))
        apart += compare(a, b).p_value < 0.05
    assert apart > 0.3 * 300


@pytest.mark.parametrize(
    ("seeds", "others", "moved", "better"),
    [
        ((3, 3), (), 0.5, 3.0),
        ((3, 3), (3,), 1.5, 5.5),
        ((5, 5), (), 1.5, 4.0),
        ((2, 2), (2, 2), 0.0, 3.0),
    ],
)
def test_a_better_method_is_found_in_four_of_five(seeds, others, moved, better):
    rng = np.random.default_rng(4)
    found = sum(told_apart(rng, seeds, moved, others, better) for _ in range(300))
    assert found >= 0.8 * 300


def test_the_spread_is_that_of_all_pairs_of_seeds():
    """Half the mean square of differences; images explain their variance over n, worked out."""
    rng = np.random.default_rng(5)
    methods = [list(rng.random((k, 60)) < rng.random((k, 1))) for k in (1, 2, 4)]
    seen, noise, weights = [], [], []
    for answers in methods[1:]:
        differences = [a.astype(float) - b for a, b in itertools.combinations(answers, 2)]
        seen.append(np.mean([(100 * d.mean()) ** 2 / 2 for d in differences]))
        noise.append(np.mean([1e4 * d.var(ddof=1) / 60 / 2 for d in differences]))
        weights.append(len(answers) - 1)
    found = seed_spread(methods)
    assert found.freedom == 4
    assert found.seen == pytest.approx(np.average(seen, weights=weights))
    assert found.noise == pytest.approx(np.average(noise, weights=weights))
    assert found.points == pytest.approx(math.sqrt(max(0.0, found.seen - found.noise)))
    assert seed_spread(methods[:1]) is None
    assert seed_spread([]) is None


def test_the_spread_is_estimated_without_bias():
    rng = np.random.default_rng(6)
    moved = 2.0
    found = [
        spread.seen - spread.noise
        for _ in range(400)
        for spread in [seed_spread([networks(rng, 3, moved)])]
    ]
    # flipped answers pull every score a little to the middle
    expected = (moved * (1 - 2 * CHURN)) ** 2
    assert abs(np.mean(found) - expected) < 3 * np.std(found) / 20


def test_without_seeds_it_is_mcnemars_test_with_its_correction():
    rng = np.random.default_rng(7)
    for share in (0.004, 0.01, 0.02, 0.05):
        a = rng.random(2000) < 0.9
        b = a ^ (rng.random(2000) < share)
        lost, gained = int((a & ~b).sum()), int((b & ~a).sum())
        found = compare_methods([a], [b])
        assert found.points == pytest.approx((gained - lost) / 20)
        chi = max(0, abs(lost - gained) - 1) ** 2 / max(1, lost + gained)
        assert found.p_value == pytest.approx(stats.chi2.sf(chi, 1), abs=1e-9)


@pytest.mark.parametrize("images", [1, 2, 3, 4, 5])
def test_few_images_do_not_pass_for_many(images):
    """Exact chance that so many coins fall alike is more than 5 %; so must be what is said."""
    a = np.zeros(1000, bool)
    b = np.arange(1000) < images
    assert compare(a, b).p_value > 0.05
    for seeds in (1, 2, 3):
        assert compare_methods([a] * seeds, [b] * seeds).p_value > 0.05


def test_seeds_widen_the_interval_and_more_seeds_a_side_narrow_it():
    rng = np.random.default_rng(8)
    hard = rng.random(IMAGES)
    a, b = (networks(rng, 4, 1.0, images=hard) for _ in range(2))
    spread = Spread(seen=20.0, noise=4.0, freedom=6)
    halves = []
    for sides in ((a[:1], b[:1]), (a[:2], b[:2]), (a, b)):
        found = compare_methods(*sides, spread)
        low, high = found.interval()
        halves.append((high - low) / 2)
        plain = compare_methods(*sides)
        assert found.error**2 - plain.error**2 == pytest.approx(2 * 16 / len(sides[0]))
        one = compare_methods(*sides, spread, chance=(True, False))
        assert plain.error < one.error < found.error
        assert (plain.freedom, one.freedom, found.freedom) == (math.inf, 6, 6)
    assert halves == sorted(halves, reverse=True)


def test_a_method_whose_own_seeds_lie_further_apart_is_given_its_own():
    rng = np.random.default_rng(9)
    hard = rng.random(IMAGES)
    a, b = networks(rng, 3, 0.2, images=hard), networks(rng, 3, 6.0, images=hard)
    narrow = Spread(seen=0.5, noise=0.2, freedom=9)
    own = seed_spread([b])
    assert own.variance > narrow.variance > seed_spread([a]).variance
    found, plain = compare_methods(a, b, narrow), compare_methods(a, b)
    expected = plain.error**2 + (narrow.variance + own.variance) / 3
    assert found.error**2 == pytest.approx(expected)


def test_seeds_that_all_answer_alike_are_few_all_the_same():
    base = np.arange(400) < 380
    spread = seed_spread([[base, base]])
    assert (spread.seen, spread.noise, spread.freedom) == (0, 0, 1)
    found = compare_methods([base], [np.arange(400) < 320], spread)
    assert found.freedom == 1
    assert found.p_value > compare_methods([base], [np.arange(400) < 320]).p_value


@given(
    points=st.floats(-20, 20),
    error=st.floats(0, 5),
    step=st.floats(0, 0.5),
    freedom=st.one_of(st.floats(1, 500), st.just(math.inf)),
    level=st.floats(0.5, 0.999),
)
def test_the_interval_leaves_out_zero_where_the_test_rejects(points, error, step, freedom, level):
    found = MethodDifference(points, error, step, freedom, 100)
    low, high = found.interval(level)
    assert low <= points <= high
    if abs(found.p_value - (1 - level)) > 1e-6 and error:
        assert (low > 0 or high < 0) == (found.p_value < 1 - level)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3))
def test_sides_can_be_turned(seed, first, second):
    rng = np.random.default_rng(seed)
    a, b = list(rng.random((first, 40)) < 0.7), list(rng.random((second, 40)) < 0.6)
    spread = seed_spread([a, b])
    one, two = (compare_methods(x, y, spread) for x, y in ((a, b), (b, a)))
    assert one.points == pytest.approx(-two.points)
    assert one.p_value == pytest.approx(two.p_value)
    assert one.interval() == pytest.approx(tuple(-end for end in reversed(two.interval())))


def test_equal_sides_are_not_told_apart():
    base = np.arange(50) < 40
    found = compare_methods([base], [base])
    assert (found.points, found.p_value, found.interval()) == (0, 1, (0, 0))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([np.ones(3, bool)], [np.ones(4, bool)]),
        ([], [np.ones(4, bool)]),
        ([np.ones(0, bool)], [np.ones(0, bool)]),
        ([np.ones(3, bool), np.ones(2, bool)], [np.ones(3, bool)]),
    ],
)
def test_sides_of_different_images_are_refused(a, b):
    with pytest.raises(InvalidData, match="same test images"):
        compare_methods(a, b)
