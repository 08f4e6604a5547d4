"""Scores in the process that runs the search."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qcore.engine import Score
from qcore.scoring.executors.address import Address
from qcore.scoring.executors.recipe import Portable


@contextmanager
def open_inline(
    address: Address,
    prepared: Portable,
    on_progress: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> Iterator[Score]:
    """Give `prepared.score` itself."""
    yield prepared.score
