"""Differences of scores that are numbers: against the textbook, and by simulation."""

import numpy as np
import pytest

from qcore.graded import Graded, graded, t_quantile, t_test
from qcore.paired import against_float, compare
from qcore.problem import Scores


def test_the_distribution_is_students():
    # published quantiles of t
    assert t_quantile(0.975, 10) == pytest.approx(2.228, abs=1e-3)
    assert t_quantile(0.95, 4) == pytest.approx(2.132, abs=1e-3)
    assert t_test(2.228, 10) == pytest.approx(0.05, abs=1e-4)
    assert t_test(0.0, 10) == pytest.approx(1.0)


def test_a_difference_and_its_interval():
    one, other = np.array([0.5, 0.25, 1.0, 0.75]), np.array([0.25, 0.25, 0.5, 0.75])
    pair = graded(one, other)
    assert (pair.n, pair.change) == (4, pytest.approx(0.1875))
    low, high = pair.interval
    assert (low + high) / 2 == pytest.approx(pair.points) == pytest.approx(18.75)
    assert low < pair.points < pair.upper < high
    assert compare(one, other) == pair
    assert graded(one, other, 1.0).points == pytest.approx(0.1875)


def test_equal_scores_cannot_be_told_apart():
    same = np.array([0.5, 0.25])
    assert graded(same, same).p_value == 1
    assert graded(same, same - 0.25).p_value == 0  # every sample loses the same


def test_intervals_hold_what_they_promise():
    rng = np.random.default_rng(0)
    covered = bounded = told = 0
    for _ in range(2000):
        base = rng.normal(30, 4, 40)
        pair = graded(base, base - 0.2 + rng.normal(0, 1, 40), 1.0)
        low, high = pair.interval
        covered += low <= 0.2 <= high
        bounded += pair.bound(0.95) >= 0.2
        told += graded(base, base + rng.normal(0, 1, 40)).p_value <= 0.05
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)
    assert bounded / 2000 == pytest.approx(0.95, abs=0.015)
    assert told / 2000 == pytest.approx(0.05, abs=0.015)


def test_scores_of_a_judge_that_counts_nothing_are_graded():
    scores = Scores(n=50, kl=0.1, agreement=0.9, score_error=0.01, change=0.1, change_error=0.02)
    assert against_float(scores) == Graded(50, 0.1, 0.02)
    assert against_float(scores, None, 1.0).points == pytest.approx(0.1)
    endless = Scores(n=50, kl=0.1, agreement=31.0, score_error=0.5)
    assert against_float(endless) is None
