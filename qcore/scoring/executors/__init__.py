"""Where allocations are scored: here, in local processes or on a cluster. Torch-free to import.

    >>> with open_evaluator("procs:4", prepared) as score:
    ...     drive(search, prepared.problem, params, seed, score=score)

Every place gives the same points: the same scores in the same order. On one kind of machine, with
one thread each, they are equal to the last bit; other processors, graphics cards or numbers of
threads add floating-point numbers in another order, which moves a score in its last digits (about
one part in a million) and can tip single images between two classes.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from qcore.engine import Score
from qcore.scoring.executors.address import Address, check_address, parse_address
from qcore.scoring.executors.cluster import open_cluster
from qcore.scoring.executors.inline import open_inline
from qcore.scoring.executors.processes import open_processes
from qcore.scoring.executors.recipe import Context, Portable, Recipe, make_recipe

__all__ = [
    "EVALUATORS",
    "Context",
    "Portable",
    "Recipe",
    "check_address",
    "make_recipe",
    "open_evaluator",
]

Opener = Callable[
    [Address, Portable, Callable[[str], None], Callable[[], bool]], AbstractContextManager[Score]
]

EVALUATORS: dict[str, Opener] = {
    "inline": open_inline,
    "procs": open_processes,
    "tcp": open_cluster,
    "tls": open_cluster,
}
"""Scheme of an address to what opens it."""


@contextmanager
def open_evaluator(
    address: str,
    prepared: Portable,
    *,
    on_progress: Callable[[str], None] = lambda words: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Score]:
    """Open the place where allocations are scored; close it when the block ends.

    Args:
        address: "inline", "procs:N", "tcp://HOST:PORT" or "tls://HOST:PORT".
        prepared: The problem with the means to score it, from `qcore.prepare`.
        on_progress: Told in a few words what is waited for: a cluster out of reach, a process
            started again.
        should_stop: Asked while waiting; once true, iterators of points end early.

    Yields:
        score(allocations, stage, images) -> iterator of points, in order, each as soon as it and
        those before it are there. Use one iterator at a time.

    Raises:
        InvalidParams: the address is none of these.
        EvaluatorFailed: the place cannot be used: a package is missing, versions differ, or
            processes die again and again.
    """
    place = parse_address(address)
    with EVALUATORS[place.scheme](place, prepared, on_progress, should_stop) as score:
        yield score
