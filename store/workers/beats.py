"""Tells a worker that is alive from one that is stuck or gone, by whether its beat still counts up.

Only the observer's own clock is used, and only the time it was really watching: computers whose
clocks differ, that sleep or that were frozen must not take each other's workers for dead.
"""

import time
from collections.abc import Callable, Iterable

from store.runs.lease import Open

START_S = 120.0
"""A worker that has not beaten at all may still be loading its libraries, on a busy machine."""


class Beats:
    """How long each running run's beat has stood still, as seen from here.

    Args:
        lease_s: Seconds without a beat after which a worker counts as lost.
        clock: Seconds that never go back.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._last = clock()
        self._watched = 0.0
        self._seen: dict[int, tuple[tuple[int, int], float]] = {}

    def look(self, running: Iterable[Open]) -> None:
        """Take in what the database says now."""
        now = self._clock()
        # a long gap between two looks says that we were away, not that they were silent
        self._watched += min(now - self._last, self.lease_s / 4)
        self._last = now
        before, self._seen = self._seen, {}
        for run in running:
            sign = (run.attempt, run.beat)
            known = before.get(run.id)
            self._seen[run.id] = known if known and known[0] == sign else (sign, self._watched)

    def silent(self, run: Open) -> bool:
        """Whether a run's worker gave no sign of life for the lease."""
        seen = self._seen.get(run.id)
        return seen is not None and self._watched - seen[1] > self.patience(run)

    def patience(self, run: Open) -> float:
        """Seconds of silence granted to a run's worker."""
        return self.lease_s if run.pid is not None else max(self.lease_s, START_S)
