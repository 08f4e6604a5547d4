"""Random allocations, spread over the whole range of costs: what luck alone achieves."""

from dataclasses import dataclass, field

import numpy as np

from qcore.allocation import BitAllocation
from qcore.problem import Ask, Problem, Progress, Proposals
from qcore.searches.base import Search
from qcore.searches.space import BATCH, Space, space_of

MISSES = 100
"""Draws in a row that bring nothing new, after which a small space counts as exhausted."""


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
    seen: set[tuple[int, ...]] = set()
    batch: list[BitAllocation] = []
    misses, strata = 0, np.zeros(0, dtype=int)
    while len(seen) < params.evaluations and misses < MISSES:
        if not len(strata):
            strata = rng.permutation(params.evaluations)
        # stratified, so that every stretch of the cost range gets its share of the draws
        # and a little beyond it, so that both its ends are drawn as well
        beyond = 0.5 / params.evaluations
        share = (strata[0] + rng.random()) / params.evaluations
        share = min(1.0, max(0.0, share * (1 + 2 * beyond) - beyond))
        strata = strata[1:]
        choice = draw(space, low * (high / low) ** share, rng)
        key = tuple(choice.tolist())
        misses = misses + 1 if key in seen else 0
        if misses:
            continue
        seen.add(key)
        batch.append(space.allocation(choice))
        if len(batch) == BATCH:
            yield Progress(len(seen) - BATCH, params.evaluations, "measuring random allocations")
            yield Ask(tuple(batch))
            batch = []
    if batch:
        yield Ask(tuple(batch))
    yield Progress(len(seen), len(seen), f"measured random allocations: {len(seen)}")


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


SEARCH = Search(
    name="random",
    title="Random",
    summary="Random allocations spread over the whole cost range, within the budget.",
    params=RandomParams,
    run=sampled,
)
