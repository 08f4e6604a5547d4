"""The exact Pareto front of an additive sensitivity, its members truly measured.

Finding bits under a limit is a multiple-choice knapsack once damage adds up over layers, the
integer program of HAWQ-V3 (Yao et al., ICML 2021). `solvers.knapsack` solves it for every limit at
once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qcore.problem import Problem, Progress, Proposals
from qcore.search import Search, setting
from qcore.searches.greedy import KINDS
from qcore.solvers.space import Space, measure, sensitivity_of, space_of


@dataclass(frozen=True)
class ExactParams:
    """Which sensitivity is minimised, and how many front members are measured."""

    sensitivity: str = setting(
        "gradient",
        "Sensitivity",
        "What predicts the damage of giving one layer fewer bits.",
        choices=KINDS,
    )
    points: int = setting(
        16, "Points", "How many members of the predicted front to measure.", min=1, max=500
    )


def exact(problem: Problem, params: ExactParams, rng: np.random.Generator) -> Proposals:
    """Measure members of the exact front of predicted damage against cost.

    They are the optima within levels spread evenly on a log scale of cost, dearest first, or the
    whole front where that is shorter; with a budget the first is the optimum under it. Exact is
    the solver; the damage is as good as the sensitivity predicts it.

    Raises:
        InfeasibleBudget: nothing fits the budget.
        InvalidParams: the problem offers no sensitivities, or more than two summed costs have
            limits.
    """
    space_of(problem)  # refused before anything is computed, where nothing fits
    kind = params.sensitivity
    yield Progress(0, params.points + 1, f"computing the {kind} sensitivity")
    table = sensitivity_of(problem, "exact", kind)
    space = space_of(problem, (table,), most=None)
    scores = space.scores(table)
    found: dict[tuple[int, ...], None] = {}
    levels = space.levels(params.points)
    for number, choice in enumerate(_optima(space, scores, params.points, levels)):
        yield Progress(1, params.points + 1, f"solving: {number + 1} of {len(levels)}")
        if choice is None and number == 0:
            raise space.infeasible()
        if choice is not None:
            found.setdefault(tuple(choice.tolist()))
    yield from measure([space.allocation(c) for c in found], "front members", step=1)


def _optima(
    space: Space, scores: Sequence[np.ndarray], points: int, levels: Sequence[np.ndarray]
) -> Iterator[np.ndarray | None]:
    if len(space.costs) == 1:
        front = space.front(scores)
        if len(front.scores) <= points:
            return iter(front.choices[::-1])
    return space.optima(scores, levels)


SEARCH = Search(
    name="exact",
    title="Exact front",
    family="one-shot",
    summary="The provably best allocations for an additive sensitivity, truly measured.",
    params=ExactParams,
    run=exact,
    paper="Yao et al., HAWQ-V3: Dyadic Neural Network Quantization, ICML 2021",
    chance=False,
    look=2,
)
