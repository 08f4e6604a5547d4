"""Whether two allocations differ in accuracy by more than chance. Pure functions.

Both were scored on the same images, so the comparison is paired: what matters is on how many images
one is right and the other wrong. The bootstrap draws images with replacement (Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapter 13: the percentile interval).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcore.errors import InvalidData

DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more accurate b is than a, in percent points.

    Attributes:
        points: Accuracy of b minus that of a.
        low: Lower end of its interval, 95 % unless asked for otherwise.
        high: Upper end.
        n: Images both were scored on.
        draws: Bootstrap draws behind the interval; 0 where it was worked out without.
        p_value: Two-sided: how often draws lie on the other side of 0, doubled; at least
            2 / (draws + 1), for draws cannot tell less. Not corrected for other comparisons.
    """

    points: float
    low: float
    high: float
    n: int
    draws: int
    p_value: float = 1.0

    @property
    def shown(self) -> bool:
        """True when the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def text(self, unit: str = "points") -> str:
        """Write the difference and its interval: "+0.84 points (+0.12 to +1.55)"."""
        return f"{self.points:+.2f} {unit} ({self.low:+.2f} to {self.high:+.2f})"


def paired_bootstrap(
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Difference:
    """Difference of accuracy between two sides on the same images, with an interval.

    Args:
        a: One side: per seed of its method, bool (n,): which images were named right.
        b: The other side, on the same n images in the same order. Seeds are averaged image by
            image before images are drawn: the interval is about the images, not about the seeds.
        draws: How often n images are drawn with replacement.
        seed: Of the draws; same seed, same interval.
        level: Share of the draws within the interval, 0 to 1.

    Raises:
        InvalidData: a side is empty, or not all are about the same number of images.

    Example:
        >>> side = np.arange(1000) < 900
        >>> paired_bootstrap([side], [side]).text()
        '+0.00 points (+0.00 to +0.00)'
    """
    counts = {len(right) for right in (*a, *b)}
    if not a or not b or len(counts) != 1 or 0 in counts:
        found = ", ".join(f"{count:,}" for count in sorted(counts)) or "none"
        raise InvalidData(
            f"A paired comparison needs the same test images on both sides; found {found}. "
            "Measure both again on the same data."
        )
    change = np.mean(np.asarray(b, float), axis=0) - np.mean(np.asarray(a, float), axis=0)
    # an image counts by its change alone, and few changes are possible: drawing how often each
    # occurs is the same as drawing the images, and quick
    values, counted = np.unique(change.round(12), return_counts=True)
    n = len(change)
    drawn = np.random.default_rng(seed).multinomial(n, counted / n, size=draws)
    means = 100 * (drawn @ values) / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    # draws add up in their own order: where nothing varies the ends must not miss the mean
    mean = float(100 * change.mean())
    ends = (float(low), float(high)) if len(values) > 1 else (mean, mean)
    beyond = min(int((means <= 1e-9).sum()), int((means >= -1e-9).sum()))
    return Difference(mean, *ends, n, draws, min(1.0, 2 * (beyond + 1) / (draws + 1)))
