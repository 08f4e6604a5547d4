"""Killed at any moment, as often as you like, a search ends where it would have ended."""

import dataclasses
import hashlib
import random
from collections import Counter

import pytest

from qcore.engine import Progress, Reported, drive
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.requests import AdoptedStage, Hardened, Learned, LearnedBits, LowBits
from qcore.qat.switches import NormPlan, rungs_of, switches_of
from qcore.searches import SEARCHES
from tests.helpers import toy_problem, with_budget
from tests.variants import crossed

KILLS = 25


class Killed(BaseException):
    """The process is gone; nothing may catch this."""


class Fuse:
    """Kills at the n-th of the moments at which it is asked; never where n is None."""

    def __init__(self, moments):
        self.left = moments

    def burn(self):
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                raise Killed


class Trainer:
    """Trains a number: every epoch's depends on all epochs before, so any slip would show.

    Its stages are kept as `qcore.qat.trainer` keeps them; `trained` is every epoch ever trained.
    """

    def __init__(self, checkpoints, trained, burn, toy):
        self._checkpoints, self._trained, self._burn = checkpoints, trained, burn
        self._toy = toy
        found = min(toy.all_allocations(), key=toy.cost)
        self._answers = {
            LearnedBits: Learned(found, True, 0.5),
            LowBits: Hardened(0.0, 0.0, ()),
            AdoptedStage: NormPlan("pair", switches_of(rungs_of(toy.problem))),
        }

    def train(self, request):
        if isinstance(request, AdoptedStage):
            return self._answers[AdoptedStage]
        answer = self._answers.get(type(request))
        allocation = getattr(request, "allocation", None) or answer.allocation
        after = getattr(request, "after", "")
        if hasattr(request, "training"):
            yield from self._epochs(request.training, after, allocation, request.plan["epochs"])
            yield from self._epochs(request.stage, request.training, allocation, 1)
        else:
            yield from self._epochs(request.stage, after, allocation, request.plan["epochs"])
        return answer

    def steps(self, plan):
        return 10

    def _epochs(self, stage, after, allocation, epochs):
        done, data = self._checkpoints.load(stage) or (0, b"")
        before = self._checkpoints.load(after) or (0, b"float")
        for epoch in range(done, epochs):
            self._burn()
            self._trained.append((stage, epoch))
            words = [before[1], data, stage.encode(), allocation.digest.encode()]
            data = hashlib.sha256(b"|".join(words)).digest()
            self._burn()
            self._checkpoints.save(stage, epoch + 1, data)
            yield Progress(epoch + 1, epochs, stage)

    def factor(self, stage):
        """What the weights of a stage do to every score."""
        return 1 + (self._checkpoints.load(stage) or (0, b"\0"))[1][0] / 256


class Attempts:
    """A run over all its attempts: what was scored, and what had been stored at each death."""

    def __init__(self, name, seed):
        self.search, self.seed = SEARCHES[name], seed
        self.toy = with_budget(toy_problem(5, interaction=0.5, seed=seed), 0.6)
        values = {}
        if name == "given":
            values = {"allocations": [a.to_json() for a in self.toy.all_allocations()[::40]]}
        if self.search.trains:
            small = {"evaluations": 24, "population": 6, "window": 64, "slide": 16}
            known = {field.name for field in dataclasses.fields(self.search.params)}
            values = {name: value for name, value in small.items() if name in known}
        self.params = self.search.read_params(values)
        self.stored, self.trained, self.checkpoints = [], [], MemoryCheckpoints()

    def drive(self, moments=None):
        """One attempt; the outcome, or Killed."""
        fuse = Fuse(moments)
        trainer = Trainer(self.checkpoints, self.trained, fuse.burn, self.toy)

        def score(allocations, stage, images=None):
            factor = trainer.factor(stage)
            for allocation in allocations:
                fuse.burn()
                [point] = self.toy.score([allocation], stage, images)
                scores = dataclasses.replace(point.search, kl=point.search.kl * factor)
                yield dataclasses.replace(point, search=scores)

        def on_event(event):
            if isinstance(event, Progress | Reported):
                return
            fuse.burn()
            self.stored.append(event)
            fuse.burn()

        def report(point):
            fuse.burn()
            return self.toy.report(point)

        return drive(
            self.search,
            dataclasses.replace(self.toy.problem, trainer=trainer),
            self.params,
            self.seed,
            score=score,
            report=report,
            known=list(self.stored),
            on_event=on_event,
        )


@pytest.mark.parametrize(("name", "seed"), crossed(SEARCHES, range(2)))
def test_kills_at_random_moments_change_nothing(name, seed):
    calm, battered = Attempts(name, seed), Attempts(name, seed)
    whole = calm.drive()
    chance, kills = random.Random(f"{name} {seed}"), 0
    outcome = None
    while outcome is None:
        try:
            outcome = battered.drive(chance.randint(1, 12) if kills < KILLS else None)
        except Killed:
            kills += 1
    assert kills > 0
    assert outcome.points == whole.points
    assert outcome.reported == whole.reported
    assert battered.stored == calm.stored
    keys = [point.key for point in battered.stored]
    assert len(set(keys)) == len(keys)
    # only the allocation or epoch in hand when it was killed is done again
    scored = Counter(battered.toy.scored) - Counter(calm.toy.scored)
    trained = Counter(battered.trained) - Counter(calm.trained)
    assert scored.total() + trained.total() <= kills
    # a meta-network was trained by another run
    assert bool(calm.trained) == (SEARCHES[name].trains and name != "metanetwork")
