"""Is one method better than another? Images and seeds both have their part in the answer. Pure.

`qcore.paired` compares two networks: all that is left to chance are the images. A search that
depends on a seed finds another network with another seed, and those differ truly. A difference of
methods is more than chance only where it is larger than what seeds and images move together:

    variance of the difference = image part + s_a / k_a + s_b / k_b

with k seeds a side and s the variance that seeds give the true score of a pick. The image part is
that of the mean difference per image, seeds averaged. s is the variance between seeds of one
method on the same images, less the part of it that images explain, pooled over methods (method of
moments, floored at 0); a method whose own seeds lie further apart is given its own. The test is a
t test with the pool's degrees of freedom. Satterthwaite's would be more where images count for
most; but with few seeds they are a guess, and in simulation up to 13 % of equal methods are then
told apart, where the pool's own keep to 5 %.

References: Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys 2021.
Satterthwaite, Biometrics Bulletin 2, 1946.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcore.errors import InvalidData
from qcore.graded import t_quantile, t_test
from qcore.paired import LEVEL


@dataclass(frozen=True, slots=True)
class Spread:
    """How far seeds move the score of a method's pick, pooled over methods.

    Attributes:
        seen: Variance between seeds as measured on the images, points squared.
        noise: The part of `seen` that images explain, points squared.
        freedom: Its degrees of freedom: seeds beyond the first, of all methods; at least 1.
    """

    seen: float
    noise: float
    freedom: int

    @property
    def variance(self) -> float:
        """Variance of the true score from seed to seed, points squared; 0 or more."""
        return max(0.0, self.seen - self.noise)

    @property
    def points(self) -> float:
        """Standard deviation of the true score from seed to seed, points."""
        return math.sqrt(self.variance)


@dataclass(frozen=True, slots=True)
class MethodDifference:
    """How much better method b is than method a, in points, over images and seeds.

    Attributes:
        points: Mean score of b minus that of a.
        error: Its standard error over images and seeds.
        step: The most that a single image moves it: the test takes that off, so that few images
            on which sides differ do not pass for many.
        freedom: Degrees of freedom of the error; infinite where seeds have no part in it.
        n: Images.
    """

    points: float
    error: float
    step: float
    freedom: float
    n: int

    @property
    def p_value(self) -> float:
        """Two-sided: chance of a difference at least as large if neither method were better."""
        beyond = abs(self.points) - self.step
        if beyond <= 0 or self.error == 0:
            return 1.0
        return t_test(beyond / self.error, self.freedom)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Interval of the difference; it leaves out 0 where `p_value` is below 1 - level."""
        half = t_quantile((1 + level) / 2, self.freedom) * self.error + self.step
        return self.points - half, self.points + half


def seed_spread(methods: Sequence[Sequence[np.ndarray] | np.ndarray]) -> Spread | None:
    """How far seeds move the score, from all methods that ran with several.

    Args:
        methods: Per method one array per seed: bool or float (n,), the score of each image.
            Methods of one seed say nothing and are passed over.

    Returns:
        The spread, or None where no method has two seeds.

    Raises:
        InvalidData: seeds of one method have scores of different numbers of images.
    """
    seen = noise = 0.0
    freedom = 0
    for seeds in methods:
        if len(seeds) < 2:
            continue
        scores = _stacked(seeds)
        more = len(scores) - 1
        between = float(scores.mean(axis=1).var(ddof=1))
        # per image, seeds differ by luck of the image and by how good they are
        within = float(scores.var(axis=0, ddof=1).mean())
        seen += more * between
        noise += more * max(0.0, within - between) / max(1, scores.shape[1] - 1)
        freedom += more
    if not freedom:
        return None
    return Spread(1e4 * seen / freedom, 1e4 * noise / freedom, freedom)


def compare_methods(
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    pool: Spread | None = None,
    chance: tuple[bool, bool] = (True, True),
) -> MethodDifference:
    """Hold two methods against each other on the same images.

    Args:
        a: Of one method one array per seed: bool or float (n,), the score of each image.
        b: The same of the other, on the same images in the same order.
        pool: How far seeds move methods like these; None leaves seeds out of it: then networks
            are compared, and nothing is said of what another seed would find.
        chance: Whether either method depends on its seed; one that does not adds no variance.

    Returns:
        How much better b is.

    Raises:
        InvalidData: a side is empty, or not all are about the same number of images.

    Example:
        >>> worse, better = (np.arange(1000) < share for share in (900, 950))
        >>> found = compare_methods([worse], [better])
        >>> round(found.points, 1), found.p_value < 0.001
        (5.0, True)
    """
    sides = _stacked(a), _stacked(b)
    if sides[0].shape[1] != sides[1].shape[1]:
        raise _unlike([*a, *b])
    change = sides[1].mean(axis=0) - sides[0].mean(axis=0)
    n = len(change)
    # as if neither were better, as McNemar's test has it
    variance = 1e4 * float((change**2).mean()) / n
    freedom = math.inf
    for seeds, moved in zip(sides, chance, strict=True):
        if moved and pool is not None:
            own = seed_spread([seeds])
            most = max(pool.variance, own.variance if own else 0.0)
            variance += most / len(seeds)
            freedom = float(pool.freedom)
    step = 100 * float(np.abs(change).max()) / n
    return MethodDifference(100 * float(change.mean()), math.sqrt(variance), step, freedom, n)


def _stacked(seeds: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Scores of a method's seeds, float64 (seeds, n)."""
    if len(seeds) == 0 or len({len(each) for each in seeds}) != 1 or not len(seeds[0]):
        raise _unlike(seeds)
    return np.asarray(seeds, float)


def _unlike(answers: Sequence[np.ndarray] | np.ndarray) -> InvalidData:
    counts = sorted({len(each) for each in answers})
    found = ", ".join(f"{count:,}" for count in counts) or "none"
    return InvalidData(
        f"A paired comparison needs the same test images on both sides; found {found}. "
        "Measure both again on the same data."
    )
