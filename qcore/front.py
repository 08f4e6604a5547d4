"""Pareto fronts of measured points: dominance, hypervolume, the best within a budget.

Costs and values are both minimised. The exact fronts of additive scores are computed in
`solvers.knapsack`.
"""

from collections.abc import Mapping, Sequence

SLACK = 1e-9
"""Relative slack on limits, so that a limit copied from a point's own cost admits that point."""


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """True when a is nowhere larger than b and somewhere smaller; NaN never dominates."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(
        x < y for x, y in zip(a, b, strict=True)
    )


def front_points(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points no other point dominates, by rising cost.

    Args:
        costs: Cost of each point; lower is better.
        values: Value of each point; lower is better.

    Returns:
        Indices with strictly rising costs and strictly falling values; of equal points the first.

    Example:
        >>> front_points([1, 2, 2, 3], [9.0, 5.0, 5.0, 7.0])
        [0, 1]
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], values[i], i))
    front: list[int] = []
    for index in order:
        if not front or values[index] < values[front[-1]]:
            front.append(index)
    return front


def hypervolume(
    costs: Sequence[float], values: Sequence[float], reference: tuple[float, float]
) -> float:
    """Area dominated by the points within a reference corner (cost, value), both minimised.

    Points beyond the reference in either direction add nothing; no points is 0. Unit: cost * value.

    Reference: Zitzler and Thiele, PPSN V, 1998 (the S metric), in two dimensions.
    """
    inside = [i for i in range(len(costs)) if costs[i] < reference[0] and values[i] < reference[1]]
    front = [
        inside[i] for i in front_points([costs[i] for i in inside], [values[i] for i in inside])
    ]
    area, right = 0.0, reference[0]
    for index in reversed(front):
        area += (right - costs[index]) * (reference[1] - values[index])
        right = costs[index]
    return area


def best_within(
    costs: Mapping[str, Sequence[float]], values: Sequence[float], limits: Mapping[str, float]
) -> int | None:
    """The one picking rule: the point with the lowest value among those within every limit.

    Args:
        costs: Cost name to the cost of each point.
        values: Value of each point: what the search minimised.
        limits: Cost name to its limit; costs without a limit are free.

    Returns:
        Its index; of equal values the lowest first limited cost (first cost where there are no
        limits) wins, then the lowest index. None when no point fits.
    """
    tie = next(iter(limits), next(iter(costs), None))
    fitting = [
        i
        for i in range(len(values))
        if all(costs[name][i] <= limit * (1 + SLACK) for name, limit in limits.items())
    ]
    if not fitting:
        return None
    return min(fitting, key=lambda i: (values[i], costs[tie][i] if tie else 0, i))
