"""One allocation to begin with, for searches that train: the exact front's or a uniform one."""

from collections.abc import Sequence

from qcore.allocation import BitAllocation
from qcore.errors import InfeasibleBudget
from qcore.problem import Problem, SensitivityTable
from qcore.solvers.decisions import SAMPLED
from qcore.solvers.genes import genes_of
from qcore.solvers.repair import best_uniform, repair_of
from qcore.solvers.space import Space, sensitivity_of, space_of


def exact_allocation(problem: Problem, search: str, kind: str = "gradient") -> BitAllocation:
    """The optimum of an additive sensitivity within the budget, or with the most bits.

    Raises:
        InfeasibleBudget: nothing meets all limits at once.
        InvalidParams: the problem offers no sensitivities, or more than two summed limits.
    """
    table = sensitivity_of(problem, search, kind)
    space = checked_space(problem, (table,), most=None)
    scores = space.scores(table)
    choice = next(space.optima(scores, space.levels(1)), None)
    if choice is None:
        raise space.infeasible()
    return space.allocation(choice)


def uniform_allocation(problem: Problem) -> BitAllocation:
    """The same bits for all layers that spend the limits best.

    Raises:
        InfeasibleBudget: nothing meets all limits at once.
    """
    space = checked_space(problem)
    return space.allocation(best_uniform(genes_of(space), repair_of(space)))


def checked_space(
    problem: Problem, tables: Sequence[SensitivityTable] = (), most: int | None = SAMPLED
) -> Space:
    """The space of a problem in which every decision has an option left.

    Raises:
        InfeasibleBudget: the limits leave some layer nothing.
    """
    space = space_of(problem, tables, most)
    if not all(space.sizes):
        raise InfeasibleBudget(
            "No option of some layer meets all limits on the largest layer at once. Raise one of "
            f"these limits: {', '.join(problem.budget.limits)}.",
            {},
        )
    return space
