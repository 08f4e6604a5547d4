"""CMA-ES over the weight and activation bits of all layers at once, without any gradient.

The gradient-free half of GradFreeBits (Bodner, Ben Shalom and Treister, GradFreeBits: Gradient
Free Bit Allocation for Dynamic Low Precision Neural Networks, 2021), with the network's weights as
they are. Because it only ranks what it measures, it minds neither layers that interact nor costs
that no gradient could use, such as a maximum over layers or a table.

Differs from the paper: no training in between (the search "gradfreebits" has that), and the first
descent may start from the exact optimum of a predicted damage. Reconstructed: see `evolution`.
"""

from dataclasses import dataclass

import numpy as np

from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.problem import Ask, Problem, Progress, Proposals, SensitivityTable
from qcore.search import Search, setting
from qcore.searches.greedy import KINDS
from qcore.solvers.cma_round import Limits, Round, evolve
from qcore.solvers.genes import genes_of
from qcore.solvers.repair import best_uniform, repair_of
from qcore.solvers.space import Space, measure, sensitivity_of, space_of

LONG = 1000
"""Evaluations above which "auto" lets candidates overstep the limits.

On synthetic problems of 20 tensors the augmented Lagrangian left a third of the gap that repair
left at 3,000 evaluations, as much at 1,000, and was worse than uniform bits at 300.
"""


@dataclass(frozen=True)
class CmaesParams:
    """How long CMA-ES searches, from where, and how it keeps the limits."""

    evaluations: int = setting(
        300, "Allocations", "How many different allocations to measure.", min=4, max=100_000
    )
    start: str = setting(
        "exact",
        "Start from",
        "The exact optimum of a sensitivity, or the same bits in every layer, as many "
        "as the budget allows.",
        choices=("exact", "uniform"),
    )
    sensitivity: str = setting(
        "gradient",
        "Sensitivity",
        "What predicts damage, for the start from the exact optimum only.",
        choices=KINDS,
    )
    population: int = setting(
        12,
        "Population",
        "Candidates of a generation. Few are better for short runs; 23 or more where "
        "measurements are noisy and there are over 1,000 of them.",
        min=4,
        max=500,
    )
    sigma: float = setting(
        1.0,
        "Step size",
        "How far the first candidates lie from the start, in bit-widths.",
        min=0.3,
        max=4.0,
    )
    limits: str = setting(
        "auto",
        "Budget kept by",
        "Repair lowers random layers of a candidate until it fits. The augmented "
        "Lagrangian also measures allocations over the budget and learns what they cost; "
        "auto takes it above 1,000 allocations.",
        choices=("auto", "repair", "lagrangian"),
    )
    restarts: bool = setting(
        True, "Restarts", "Once converged, start again from uniform bits with twice the population."
    )


def cmaes(problem: Problem, params: CmaesParams, rng: np.random.Generator) -> Proposals:
    """Measure the start and the best uniform bits, then descend from the start.

    Exactly `evaluations` allocations are measured; fewer where a restart finds hardly any new one,
    as in a small space, or where the last repaired copies are known already. Without a budget
    there is nothing to trade, and it soon ends at the most bits. With one tensor to choose bits
    for, its widths are simply all measured, and with none the one allocation there is: CMA-ES
    needs two.

    Raises:
        InfeasibleBudget: nothing fits the budget.
        InvalidParams: the population is larger than the evaluations, or the start needs a
            sensitivity or a solver that this problem does not allow.
    """
    if params.population > params.evaluations:
        raise InvalidParams(
            f"cmaes: a population of {params.population} does not fit {params.evaluations} "
            f"evaluations. Allow at least {params.population} evaluations, or choose a smaller "
            "population."
        )
    tables: tuple[SensitivityTable, ...] = ()
    if params.start == "exact":
        yield Progress(0, params.evaluations, f"computing the {params.sensitivity} sensitivity")
        tables = (sensitivity_of(problem, "cmaes", params.sensitivity),)
    space = space_of(problem, tables)
    if not all(space.sizes):
        raise InfeasibleBudget(
            "No option of some layer meets all limits on the largest layer at once. Raise one of "
            f"these limits: {', '.join(problem.budget.limits)}.",
            {},
        )
    genes, repair = genes_of(space), repair_of(space)
    if len(genes.genes) < 2:
        choices = [repair.haven]
        for at in [gene.decision for gene in genes.genes]:
            choices = [space.changed(repair.haven, at, i) for i in range(space.sizes[at])]
        inside = [c for c in choices[::-1] if repair.excess(space.price(c)) == 0]
        chosen = [space.allocation(choice) for choice in inside[: params.evaluations]]
        yield from measure(chosen, "the only allocations there are")
        return
    uniform = best_uniform(genes, repair)
    start = uniform
    if tables:
        start = _exact(space, tables[0])
    yield Progress(0, params.evaluations, "measuring the start and the best uniform bits")
    first = list(dict.fromkeys(tuple(choice.tolist()) for choice in (start, uniform)))
    answer = yield Ask(tuple(space.allocation(choice) for choice in first))
    values = [problem.value(point) for point in answer or ()]

    loose = params.limits == "lagrangian"
    loose = loose or (params.limits == "auto" and params.evaluations > LONG)
    limits: Limits = "lagrangian" if loose else "repair"
    left = params.evaluations - len(first)
    settings = Round(left, params.population, params.sigma, limits, params.restarts)
    evolved = yield from evolve(
        problem,
        genes,
        repair,
        settings,
        start,
        rng,
        again=uniform,
        known=dict(zip(first, values, strict=True)),
        step=len(first),
    )
    done = len(first) + evolved.evaluations
    best = evolved.values[evolved.ranked[0]]
    yield Progress(done, done, f"measured {done} allocations: best {best:.4g} nats")


def _exact(space: Space, table: SensitivityTable) -> np.ndarray:
    if len(space.costs) > 2:
        raise InvalidParams(
            "cmaes: the exact start takes limits on at most two summed costs; got "
            f"{', '.join(space.costs)}. Start from uniform bits, or drop one of these limits."
        )
    scores = space.scores(table)
    choice = next(iter(space.optima(scores, space.levels(1))), None)
    if choice is None:
        raise space.infeasible()
    return choice


SEARCH = Search(
    name="cmaes",
    title="CMA-ES",
    family="search",
    summary="Evolves weight and activation bits of all layers together, using measurements alone.",
    params=CmaesParams,
    run=cmaes,
    paper="Bodner, Ben Shalom and Treister, GradFreeBits, 2021; Hansen, The CMA Evolution "
    "Strategy, 2016",
    look=4,
    quick={"evaluations": 60},
)
