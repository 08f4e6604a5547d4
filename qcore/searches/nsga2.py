"""NSGA-II: a whole front of damage against one chosen cost, in one search, by measurements alone.

Deb, Pratap, Agarwal and Meyarivan, A fast and elitist multiobjective genetic algorithm: NSGA-II,
IEEE Trans. Evolutionary Computation 6(2), 2002, as pymoo has it, asked and told generation by
generation; over bit-widths and a hardware cost as in Klhufek et al., Exploring Quantization and
Mapping Synergy in Hardware-Aware Deep Neural Network Accelerators, 2024.

Differs from the paper: networks are not trained in between; children come from uniform crossover
and polynomial mutation of whole numbers instead of the paper's own operators.
"""

import itertools
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.front import front_points
from qcore.problem import Ask, Point, Problem, Progress, Proposals
from qcore.search import Search, setting
from qcore.solvers.genes import Genes, genes_of
from qcore.solvers.repair import Repair, repair_of
from qcore.solvers.space import measure, space_of

STALE = 10
"""Generations in a row without a new allocation, after which the search ends."""

SPREAD = 3.0
"""Distribution index of the mutation; small, because a bit-width has few neighbours."""

Choice = tuple[int, ...]


@dataclass(frozen=True)
class Nsga2Params:
    """What is traded against the damage, and for how long."""

    cost: str = setting(
        "weight_bytes",
        "Cost",
        "What is traded against the damage: any cost this network has, energy or latency too.",
        choices=tuple(COSTS),
        any_cost=True,
        of="[cost](costs.md)",
    )
    evaluations: int = setting(
        300, "Allocations", "How many different allocations to measure.", min=4, max=100_000
    )
    population: int = setting(
        24,
        "Population",
        "Allocations that survive a generation, and children in each.",
        min=4,
        max=1000,
    )


def nsga2(problem: Problem, params: Nsga2Params, rng: np.random.Generator) -> Proposals:
    """Evolve a front, starting from the uniform allocations and random ones.

    Exactly `evaluations` allocations are measured, fewer where generation after generation finds
    no new one; all there are, where these are no more. With a budget every candidate is brought
    within it by small random steps first.

    Raises:
        InfeasibleBudget: nothing fits the budget.
        InvalidParams: the cost does not apply to this model, or a population larger than the
            evaluations.
    """
    cost = problem.costs[params.cost]
    reason = cost.refuses(problem.model)
    if reason is not None:
        raise InvalidParams(f"nsga2: {cost.title} does not apply to this network: {reason}.")
    if params.population > params.evaluations:
        raise InvalidParams(
            f"nsga2: a population of {params.population} does not fit {params.evaluations} "
            f"evaluations. Allow at least {params.population}, or choose a smaller population."
        )
    space = space_of(problem)
    if not all(space.sizes):
        raise InfeasibleBudget(
            "No option of some layer meets all limits on the largest layer at once. Raise one of "
            f"these limits: {', '.join(problem.budget.limits)}.",
            {},
        )
    repair = repair_of(space)
    if math.prod(space.sizes) <= params.evaluations:
        everything = itertools.product(*map(range, space.sizes))
        inside = [c for c in everything if repair.excess(space.price(c)) == 0]
        yield from measure([space.allocation(c) for c in inside], "all allocations there are")
        return
    yield from _evolve(problem, params, cost, genes_of(space), repair, rng)


def _evolve(
    problem: Problem,
    params: Nsga2Params,
    cost: CostModel,
    genes: Genes,
    repair: Repair,
    rng: np.random.Generator,
) -> Proposals:
    # pymoo takes seconds to import, and pages list the searches
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem as Bounds
    from pymoo.core.termination import NoTermination
    from pymoo.operators.crossover.ux import UX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair

    algorithm: Any = NSGA2(
        pop_size=params.population,
        sampling=np.array([genes.vector(c) for c in _first(genes, repair, params.population, rng)]),
        crossover=UX(),
        mutation=PM(eta=SPREAD, vtype=float, repair=RoundingRepair()),
    )
    bounds = Bounds(n_var=len(genes.genes), n_obj=2, xl=0, xu=genes.sizes - 1, vtype=float)
    algorithm.setup(bounds, termination=NoTermination(), seed=int(rng.integers(2**31)))

    known: dict[Choice, tuple[float, float]] = {}
    generation = stale = 0
    while stale < STALE and len(known) < params.evaluations:
        asked = algorithm.ask()
        if asked is None or not len(asked):
            break
        choices = [repair.within(genes.choice(vector), rng) for vector in asked.get("X")]
        keys = [tuple(choice.tolist()) for choice in choices]
        new = [key for key in dict.fromkeys(keys) if key not in known]
        room = params.evaluations - len(known)
        yield from _score(problem, cost, genes, new[:room], known)
        if len(new) > room:
            break
        asked.set("X", np.array([genes.vector(choice) for choice in choices]))
        asked.set("F", np.array([known[key] for key in keys]))
        algorithm.tell(infills=asked)
        generation, stale = generation + 1, 0 if new else stale + 1
        values = [value for value, _ in known.values()]
        front = front_points([price for _, price in known.values()], values)
        yield Progress(
            len(known),
            params.evaluations,
            f"generation {generation}: {len(front)} allocations on the front",
            {"generation": generation, "front": len(front), "unique": len(known)},
        )
    done = len(known)
    yield Progress(done, done, f"measured {done} allocations")


def _score(
    problem: Problem,
    cost: CostModel,
    genes: Genes,
    choices: Sequence[Choice],
    known: dict[Choice, tuple[float, float]],
) -> Generator[Ask | Progress, list[Point] | None, None]:
    """Have choices measured in one batch, and note (value, cost) of each."""
    if not choices:
        return
    allocations = tuple(genes.space.allocation(choice) for choice in choices)
    answer = yield Ask(allocations)
    for choice, point in zip(choices, answer or (), strict=True):
        value = problem.value(point)
        if not math.isfinite(value):
            # worse than any that answers, but finite: distances on the front are relative
            value = 1 + 2 * max((other for other, _ in known.values()), default=0.0)
        known[choice] = value, float(cost.total(problem.model, point.allocation))


def _first(
    genes: Genes, repair: Repair, population: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """The first generation: the k-th width everywhere for every k, then random choices.

    A random choice scatters its layers about a level of its own: independent widths would put all
    choices in the middle of the front.
    """
    top = genes.sizes - 1
    vectors = [np.minimum(rung, top) for rung in range(int(genes.sizes.max()))][:population]
    for _ in range(population - len(vectors)):
        scattered = np.rint(rng.random() * top + rng.normal(size=len(top)))
        vectors.append(np.clip(scattered, 0, top).astype(np.int64))
    return [repair.within(genes.choice(vector), rng) for vector in vectors]


SEARCH = Search(
    name="nsga2",
    title="NSGA-II",
    family="search",
    summary="Evolves a whole front of damage against any one cost, using measurements alone.",
    params=Nsga2Params,
    run=nsga2,
    paper="Deb et al., NSGA-II, IEEE Trans. Evolutionary Computation, 2002; Klhufek et al., "
    "Exploring Quantization and Mapping Synergy, 2024",
    look=12,
    quick={"evaluations": 24, "population": 8},
)
