"""Paired comparison of two networks whose samples are not right or wrong but have a number each.

What `paired.Paired` is for counted answers, this is for scores such as PSNR or the share of a
document's tokens: a difference per sample, its mean, and a t interval. Torch-free and pure.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Graded:
    """How one network scores compared with another, on the same samples.

    Attributes:
        n: Samples both were scored on.
        change: Mean of the other's score less this one's.
        error: Its standard error.
        factor: What a score is multiplied with to be written: 100 for shares, so that `points` are
            percent points; 1 for decibels.
    """

    n: int
    change: float
    error: float
    factor: float = 100.0

    @property
    def points(self) -> float:
        """Score lost against the other network, in the unit it is written in."""
        return self.factor * self.change

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `points` (Student's t)."""
        half = self.factor * self.error * t_quantile(0.975, self.n - 1)
        return self.points - half, self.points + half

    @property
    def upper(self) -> float:
        """The loss that it stays below with 95 % confidence, one-sided."""
        return self.bound(0.95)

    def bound(self, level: float) -> float:
        """The loss that it stays below with this confidence, one-sided."""
        return self.points + self.factor * self.error * t_quantile(level, self.n - 1)

    @property
    def p_value(self) -> float:
        """Chance of a difference at least as large if neither were better (paired t test)."""
        if self.error == 0:
            return 1.0 if self.change == 0 else 0.0
        return t_test(self.change / self.error, self.n - 1)


def graded(other: np.ndarray, this: np.ndarray, factor: float = 100.0) -> Graded:
    """How `this` scores compared with `other`, float (n,) each, on the same samples in order."""
    change = other.astype(float) - this.astype(float)
    n = len(change)
    error = float(change.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    return Graded(n, float(change.mean()), error, factor)


def t_quantile(level: float, freedom: float) -> float:
    """Quantile of Student's t distribution; with infinite freedom the normal one's."""
    # what pages import must not load it before it is needed
    from scipy.special import ndtri, stdtrit

    return float(stdtrit(max(1, freedom), level) if math.isfinite(freedom) else ndtri(level))


def t_test(t: float, freedom: float) -> float:
    """Two-sided p-value of Student's t; with infinite freedom the normal one's."""
    from scipy.special import ndtr, stdtr

    below = stdtr(max(1, freedom), -abs(t)) if math.isfinite(freedom) else ndtr(-abs(t))
    return min(1.0, float(2 * below))
