"""Which layers' bits the divergence of measured allocations depends on. Pure functions.

The method, so that a reader can judge it: the logarithm of the divergence is fitted by a sum of one
term per layer and part (ridge regression on "at least this wide" of every width tried). The
importance of a term is half of what shuffling its bits adds to the squared error on points that the
fit has not seen, averaged over all shuffles, as a share of the variance: where layers vary on their
own, that is the share of the variance that is theirs. What two layers do only together is counted
for neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pages.shared.points_table import fitting
from qcore.allocation import BitAllocation, ModelSpec
from qcore.problem import PTQ
from store import StoredPoint

FEWEST = 30
"""Different allocations below which nothing is said: a fit of them would show their noise."""

FOLDS = 5
RIDGE = 0.1
"""Weight of the ridge against one point, where every column has a variance of 1."""

GROUPS = 10
"""Parts of the points that are left out in turn for the intervals."""

T_95 = 2.262
"""Quantile of Student's t that leaves out 5 % with one degree of freedom less than GROUPS."""

SMALLEST_KL = 1e-6
"""Nats; what diverges less counts as this, for a logarithm has no place for 0."""

MOST_POINTS = 1000
"""Allocations that are fitted; of more, so many drawn by a fixed seed."""

MOST_COLUMNS = 300
"""With more columns than this, a layer is a line over its widths and no longer a free curve."""

PARTS = ("weights", "inputs")


@dataclass(frozen=True)
class Tried:
    """Different allocations, measured with the network's own weights on the same images.

    Attributes:
        allocations: Each once.
        divergence: Of each, from the float network on the search split, nats, above 0.
    """

    allocations: tuple[BitAllocation, ...]
    divergence: np.ndarray


def tried(points: Sequence[StoredPoint], model: ModelSpec) -> Tried:
    """What was measured of a network whose weights were not trained, each allocation once.

    Args:
        points: Of runs of one setting; trained and tuned ones and those of other layers are left
            out, for they were measured with other weights.
        model: The network.
    """
    kept = {
        stored.point.allocation.digest: stored.point
        for stored in fitting(points, model)
        if stored.point.stage == PTQ and stored.point.images is None
    }
    values = [max(SMALLEST_KL, point.search.kl) for point in kept.values()]
    return Tried(tuple(point.allocation for point in kept.values()), np.array(values, float))


def bits_matrix(
    allocations: Sequence[BitAllocation], part: str, layers: Sequence[str]
) -> np.ndarray:
    """Bits (points, layers) of one of PARTS; 32 is float."""
    weights = part == PARTS[0]
    rows = [
        [one[name].weight if weights else one[name].activation for name in layers]
        for one in allocations
    ]
    return np.array(rows, int).reshape(len(allocations), len(layers))


def importance(measured: Tried, layers: Sequence[str]) -> pd.DataFrame:
    """How much of the divergence's variance hangs on each layer's bits.

    Args:
        measured: From `tried`.
        layers: Names of the layers, in order.

    Returns:
        One row per layer and part whose bits differ among the points: "layer", "part", "share" and
        its 95 % interval "low" and "high" (percent of the variance of the logarithm of the
        divergence; about 0, and below it by chance, where bits do not matter; shares need not
        add up to 100). Empty with fewer than FEWEST allocations or equal divergences.
        `attrs["explained"]` is the share of the variance that the fit predicts of unseen points,
        percent.
    """
    columns = ["layer", "part", "share", "low", "high"]
    taken = fitted(len(measured.allocations))
    target = np.log10(measured.divergence[taken])
    names, terms = _terms([measured.allocations[place] for place in taken], layers)
    if len(target) < FEWEST or not terms or not np.ptp(target) > 0:
        return pd.DataFrame(columns=columns)
    variance = float(target.var())
    share, explained = _shares(target, terms, variance)
    # the fit hangs on the points too: leaving parts of them out in turn shows how much (jackknife)
    part = np.random.default_rng(1).permutation(len(target)) % GROUPS
    without = np.array(
        [
            _shares(target[part != group], [term[part != group] for term in terms], variance)[0]
            for group in range(GROUPS)
        ]
    )
    half = T_95 * np.sqrt((GROUPS - 1) * without.var(axis=0))
    frame = pd.DataFrame(
        {
            "layer": [layer for layer, _ in names],
            "part": [part for _, part in names],
            "share": 100 * share,
            "low": 100 * (share - half),
            "high": 100 * (share + half),
        },
        columns=columns,
    )
    frame.attrs["explained"] = 100 * explained
    return frame


def fitted(count: int) -> np.ndarray:
    """Places of the allocations that are fitted, at most MOST_POINTS, rising."""
    drawn = np.random.default_rng(2).permutation(count)[:MOST_POINTS]
    return np.sort(drawn)


def _terms(
    allocations: Sequence[BitAllocation], layers: Sequence[str]
) -> tuple[list[tuple[str, str]], list[np.ndarray]]:
    """What differs: (layer, part), and of each its columns (points, widths tried less one)."""
    names, terms = [], []
    for part in PARTS:
        bits = bits_matrix(allocations, part, layers)
        for place, layer in enumerate(layers):
            widths = np.unique(bits[:, place])[1:]
            if len(widths):
                names.append((layer, part))
                terms.append((bits[:, place, None] >= widths).astype(float))
    if sum(term.shape[1] for term in terms) > MOST_COLUMNS:
        terms = [term.sum(axis=1, keepdims=True) for term in terms]
    return names, terms


def _shares(
    target: np.ndarray, terms: Sequence[np.ndarray], variance: float
) -> tuple[np.ndarray, float]:
    """Of the variance: each term's share, and what the fit predicts of unseen points."""
    added, left = _added_errors(target, terms)
    return added.mean(axis=0) / variance, 1 - float(np.mean(left**2)) / variance


def _added_errors(target: np.ndarray, terms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Half of what shuffling each term adds to a point's squared error, and each point's error.

    The mean over all shuffles of the held-out points is known in closed form, so nothing is drawn.

    Returns:
        (points, terms) in squared units of the target, and (points,).
    """
    design = np.concatenate(terms, axis=1)
    starts = np.cumsum([0, *(term.shape[1] for term in terms[:-1])])
    # the order is that of the search: a fixed shuffle makes the folds alike
    fold = np.random.default_rng(0).permutation(len(target)) % FOLDS
    added, left = np.zeros((len(target), len(terms))), np.zeros(len(target))
    for held in (fold == number for number in range(FOLDS)):
        center, scale = design[~held].mean(axis=0), design[~held].std(axis=0)
        scale[scale == 0] = 1
        seen, unseen = (design[~held] - center) / scale, (design[held] - center) / scale
        middle = target[~held].mean()
        ridge = RIDGE * np.eye(design.shape[1])
        slopes = np.linalg.solve(seen.T @ seen + ridge, seen.T @ (target[~held] - middle))
        left[held] = target[held] - middle - unseen @ slopes
        term = np.add.reduceat(unseen * slopes, starts, axis=1)
        away = term - term.mean(axis=0)
        added[held] = left[held, None] * away + (away**2 + away.var(axis=0)) / 2
    return added, left
