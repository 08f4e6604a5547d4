"""Predicted damage told in points of loss, by what was measured of the same network. Pure.

A sensitivity predicts nats, and nobody has a feeling for nats. More damage should cost more points,
so the loss is fitted as a function that never falls: isotonic regression by pooling adjacent
violators (Ayer et al., An Empirical Distribution Function for Sampling with Incomplete Information,
1955), joined by straight lines between the pools.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ENOUGH = 20
"""Measured allocations that a calibration takes; with fewer, damage stays in its own unit."""

NEIGHBOURS = 60
"""Measured allocations, those predicted most alike, whose errors make an interval."""

FOLDS = 10
"""Parts the allocations are dealt into; each is predicted by a fit that has not seen it."""

KNOTS = 64
"""Places at most at which an interval is worked out; between them it is drawn straight."""


@dataclass(frozen=True)
class Calibration:
    """Loss in points as a function of predicted damage.

    Attributes:
        at: Predicted damage of the knots, rising, from 0 to the most that was measured.
        mean: Loss against the float network on the same images there, in points; never falls.
        low: Lower end of the 95 % interval of one allocation's measured loss, in points.
        high: Its upper end.
        n: Measured allocations behind it.
    """

    at: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int

    def loss(self, damage: float) -> tuple[float, float, float] | None:
        """Read it at one damage.

        Returns:
            (mean, low, high) in points; None beyond all that was measured, or below 0.
        """
        if not self.at[0] <= damage <= self.at[-1]:
            return None
        mean, low, high = (
            float(np.interp(damage, self.at, values)) for values in (self.mean, self.low, self.high)
        )
        return mean, low, high


def isotonic(values: Sequence[float]) -> list[tuple[int, float]]:
    """The never falling row of numbers that is nearest to these, by least squares.

    Returns:
        Its level parts in order: how many values each one stands for, and their mean.

    Example:
        >>> isotonic([1.0, 3.0, 2.0, 4.0])
        [(1, 1.0), (2, 2.5), (1, 4.0)]
    """
    pools: list[tuple[int, float]] = []
    for value in values:
        count, mean = 1, float(value)
        while pools and pools[-1][1] >= mean:
            more, other = pools.pop()
            mean = (count * mean + more * other) / (count + more)
            count += more
        pools.append((count, mean))
    return pools


def calibrate(damage: Sequence[float], loss: Sequence[float]) -> Calibration | None:
    """Fit measured losses to predicted damages.

    The interval is of a single allocation measured on images like these: the mean, and from the
    errors of its NEIGHBOURS by prediction the 2.5 % and 97.5 % quantiles, each error made by a fit
    to the other nine tenths. Fewer than 40 errors have no such quantiles: then it spans them all.

    Args:
        damage: Predicted damage of measured allocations, in any one unit.
        loss: What each lost against the float network on the same images, in points; negative
            where it was better.

    Returns:
        None where there are fewer than ENOUGH, or all are predicted alike.
    """
    x, y = np.asarray(damage, float), np.asarray(loss, float)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    if len(x) < ENOUGH or x[0] == x[-1]:
        return None
    centres, means = _fit(x, y)
    errors = y - _held_out(x, y)
    least, most = min(0.0, float(x[0])), float(x[-1])
    ranks = np.unique(np.linspace(0, len(x) - 1, KNOTS).round().astype(int))
    at = np.unique(np.concatenate([[least, most], x[ranks], centres]))
    mean = np.interp(at, centres, means)
    spans = [_span(errors[_nearest(x, place)]) for place in at]
    low = [float(m + min(0.0, below)) for m, (below, _) in zip(mean, spans, strict=True)]
    high = [float(m + max(0.0, above)) for m, (_, above) in zip(mean, spans, strict=True)]
    return Calibration(tuple(at.tolist()), tuple(mean.tolist()), tuple(low), tuple(high), len(x))


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres and means of the pools. Float loses nothing at no damage: the line begins there."""
    starts = np.flatnonzero(np.diff(x, prepend=-np.inf))
    counts = np.diff([*starts, len(x)])
    # equal predictions are one value each time it occurs, or their order would matter
    together = np.repeat(np.add.reduceat(y, starts) / counts, counts)
    centres, means, passed = [], [], 0
    for count, mean in isotonic(together.tolist()):
        centres.append(float(x[passed : passed + count].mean()))
        means.append(mean)
        passed += count
    if centres[0] > 0 and means[0] > 0:
        centres, means = [0.0, *centres], [0.0, *means]
    return np.array(centres), np.array(means)


def _held_out(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What fits to the other folds say of each value; folds are dealt in order of x."""
    said = np.empty(len(x))
    fold = np.arange(len(x)) % FOLDS
    for part in range(FOLDS):
        mine = fold == part
        said[mine] = np.interp(x[mine], *_fit(x[~mine], y[~mine]))
    return said


def _nearest(x: np.ndarray, place: float) -> slice:
    """The NEIGHBOURS values around a place of rising x, as many on each side where there are."""
    count = min(NEIGHBOURS, len(x))
    middle = int(np.searchsorted(x, place))
    start = min(max(0, middle - count // 2), len(x) - count)
    return slice(start, start + count)


def _span(errors: np.ndarray) -> tuple[float, float]:
    low = np.quantile(errors, 0.025, method="lower")
    high = np.quantile(errors, 0.975, method="higher")
    return float(low), float(high)
