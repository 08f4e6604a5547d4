"""Paired comparisons against brute force, published figures and their own promises."""

import itertools
import math

import numpy as np
import pytest

from qcore.paired import (
    Paired,
    against_float,
    compare,
    holm,
    loss_bounds,
    loss_intervals,
    mcnemar,
    promises,
    tied_with_best,
)
from qcore.problem import Scores


def test_tangos_interval_is_the_published_one():
    """Airway reactivity of 21 children (Fagerland, Lydersen and Laake 2014): 0.026 to 0.517."""
    low, high = loss_intervals([21], [7], [1])
    assert (low[0], high[0]) == pytest.approx((2.6, 51.7), abs=0.05)


def test_the_interval_is_where_the_score_test_turns():
    """Both ends have a score statistic of exactly 1.96, worked out here another way."""
    for n, lost, gained in [(100, 9, 4), (1024, 30, 30), (2000, 0, 5), (64, 7, 0)]:
        low, high = (each[0] / 100 for each in loss_intervals([n], [lost], [gained]))
        for end, sign in ((low, 1), (high, -1)):
            # maximum likelihood of the share of gained under a given difference, by trial
            shares = np.linspace(max(0.0, -end), (1 - end) / 2, 400_001)[1:-1]
            with np.errstate(divide="ignore", invalid="ignore"):
                fit = (
                    lost * np.log(shares + end)
                    + (gained * np.log(shares) if gained else 0)
                    + (n - lost - gained) * np.log(1 - 2 * shares - end)
                )
            share = shares[np.nanargmax(fit)]
            spread = math.sqrt(n * (2 * share + end * (1 - end)))
            z = (lost - gained - n * end) / spread
            assert z * sign == pytest.approx(1.96, abs=0.02)


def test_a_loss_is_inside_its_interval_and_mirrors():
    for n, lost, gained in itertools.product((10, 500), (0, 1, 5), (0, 2, 5)):
        one, other = Paired(n, lost, gained), Paired(n, gained, lost)
        low, high = one.interval
        assert low <= one.points <= high <= 100
        assert (-other.interval[1], -other.interval[0]) == pytest.approx((low, high))
        assert one.points < one.upper


def test_no_image_lost_promises_no_less_than_the_rule_of_three():
    for n in (100, 1000, 10_000):
        assert loss_bounds([n], [0], [0])[0] >= 100 * (1 - 0.05 ** (1 / n))


@pytest.mark.parametrize(("share", "loss"), [(0.005, 0.0), (0.01, 0.5), (0.03, 1.0), (0.002, 0.2)])
def test_one_sided_bounds_cover_in_at_least_95_of_100_draws(share, loss):
    """`share` of the images are gained, `loss` points more of them lost; 2,000 images each."""
    draws = np.random.default_rng(7).multinomial(
        2000, [share + loss / 100, share, 1 - 2 * share - loss / 100], size=20_000
    )
    bounds = loss_bounds(np.full(len(draws), 2000), draws[:, 0], draws[:, 1])
    assert (bounds >= loss).mean() >= 0.948


def test_mcnemar_is_the_sign_test():
    for lost, gained in itertools.product(range(7), range(7)):
        count = lost + gained
        tail = sum(math.comb(count, k) for k in range(min(lost, gained) + 1)) / 2**count
        assert mcnemar(lost, gained) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(3000, 3000) == pytest.approx(1.0)
    assert mcnemar(3000, 2000) < 1e-40


def test_holm_on_a_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.5], family=10) == pytest.approx([0.1, 1.0])


def test_the_best_of_equals_is_told_apart_in_at_most_5_of_100_draws():
    """Eight methods, all equally good; whichever comes out best is compared with the others."""
    rng, told, draws = np.random.default_rng(3), 0, 400
    for _ in range(draws):
        right = rng.random((8, 1000)) < 0.9
        losses = (100 - 100 * right.mean(axis=1)).tolist()
        best = int(np.argmin(losses))
        values = [compare(right[best], other).p_value for other in right]
        told += not all(tied_with_best(losses, values))
    assert told / draws <= 0.05


def test_a_clear_loser_is_not_tied():
    rng = np.random.default_rng(0)
    right = np.array([rng.random(2000) < share for share in (0.93, 0.92, 0.8)])
    losses = (-100 * right.mean(axis=1)).tolist()
    values = [compare(right[0], other).p_value for other in right]
    assert tied_with_best(losses, values) == [True, True, False]
    assert tied_with_best([], []) == []


def test_counts_of_a_comparison():
    a = np.array([1, 1, 0, 0, 1], bool)
    b = np.array([1, 0, 1, 0, 0], bool)
    assert compare(a, b) == Paired(5, lost=2, gained=1)


def test_scores_without_counts_are_bounded_by_their_agreement():
    """What is derived is never narrower than what counting gives."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        truth, told, named = rng.integers(0, 3, (3, 200))
        named = np.where(rng.random(200) < 0.8, told, named)
        counted = compare(told == truth, named == truth)
        right = float((named == truth).mean())
        scores = Scores(200, 0.1, float((named == told).mean()), right)
        reference = Scores(200, 0.0, 1.0, float((told == truth).mean()))
        derived = against_float(scores, reference)
        assert derived.points == pytest.approx(counted.points)
        assert not derived.exact
        assert derived.upper >= counted.upper - 1e-9
        known = Scores(200, 0.1, 0.5, right, lost=counted.lost, gained=counted.gained)
        assert against_float(known) == counted


def test_what_cannot_be_compared_is_not():
    scores = Scores(200, 0.1, 0.9, 0.8)
    assert against_float(scores) is None
    assert against_float(scores, Scores(100, 0.0, 1.0, 0.9)) is None
    assert against_float(Scores(200, 0.1, 0.9)) == Paired(200, 20, 0)


def test_a_front_promises_down_to_the_first_that_fails():
    assert promises([0.2, 0.1, 0.9, 0.3]).tolist() == [0.2, 0.2, 0.9, 0.9]
    assert promises([]).tolist() == []


def test_all_promises_of_a_front_hold_together_in_95_of_100_draws():
    """Twenty members, each losing exactly what is allowed: the smallest picked is within it."""
    rng, kept, draws = np.random.default_rng(5), 0, 1000
    # beyond the third member every one loses more than the 0.5 points that are allowed
    losses = np.array([0.1, 0.2, 0.3, *np.linspace(0.51, 0.6, 17)])
    for _ in range(draws):
        lost = rng.binomial(5000, 0.01 + losses / 100)
        gained = rng.binomial(5000, 0.01, len(losses))
        reached = promises(loss_bounds(np.full(20, 5000), lost, gained)) <= 0.5
        kept += losses[reached].max(initial=0.0) <= 0.5
    assert kept / draws >= 0.95
