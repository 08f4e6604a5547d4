"""A prepare() without torch: the toy problem of tests.helpers, optionally slow or broken."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from qcore.allocation import BitAllocation
from qcore.config import BitConfig
from qcore.errors import InvalidData
from qcore.problem import RunSpec
from store import worker
from tests.helpers import toy_problem

SPEC = RunSpec("toy", "toys", "random", {"evaluations": 30}, search_images=64)


class FakePrepared:
    """What qcore.prepare gives, on a toy."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self._toy, self._delay_s = toy_problem(), delay_s
        self.problem = self._toy.problem
        self.model = self.problem.model
        everything = BitAllocation.uniform(self.model.layers, 32)
        point = next(self._toy.score([everything], "ptq"))
        self.float_point = replace(point, test=point.search)

    def score(self, allocations, stage="ptq"):
        for point in self._toy.score(allocations, stage):
            time.sleep(self._delay_s)
            yield point

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
    """Behave as spec.data says: toys, slow toys, or data that cannot be read."""
    callbacks["on_progress"]("Loading toys")
    if spec.data == "broken":
        raise InvalidData("toys/3.png is not an image; remove it.")
    if spec.data == "bug":
        raise RuntimeError("a bug")
    if spec.data == "deadly":
        os._exit(9)
    return FakePrepared(0.15 if spec.data == "slow toys" else 0.0)


def command(url):
    """The command line factory of a supervisor whose workers use this module."""
    root = str(Path(__file__).parents[2])
    code = (
        f"import sys; sys.path.insert(0, {root!r}); from tests.store import fake; "
        f"sys.exit(fake.main({url!r}))"
    )
    return lambda run_id, attempt: [sys.executable, "-c", code, str(run_id), str(attempt)]


def main(url):
    """Entry of such a worker process."""
    return worker.main(url, int(sys.argv[1]), int(sys.argv[2]), prepare=prepare)
