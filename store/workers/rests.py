"""How long a run waits after its worker could not write: longer each time, and never for ever.

A disk that is full or a database that is away is no fault of the run, so it is tried again however
often that takes; each try starts a process, so there is a pause between them.
"""

import time
from collections.abc import Callable

FIRST_S = 1.0
LONGEST_S = 60.0


class Rests:
    """Which runs are not to be started yet.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[int, tuple[float, float]] = {}

    def begin(self, run_id: int) -> None:
        """Let a run rest: twice as long as the last time, or as at first after a long good time."""
        now = self._clock()
        until, last = self._until.get(run_id, (now, 0.0))
        seconds = min(LONGEST_S, 2 * last) if last and now - until < LONGEST_S else FIRST_S
        self._until[run_id] = (now + seconds, seconds)

    def resting(self, run_id: int) -> bool:
        """Whether a run is still to wait."""
        return run_id in self._until and self._clock() < self._until[run_id][0]
