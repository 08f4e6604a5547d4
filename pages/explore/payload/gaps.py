"""Where a front has not been searched: wide stretches of cost without a member. Pure."""

from collections.abc import Iterable
from itertools import pairwise

GAP = 1.1
"""A stretch between neighbouring members is a gap where its ends differ by more than this."""


def gaps(costs: Iterable[float]) -> list[tuple[float, float]]:
    """The gaps between what is on some front.

    Args:
        costs: Costs of the members of every method's front; above 0.

    Returns:
        (from, to) by rising cost, in the unit of the costs.

    Example:
        >>> gaps([30.0, 10.0, 10.5])
        [(10.5, 30.0)]
    """
    known = sorted({cost for cost in costs if cost > 0})
    return [(a, b) for a, b in pairwise(known) if b > GAP * a]
