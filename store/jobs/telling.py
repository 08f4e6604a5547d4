"""How a child tells how far it is, and within which bounds it works."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store import bounds
from store.jobs.opening import PROGRESS, RESULT, write_json
from store.settings import open_gb, open_seconds

EVERY_S = 0.2


class Teller:
    """Keeps the progress file; not more often than anybody looks."""

    def __init__(self, place: Path) -> None:
        self._path, self._result = place / PROGRESS, place / RESULT
        self._words = "Starting"
        self._told = float("-inf")
        self._bounds: dict[str, float] = {}

    def words(self, words: str) -> None:
        """Say what is being done."""
        self._words = words
        self._tell(0, 0)

    def step(self, done: int, total: int) -> None:
        """Say how many of how many steps are done."""
        now = time.monotonic()
        if now - self._told < EVERY_S:
            return
        self._told = now
        self._tell(done, total)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Open a person's file in the body, within the bounds that are set, and say so.

        Raises:
            InvalidData: it asked for more memory than may be.
        """
        gigabytes, seconds = open_gb(), open_seconds()
        self._bounds = {"most_gb": gigabytes, "most_s": seconds}
        self._tell(0, 0)
        with bounds.bounded(gigabytes, seconds, self._late):
            yield
        self._bounds = {}
        self._tell(0, 0)

    def _late(self, words: str) -> None:
        write_json(self._result, {"error": words, "type": "InvalidData"})

    def _tell(self, done: int, total: int) -> None:
        told = {"words": self._words, "done": done, "total": total}
        write_json(self._path, told | self._bounds)
