"""The exact front of an additive sensitivity, its members truly measured.

Finding bits under a limit is a multiple-choice knapsack once damage adds up over layers, the
integer program of HAWQ-V3 (Yao et al., ICML 2021). `qcore.front` solves it for every limit at once.
"""

from dataclasses import dataclass, field

import numpy as np

from qcore.front import FrontTable
from qcore.problem import Problem, Progress, Proposals
from qcore.searches.base import Search
from qcore.searches.greedy import KINDS
from qcore.searches.space import Space, best_on, measure, sensitivity_of, space_of


@dataclass(frozen=True)
class ExactParams:
    """Which sensitivity is minimised, and how many front members are measured.

    Attributes:
        sensitivity: Kind of sensitivity table.
        points: Front members to measure.
    """

    sensitivity: str = field(
        default="gradient",
        metadata={
            "label": "Sensitivity",
            "choices": KINDS,
            "help": "What predicts the damage of giving one layer fewer bits.",
        },
    )
    points: int = field(
        default=16,
        metadata={
            "label": "Points",
            "min": 1,
            "max": 500,
            "help": "How many members of the predicted front to measure.",
        },
    )


def exact(problem: Problem, params: ExactParams, rng: np.random.Generator) -> Proposals:
    """Measure members of the exact front of predicted damage against cost.

    They are spread evenly on a log scale of cost, dearest first; with a budget the first is the
    optimum under it. Exact is the solver; the damage is as good as the sensitivity predicts it.

    Raises:
        InfeasibleBudget: nothing fits the budget.
        InvalidParams: the problem offers no sensitivities, or more than two summed costs have
            limits.
    """
    space = space_of(problem)
    kind = params.sensitivity
    yield Progress(0, params.points + 1, f"computing the {kind} sensitivity")
    front = space.front(space.scores(sensitivity_of(problem, "exact", kind)))
    chosen = [space.allocation(choice) for choice in thin(space, front, params.points)]
    yield from measure(chosen, "front members", step=1)


def thin(space: Space, front: FrontTable, points: int) -> list[np.ndarray]:
    """Keep at most `points` front members: the best within each of evenly spaced cost levels.

    Where one cost counts and the front has no more than `points` members, all are kept.

    Returns:
        Distinct choices, dearest level first.
    """
    if len(space.costs) == 1 and len(front.scores) <= points:
        return list(front.choices[np.argsort(-front.costs[:, 0], kind="stable")])
    found: dict[tuple[int, ...], np.ndarray] = {}
    for level in space.levels(points):
        choice = best_on(front, level)
        if choice is not None:
            found.setdefault(tuple(choice.tolist()), choice)
    return list(found.values())


SEARCH = Search(
    name="exact",
    title="Exact front",
    summary="The provably best allocations for an additive sensitivity, truly measured.",
    params=ExactParams,
    run=exact,
    paper="Yao et al., HAWQ-V3: Dyadic Neural Network Quantization, ICML 2021",
)
