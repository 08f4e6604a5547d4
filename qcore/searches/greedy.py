"""Greedy descent from the best bits: one layer at a time, least damage per cost saved first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcore.problem import Problem, Progress, Proposals
from qcore.search import Search, setting
from qcore.sensitivity.kinds import SENSITIVITIES
from qcore.solvers.descent import descend
from qcore.solvers.space import Space, measure, sensitivity_of, space_of

KINDS = tuple(SENSITIVITIES)
"""Sensitivities that give each layer a score of its own."""


@dataclass(frozen=True)
class GreedyParams:
    """Which sensitivity leads, and how many allocations of the descent are measured."""

    sensitivity: str = setting(
        "kl",
        "Sensitivity",
        "What predicts the damage of giving one layer fewer bits.",
        choices=KINDS,
    )
    points: int = setting(
        16, "Points", "How many allocations of the descent to measure.", min=1, max=500
    )


def greedy(problem: Problem, params: GreedyParams, rng: np.random.Generator) -> Proposals:
    """Measure allocations on the greedy descent, spread evenly on a log scale of cost.

    With a budget: the first allocation of the descent that fits, the one just before it, and
    cheaper ones.

    Raises:
        InfeasibleBudget: nothing fits the budget, or the descent gets stuck above it.
        InvalidParams: the problem offers no sensitivities.
    """
    space_of(problem)  # refused before anything is computed, where nothing fits
    kind = params.sensitivity
    yield Progress(0, params.points + 1, f"computing the {kind} sensitivity")
    table = sensitivity_of(problem, "greedy", kind)
    space = space_of(problem, (table,), most=None)
    scores = space.scores(table)
    path = descend(space, scores)
    picked = _thin(space, path, params.points)
    chosen = [space.allocation(path[at]) for at in picked]
    yield from measure(chosen, "steps of the descent", step=1)


def _thin(space: Space, path: Sequence[np.ndarray], points: int) -> list[int]:
    prices = np.array([space.price(choice) for choice in path])
    fits = (prices <= space.limits).all(axis=1)
    if not fits.any():
        raise space.infeasible()
    first = int(np.argmax(fits))
    if len(path) <= points and not space.limited:
        return list(range(len(path)))
    around = [first, first - 1] if space.limited and first and points > 2 else [first]
    below = list(range(first + 1, len(path)))
    wanted = points - len(around)
    if len(below) > wanted:
        costs = np.log(np.maximum(prices[below, 0], 1))
        targets = np.linspace(costs[0], costs[-1], wanted)
        below = sorted({below[int(np.argmin(abs(costs - target)))] for target in targets})
    return sorted({*around, *below})


SEARCH = Search(
    name="greedy",
    title="Greedy descent",
    family="one-shot",
    summary="One layer at a time, by least predicted damage per cost saved; needs a sensitivity.",
    params=GreedyParams,
    run=greedy,
    chance=False,
    look=1,
)
