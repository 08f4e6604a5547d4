"""What workers under test prepare instead of a network: a toy that logs every scoring.

The data's name says how it behaves: "toys 0.3" takes 0.3 s an allocation, until the data folder
has a file "hurry": what a test does to a run comes long before its end, however busy the machine.
Other files make it misbehave, so that a test can begin and end the fault: "stuck" blocks the
scoring for as long as it exists, "full" is a disk on which the database cannot grow.
"""

import os
import time
from pathlib import Path

from sqlalchemy import Engine, event

from qcore.scoring.executors.recipe import make_recipe
from tests.store.fake import FakePrepared

STUCK_AFTER = 5


class ToyPrepared(FakePrepared):
    """A toy that writes down what it scores, one line each: seed and allocation."""

    def __init__(self, seed: int, delay_s: float, folder: Path) -> None:
        super().__init__(delay_s)
        self._arguments = (seed, delay_s, str(folder))
        self._seed, self._folder, self._count = seed, folder, 0

    def score(self, allocations, stage="ptq", images=None):
        for allocation in allocations:
            self._count += 1
            while self._count > STUCK_AFTER and (self._folder / "stuck").exists():
                time.sleep(0.05)
            with (self._folder / "scored.log").open("a") as log:
                log.write(f"{self._seed} {allocation.digest}\n")
            if not (self._folder / "hurry").exists():
                time.sleep(self._delay_s)
            yield from self._toy.score([allocation], stage, images)

    def recipe(self, stage):
        return make_recipe(stage, rebuild, self._arguments)


def rebuild(seed, delay_s, folder):
    """The same toy in another process."""
    return ToyPrepared(seed, delay_s, Path(folder))


def prepare(spec, **callbacks):
    """Called by the workers in place of `qcore.prepare.prepare`."""
    callbacks["on_progress"]("Loading toys")
    folder = Path(os.environ["BITDIAL_DATA"])
    if (folder / "full").exists():
        event.listen(Engine, "begin", _no_room)
    return ToyPrepared(spec.seed, float(spec.data.partition(" ")[2] or 0), folder)


def _no_room(connection):
    """Allow the database not one page more."""
    raw = connection.connection.driver_connection
    pages = raw.execute("PRAGMA page_count").fetchone()[0]
    raw.execute(f"PRAGMA max_page_count={pages}")
