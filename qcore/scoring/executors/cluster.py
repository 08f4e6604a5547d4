"""Scores on a Dask cluster ("tcp://HOST:PORT", "tls://HOST:PORT").

The search, the database and the test images stay here. The packed recipe is itself a task, so the
cluster makes it again when the machines that held it are gone; every worker unpacks it once, and
each allocation is a small task that names it. While the cluster is out of reach the search waits:
nothing is scored elsewhere. A scheduler has no login, whoever reaches its port runs code on every
machine: keep the port off the internet, or use tls.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from qcore.allocation import BitAllocation
from qcore.engine import Score
from qcore.errors import EvaluatorFailed, QcoreError
from qcore.problem import Point, Window
from qcore.scoring.executors.address import Address
from qcore.scoring.executors.dask_session import CONNECT_S, POLL_S, Session, lost_errors
from qcore.scoring.executors.recipe import Newest, Portable, Recipe

LONGEST_PAUSE_S = 10.0
MOST_IN_FLIGHT = 256
CONFIG = {
    "distributed.comm.timeouts.connect": f"{CONNECT_S:g}s",
    # a network's weights and images are meant to travel
    "distributed.admin.large-graph-warning-threshold": "1TB",
}


@contextmanager
def open_cluster(
    address: Address,
    prepared: Portable,
    on_progress: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> Iterator[Score]:
    """Connect, waiting for as long as the cluster is out of reach; disconnect at the end.

    Raises:
        EvaluatorFailed: the package is missing here, or versions on the cluster differ.
    """
    try:
        import dask
        import distributed  # noqa: F401
    except ImportError as error:
        raise EvaluatorFailed(
            f"Scoring on {address.text} needs the package {error.name or 'distributed'}: run "
            "pip install -r requirements-cluster.txt here and on every machine of the cluster."
        ) from error
    with dask.config.set(CONFIG):
        cluster = _Cluster(address.text, prepared, on_progress, should_stop)
        try:
            cluster.connect()
            yield cluster.score
        finally:
            cluster.leave()


class _Cluster:
    def __init__(
        self,
        address: str,
        prepared: Portable,
        on_progress: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._address, self._prepared = address, prepared
        self._on_progress, self._should_stop = on_progress, should_stop
        self._recipes: Newest[Recipe] = Newest()
        self._session: Session | None = None
        self._lost = lost_errors()

    def leave(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def connect(self) -> Session | None:
        """A session in touch with the scheduler; None when told to stop while waiting for it."""
        pause = 1.0
        while not self._should_stop():
            if self._session is not None and self._session.alive:
                return self._session
            self.leave()
            try:
                self._session = Session(self._address, self._on_progress)
            except self._lost as error:
                reason = str(error) or type(error).__name__
                self._on_progress(
                    f"cluster {self._address} not reachable, retrying in {pause:.0f} s "
                    f"({reason.splitlines()[0]})"
                )
                self._rest(pause)
                pause = min(LONGEST_PAUSE_S, 2 * pause)
        return None

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._should_stop():
            time.sleep(POLL_S)

    def score(
        self, allocations: Sequence[BitAllocation], stage: str = "ptq", images: Window | None = None
    ) -> Iterator[Point]:
        """Score on the cluster; one point each, in order."""
        recipe = self._recipes.get(stage, lambda: self._prepared.recipe(stage))
        waiting = deque(range(len(allocations)))
        flying: dict[Any, int] = {}
        done: dict[int, Point | QcoreError] = {}
        try:
            for index in range(len(allocations)):
                while index not in done:
                    session = self.connect()
                    if session is None:
                        return
                    try:
                        ready = session.ready_for(recipe)
                        while ready and waiting and len(flying) < MOST_IN_FLIGHT:
                            number = waiting.popleft()
                            future = session.score(recipe, allocations[number], stage, images)
                            flying[future] = number
                        session.wait(flying)
                        for future, answer in session.answers(flying):
                            number = flying.pop(future)
                            if isinstance(answer, str):
                                session.missing(recipe, answer)
                                waiting.append(number)
                            else:
                                done[number] = answer
                    except self._lost:
                        # points that came already are kept; all else is handed out again
                        self.leave()
                        flying.clear()
                        waiting = deque(i for i in range(index, len(allocations)) if i not in done)
                result = done.pop(index)
                if isinstance(result, QcoreError):
                    raise result
                yield result
        finally:
            for future in flying:
                future.release()
