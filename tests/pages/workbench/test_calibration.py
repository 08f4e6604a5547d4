import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.workbench.calibration import ENOUGH, calibrate, isotonic

VALUES = st.lists(st.integers(-40, 40), min_size=1, max_size=12)


def levels(pools):
    return [mean for count, mean in pools for _ in range(count)]


@given(VALUES)
def test_pooling_gives_the_nearest_row_that_never_falls(values):
    """By the min-max formula: the largest over starts of the smallest mean over ends."""
    wanted = [
        max(
            min(np.mean(values[start : end + 1]) for end in range(at, len(values)))
            for start in range(at + 1)
        )
        for at in range(len(values))
    ]
    found = isotonic(values)
    assert levels(found) == pytest.approx(wanted)
    assert [mean for _, mean in found] == sorted({mean for _, mean in found})


def made_up(count, seed, noise=0.4):
    """Damages, and losses that rise with them more and more, with errors that do too."""
    rng = np.random.default_rng(seed)
    damage = rng.gamma(1.0, 0.1, count)
    loss = 60 * damage**1.5 + noise * (1 + 8 * damage) * rng.standard_normal(count)
    return damage, loss


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_never_falls_and_lies_in_its_interval(seed):
    found = calibrate(*made_up(150, seed))
    assert found.n == 150
    assert list(found.at) == sorted(set(found.at))
    assert list(found.mean) == sorted(found.mean)
    for low, mean, high in zip(found.low, found.mean, found.high, strict=True):
        assert low <= mean <= high


def test_nineteen_in_twenty_new_allocations_lie_in_the_interval():
    inside = []
    for seed in range(20):
        found = calibrate(*made_up(300, seed))
        for damage, loss in zip(*made_up(300, 1000 + seed), strict=True):
            told = found.loss(damage)
            if told is not None:
                inside.append(told[1] <= loss <= told[2])
    assert len(inside) > 5000
    assert 0.93 <= np.mean(inside) <= 0.99


def test_the_order_of_the_points_makes_no_difference():
    damage, loss = made_up(80, 4)
    damage = damage.round(2)
    order = np.random.default_rng(0).permutation(80)
    found, other = calibrate(damage, loss), calibrate(damage[order], loss[order])
    assert (found.at, found.mean) == (other.at, pytest.approx(other.mean))


def test_no_damage_loses_nothing_and_more_than_was_measured_is_not_told():
    damage, loss = made_up(60, 5, noise=0.0)
    found = calibrate(damage + 0.05, loss + 1)
    assert found.loss(0.0)[0] == 0.0
    assert found.loss(max(damage) + 0.05) is not None
    assert found.loss(max(damage) + 0.06) is None
    assert found.loss(-0.01) is None


def test_too_few_or_all_alike_tell_nothing():
    damage, loss = made_up(ENOUGH, 6)
    assert calibrate(damage, loss) is not None
    assert calibrate(damage[1:], loss[1:]) is None
    assert calibrate(np.full(50, 0.3), np.arange(50.0)) is None
