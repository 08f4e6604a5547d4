"""One allocation to begin with, for searches that train: the exact front's or a uniform one."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from qcore.allocation import BitAllocation
from qcore.errors import InfeasibleBudget
from qcore.problem import Problem, Progress
from qcore.searches.genes import genes_of
from qcore.searches.repair import best_uniform, repair_of
from qcore.searches.space import Space, sensitivity_of, space_of

EPOCH_STEPS = 50
"""Steps of the progress bar that an epoch counts for."""


def exact_allocation(problem: Problem, search: str, kind: str = "gradient") -> BitAllocation:
    """The optimum of an additive sensitivity within the budget, or with the most bits.

    Raises:
        InfeasibleBudget: nothing meets all limits at once.
        InvalidParams: the problem offers no sensitivities, or more than two summed limits.
    """
    space = checked_space(problem)
    scores = space.scores(sensitivity_of(problem, search, kind))
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


def checked_space(problem: Problem) -> Space:
    """The space of a problem in which every layer has an option left.

    Raises:
        InfeasibleBudget: the limits leave some layer nothing.
    """
    space = space_of(problem)
    if not all(space.options):
        raise InfeasibleBudget(
            "No option of some layer meets all limits on the largest layer at once. Raise one of "
            f"these limits: {', '.join(problem.budget.limits)}.",
            {},
        )
    return space


@dataclass
class Clock:
    """Steps done of a whole search, so that progress rises to its total.

    Attributes:
        total: Steps in all.
        done: Steps done.
    """

    total: int
    done: int = 0

    def stage(
        self, training: Generator[Progress, None, Any], epochs: int
    ) -> Generator[Progress, None, Any]:
        """Pass a stage's progress on, its epochs as steps of the whole; returns what it returns."""
        while True:
            try:
                progress = next(training)
            except StopIteration as end:
                self.done += epochs * EPOCH_STEPS
                return end.value
            step = min(self.total, self.done + progress.step * EPOCH_STEPS)
            yield Progress(step, self.total, progress.message, progress.figures)

    def tick(self, steps: int, words: str, **figures: Any) -> Progress:
        """Progress after some more steps."""
        self.done = min(self.total, self.done + steps)
        return Progress(self.done, self.total, words, figures)
