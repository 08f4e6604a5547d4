"""Random allocations, spread over the whole range of costs: what luck alone achieves."""

from dataclasses import dataclass

import numpy as np

from qcore.allocation import BitAllocation
from qcore.problem import Ask, Problem, Progress, Proposals
from qcore.search import Search, setting
from qcore.solvers.sampling import MISSES, draw
from qcore.solvers.space import BATCH, space_of


@dataclass(frozen=True)
class RandomParams:
    """How many random allocations to measure; fewer where not so many exist."""

    evaluations: int = setting(
        64, "Allocations", "How many different random allocations to measure.", min=1, max=10_000
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


SEARCH = Search(
    name="random",
    title="Random",
    family="search",
    summary="Random allocations spread over the whole cost range, within the budget.",
    params=RandomParams,
    run=sampled,
    look=0,
    aims=False,
)
