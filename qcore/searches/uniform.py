"""The same bits in every layer: the reference ladder that every other search must beat."""

from dataclasses import dataclass

import numpy as np

from qcore.allocation import BitAllocation
from qcore.problem import Problem, Proposals
from qcore.search import Search
from qcore.solvers.decisions import nearest_allowed
from qcore.solvers.space import measure


@dataclass(frozen=True)
class UniformParams:
    """Uniform bits need no parameters."""


def uniform(problem: Problem, params: UniformParams, rng: np.random.Generator) -> Proposals:
    """Measure each (weight, activation) pair of bits given to all layers, fewest bits first.

    A layer that may not have a pair, such as a pinned one, takes the nearest bits it may have. The
    ladder ignores the budget: it is what a budget is judged against.
    """
    free = [options for options in problem.options.values() if len(options) > 1]
    pairs = sorted({bits for options in free or problem.options.values() for bits in options})
    names = problem.model.names
    ladder = [
        BitAllocation(
            nearest_allowed(names, problem.options, problem.ties, dict.fromkeys(names, pair))
        )
        for pair in pairs
    ]
    yield from measure(ladder, "uniform bits")


SEARCH = Search(
    name="uniform",
    title="Uniform bits",
    family="one-shot",
    summary="The same bits in every layer, once per allowed bit-width: the ladder to beat.",
    params=UniformParams,
    run=uniform,
    chance=False,
    ladder=True,
    aims=False,
)
