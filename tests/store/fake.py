"""A prepare() without torch: the toy problem of tests.helpers, optionally slow or broken."""

import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qcore.allocation import BitAllocation
from qcore.errors import InvalidData
from qcore.formats.config import BitConfig
from qcore.problem import Ask, Progress, Request
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.run_spec import RunSpec
from qcore.scoring.executors import make_recipe
from qcore.search import Search
from qcore.searches import SEARCHES
from store.workers import worker
from tests.helpers import toy_problem

SPEC = RunSpec("toy", "toys", "random", {"evaluations": 30}, search_images=64)
BATCHED = RunSpec("toy", "toys", "batched", search_images=64)
BATCH, EPOCHS = 3, 3


@dataclass(frozen=True)
class BatchedParams:
    generations: int = 4
    train: bool = False


def batched(problem, params, rng):
    """Batches in turn on all images and on a window; what it asks depends on what it was told."""
    best = np.inf
    for generation in range(params.generations):
        stage = "ptq"
        if params.train:
            stage = f"round-{generation}/weights"
            yield from problem.needed_trainer().train(Request(stage=stage))
        chosen: dict[str, BitAllocation] = {}
        while len(chosen) < BATCH:
            bits = {n: o[rng.integers(len(o))] for n, o in problem.options.items()}
            allocation = BitAllocation(bits)
            chosen.setdefault(allocation.digest, allocation)
        window = (64 * generation, 64) if generation % 2 else None
        points = yield Ask(tuple(chosen.values()), stage, window)
        best = min(best, *(point.search.kl for point in points))
        if best > 1:
            rng.random()
        figures = {"generation": generation, "best": best}
        yield Progress(generation + 1, params.generations, "measured", figures)


BATCHED_SEARCH = Search(
    "batched", "Batched", "Tests the engine.", BatchedParams, batched, family="search"
)


class FakePrepared:
    """What qcore.prepare gives, on a toy."""

    notes = ()
    correction = "sequential"
    correction_words = "Correction of quantized layers: sequential. It was measured."

    def __init__(self, delay_s=0.0, checkpoints=None, trained=None, dies=None, hurry=None):
        self._toy, self._delay_s, self._hurry = toy_problem(), delay_s, hurry
        self._checkpoints = checkpoints or MemoryCheckpoints()
        self._trained, self._dies = [] if trained is None else trained, dies
        self.problem = replace(self._toy.problem, trainer=self)
        self.model = self.problem.model
        everything = BitAllocation.uniform(self.model.layers, 32)
        point = next(self._toy.score([everything], "ptq"))
        self.float_point = replace(point, test=point.search)

    def score(self, allocations, stage="ptq", images=None):
        for point in self._toy.score(allocations, stage, images):
            if self._hurry is None or not self._hurry.exists():
                time.sleep(self._delay_s)
            yield point

    def recipe(self, stage):
        return make_recipe(stage, FakePrepared, (self._delay_s,))

    def steps(self, plan):
        return 1

    def train(self, request):
        """Train a stage, or what is left of it; dies at a given epoch of all."""
        stage = request.stage
        done, state = self._checkpoints.load(stage) or (0, b"")
        assert state == bytes(range(done))
        for epoch in range(done, EPOCHS):
            if len(self._trained) == self._dies:
                raise RuntimeError("died")
            self._trained.append((stage, epoch))
            self._checkpoints.save(stage, epoch + 1, bytes(range(epoch + 1)))
            yield Progress(epoch + 1, EPOCHS, stage)

    def report(self, point):
        return replace(point, test=point.search)

    def tuned(self, point):
        return replace(self.report(point), stage="ptq+tuned")

    def config(self, point, provenance):
        return BitConfig(
            self.model, point.allocation, search=point.search, test=point.test,
            provenance=provenance,
        )  # fmt: skip


def prepare(spec, **callbacks):
    """Behave as spec.data says: toys, slow toys, or data that cannot be read.

    Slow toys are slow until the data folder has a file "hurry".
    """
    callbacks["on_progress"]("Loading toys")
    if spec.data == "broken":
        raise InvalidData("toys/3.png is not an image; remove it.")
    if spec.data == "bug":
        raise RuntimeError("a bug")
    if spec.data == "deadly":
        sys.stderr.write("out of toys\n")
        sys.stderr.flush()
        os._exit(9)
    if spec.data == "hungry":
        os.kill(os.getpid(), signal.SIGKILL)
    if spec.data == "talkative toys":
        sys.stderr.write(f"card {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
    delay_s = 0.15 if spec.data == "slow toys" else 0.0
    hurry = Path(os.environ["BITDIAL_DATA"]) / "hurry" if delay_s else None
    return FakePrepared(delay_s, callbacks.get("checkpoints"), hurry=hurry)


def command(run_id, attempt):
    """Command line of a worker that uses this module; it finds the database in its environment."""
    root = str(Path(__file__).parents[2])
    code = (
        f"import sys; sys.path.insert(0, {root!r}); from tests.store import fake; "
        "sys.exit(fake.main())"
    )
    return [sys.executable, "-c", code, str(run_id), str(attempt)]


def main():
    """Entry of such a worker process."""
    SEARCHES["batched"] = BATCHED_SEARCH
    return worker.main(None, int(sys.argv[1]), int(sys.argv[2]), prepare=prepare)
