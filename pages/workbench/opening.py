"""Where the workbench opens when no link says where: at the best that was measured. Pure."""

from collections.abc import Iterable
from itertools import groupby

from pages.shared.ranges import budget_range
from qcore.allocation import ModelSpec
from qcore.costs import COSTS
from qcore.front import SLACK
from qcore.problem import PTQ
from store import StoredPoint

COST = COSTS["weight_bytes"]


def default_budget(model: ModelSpec) -> float:
    """The bytes of weights that Explore's budget begins with."""
    span = budget_range(COST, model)
    return span.start * span.factor


def best_point(points: Iterable[StoredPoint], model: ModelSpec, limit: float) -> StoredPoint | None:
    """The measured point that diverges least from the float network within a budget.

    Only points of the network as it is count, measured on the whole search split: bits by hand are
    measured that way too.

    Args:
        points: Measured on the same images.
        model: Whose layers they must name.
        limit: Most bytes of weights.

    Returns:
        Of equal divergence the smaller, then the one that was measured first; None where nothing
        fits.
    """
    names = set(model.names)
    usable = [
        stored
        for stored in points
        if stored.point.stage == PTQ
        and stored.point.images is None
        and set(stored.point.allocation) == names
    ]
    usable.sort(key=lambda stored: stored.point.search.kl)
    # sizes are asked for only until one fits: there may be thousands of points
    for _, alike in groupby(usable, key=lambda stored: stored.point.search.kl):
        sized = [
            (COST.total(model, stored.point.allocation), stored.id, stored) for stored in alike
        ]
        fitting = [found for found in sized if found[0] <= limit * (1 + SLACK)]
        if fitting:
            return min(fitting, key=lambda found: found[:2])[2]
    return None
