"""Random allocations drawn evenly over the range of a cost, within limits. Torch-free."""

import numpy as np

from qcore.solvers.space import Space

MISSES = 100
"""Draws in a row that bring nothing new, after which a small space counts as exhausted."""


def draw(space: Space, target: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a choice within the limits whose primary cost is at most, and near, a target.

    Random layers of a random choice are lowered until it is cheap enough, then raised while it
    stays so. Every step moves one layer along its sorted options in one direction, so it ends.

    Args:
        space: What may be chosen.
        target: Wanted primary cost, in its unit and without the fixed part.
        rng: Source of randomness.

    Raises:
        InfeasibleBudget: nothing meets all limits at once.
    """
    most = space.limits.copy()
    # prices are whole numbers: this only undoes rounding of the target
    most[0] = min(most[0], max(target * (1 + 1e-12), float(space.cheapest[0])))
    orders = [np.lexsort(price.T[::-1]) for price in space.prices]
    sorted_prices = [price[order] for price, order in zip(space.prices, orders, strict=True)]
    ranks = np.array([rng.integers(len(order)) for order in orders])
    spent = np.sum([p[r] for p, r in zip(sorted_prices, ranks, strict=True)], axis=0)

    while (spent > most).any():
        cost = int(np.argmax(spent > most))
        for layer in rng.permutation(len(ranks)):
            steps = sorted_prices[layer] - sorted_prices[layer][ranks[layer]]
            lower = np.flatnonzero((steps[:, cost] < 0) & (steps <= 0).all(axis=1))
            if len(lower):
                spent = spent + steps[lower[-1]]
                ranks[layer] = lower[-1]
                break
        else:
            return _cheapest(space, most)
    for layer in rng.permutation(len(ranks)):
        while ranks[layer] + 1 < len(orders[layer]):
            step = sorted_prices[layer][ranks[layer] + 1] - sorted_prices[layer][ranks[layer]]
            if (spent + step > most).any():
                break
            spent = spent + step
            ranks[layer] += 1
    return np.array([order[rank] for order, rank in zip(orders, ranks, strict=True)])


def _cheapest(space: Space, most: np.ndarray) -> np.ndarray:
    # options that trade one cost for another can block lowering; the exact solver cannot be blocked
    scores = [price[:, 0].astype(float) for price in space.prices]
    for choice in space.optima(scores, [most, space.limits]):
        if choice is not None:
            return choice
    raise space.infeasible()
