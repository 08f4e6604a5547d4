"""Random allocations, spread over the whole range of costs: what luck alone achieves."""

from dataclasses import dataclass, field

import numpy as np

from qcore.problem import Problem, Proposals
from qcore.searches.base import Search
from qcore.searches.space import Space, measure, space_of

TRIES = 20
"""Draws for each allocation wanted, before a small space counts as exhausted."""


@dataclass(frozen=True)
class RandomParams:
    """How many random allocations to measure.

    Attributes:
        evaluations: Distinct allocations to measure; fewer where not so many exist.
    """

    evaluations: int = field(
        default=64,
        metadata={
            "label": "Allocations",
            "min": 1,
            "max": 10_000,
            "help": "How many different random allocations to measure.",
        },
    )


def sampled(problem: Problem, params: RandomParams, rng: np.random.Generator) -> Proposals:
    """Measure random allocations within the budget, their costs spread evenly on a log scale.

    Raises:
        InfeasibleBudget: nothing fits the budget.
    """
    space = space_of(problem)
    low = max(1.0, float(space.cheapest[0]))
    high = max(low, float(min(space.limits[0], space.dearest[0])))
    drawn: dict[tuple[int, ...], None] = {}
    for attempt in range(TRIES * params.evaluations):
        if len(drawn) == params.evaluations:
            break
        # stratified, so that every stretch of the cost range gets its share of the draws
        share = (attempt % params.evaluations + rng.random()) / params.evaluations
        choice = draw(space, low * (high / low) ** share, rng)
        drawn.setdefault(tuple(int(index) for index in choice))
    order = rng.permutation(len(drawn))
    choices = list(drawn)
    yield from measure([space.allocation(choices[i]) for i in order], "random allocations")


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
    most[0] = min(most[0], max(target, float(space.cheapest[0])))
    orders = [np.lexsort(price.T[::-1]) for price in space.prices]
    sorted_prices = [price[order] for price, order in zip(space.prices, orders, strict=True)]
    ranks = np.array([rng.integers(len(order)) for order in orders])
    spent = np.sum([p[r] for p, r in zip(sorted_prices, ranks, strict=True)], axis=0)

    def change(layer: int, to: int) -> np.ndarray:
        prices = sorted_prices[layer]
        return np.asarray(prices[to] - prices[ranks[layer]])

    while (spent > most).any():
        cost = int(np.argmax(spent > most))
        lower = [
            (layer, to)
            for layer, rank in enumerate(ranks)
            for to in range(len(orders[layer]))
            if change(layer, to)[cost] < 0 and (change(layer, to) <= 0).all() and to != rank
        ]
        if not lower:
            return _cheapest(space, most)
        nearest = {layer: max(t for at, t in lower if at == layer) for layer, _ in lower}
        layer = int(rng.choice(sorted(nearest)))
        spent = spent + change(layer, nearest[layer])
        ranks[layer] = nearest[layer]
    for layer in rng.permutation(len(ranks)):
        while ranks[layer] + 1 < len(orders[layer]):
            step = change(layer, ranks[layer] + 1)
            if (spent + step > most).any():
                break
            spent = spent + step
            ranks[layer] += 1
    return np.array([order[rank] for order, rank in zip(orders, ranks, strict=True)])


def _cheapest(space: Space, most: np.ndarray) -> np.ndarray:
    # options that trade one cost for another can block lowering; the exact solver cannot be blocked
    front = space.front([price[:, 0].astype(float) for price in space.prices])
    inside = (front.costs <= most).all(axis=1)
    return np.asarray(front.choices[int(np.argmax(inside))])


SEARCH = Search(
    name="random",
    title="Random",
    summary="Random allocations spread over the whole cost range, within the budget.",
    params=RandomParams,
    run=sampled,
)
