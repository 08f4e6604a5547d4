"""What `qcore.prepare` gives, on a toy, importable in spawned processes and on Dask workers."""

import os
import time
import uuid
from pathlib import Path

from qcore.engine import drive
from qcore.errors import InvalidData
from qcore.scoring.executors import dask_worker, make_recipe
from qcore.scoring.executors.recipe import Newest
from qcore.searches import SEARCHES
from tests.helpers import toy_problem


class ToyPrepared:
    """Scores a toy problem, slowly, and as badly as it is told to.

    `folder` gets one file for every context built and one for every allocation begun. The
    allocation whose digest is in the file "deadly" kills the process that scores it, that in
    "wrong" raises InvalidData, that in "bug" a RuntimeError. Building kills the process while the
    file "deadly-build" is there.
    """

    def __init__(self, folder, delay_s=0.0, stages=("ptq",), device="cpu"):
        self.folder, self.delay_s, self.device = Path(folder), delay_s, device
        self.toy = toy_problem()
        self.problem = self.toy.problem
        self.recipes = 0

    def score(self, allocations, stage="ptq", images=None):
        for allocation in allocations:
            fate = self._fate(allocation.digest)
            if fate == "deadly":
                os._exit(9)
            if fate == "wrong":
                raise InvalidData("The outputs are NaN.")
            if fate == "bug":
                raise RuntimeError("a bug")
            _note(self.folder, "begun")
            time.sleep(self.delay_s)
            yield from self.toy.score([allocation], stage, images)

    def recipe(self, stage):
        self.recipes += 1
        return make_recipe(stage, build_toy, (str(self.folder), self.delay_s), self.device)

    def _fate(self, digest):
        for path in self.folder.iterdir():
            if path.suffix == ".fate" and path.read_text() == digest:
                return path.stem
        return None

    def doom(self, fate, allocation):
        (self.folder / f"{fate}.fate").write_text(allocation.digest)

    def count(self, what):
        return len(list(self.folder.glob(f"{what}-*")))


def build_toy(folder, delay_s):
    if (Path(folder) / "deadly-build").exists():
        os._exit(9)
    _note(Path(folder), "built")
    return ToyPrepared(folder, delay_s)


def _note(folder, what):
    (folder / f"{what}-{os.getpid()}-{uuid.uuid4().hex}").touch()


def forget_contexts():
    """Make this worker lose what it has unpacked."""
    dask_worker._contexts = Newest(dask_worker.KEPT)


def search(prepared, score, evaluations=24, **callbacks):
    """Points of a seeded random search, without what differs from one measurement to the next."""
    entry = SEARCHES["random"]
    params = entry.read_params({"evaluations": evaluations})
    outcome = drive(entry, prepared.problem, params, 0, score=score, **callbacks)
    return [(point.key, point.search) for point in outcome.points]


def at_point(number, action):
    """An on_event that acts once, when so many points have come."""
    came = []

    def on_event(event):
        came.append(event)
        if len(came) == number:
            action()

    return on_event
