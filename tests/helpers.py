"""The analytic problem that searches are tried on, and a trainer that trains nothing."""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from benchmarks.toy import Toy, pinned, toy_model, toy_problem, with_budget
from qcore.allocation import BitAllocation
from qcore.errors import InvalidParams
from qcore.problem import Progress
from qcore.qat.requests import Hardened, Learned, Learning, LowBits
from qcore.qat.switchable.switches import NormPlan

__all__ = ["FakeTrainer", "Toy", "pinned", "toy_model", "toy_problem", "with_budget"]


class FakeTrainer:
    """Trains nothing, and notes what it was asked to train.

    Attributes:
        stage: The stage trained last; "" before the first.
        begun: The quantizers begun with.
        trained: (stage, allocation, epochs) of every stage, in order.
        plans: `NormPlan` of every beginning, or None.
        trained_elsewhere: `NormPlan` of every other run's stage.
        calls: Further arguments of every stage, in order.
        learned: What learning bits comes to; None where no search under test learns them.
        asked: What was asked of every learning, in order.
        gap: Soft minus hard accuracy that training low bits comes to.
    """

    def __init__(self, trained_elsewhere: NormPlan | None = None) -> None:
        self.trained_elsewhere = trained_elsewhere
        self.stage = ""
        self.begun: list[tuple[str, int | None]] = []
        self.trained: list[tuple[str, BitAllocation, int]] = []
        self.plans: list[NormPlan | None] = []
        self.calls: list[dict[str, Any]] = []
        self.learned: Learned | None = None
        self.asked: list[Learning | LowBits] = []
        self.gap = 0.0

    def begin(
        self, quantizer: str = "clip", one_clip: int | None = None, norms: NormPlan | None = None
    ) -> None:
        """Start over."""
        self.begun.append((quantizer, one_clip))
        self.plans.append(norms)
        self.stage = ""

    def train(
        self, stage: str, allocation: BitAllocation, plan: Mapping[str, object], **more: Any
    ) -> Iterator[Progress]:
        """One progress per epoch, as a real trainer gives."""
        self.calls.append({**plan, **more})
        epochs = int(str(plan["epochs"]))
        for epoch in range(1, epochs + 1):
            yield Progress(epoch, epochs, f"training {stage}", {"stage": stage, "epoch": epoch})
        self.trained.append((stage, allocation, epochs))
        self.stage = stage

    def learn_bits(
        self, stage: str, frozen: str, learning: Learning
    ) -> Generator[Progress, None, Learned]:
        """One progress per epoch; comes to `learned`."""
        yield from self._epochs(stage, int(learning.plan["epochs"]))
        self.asked.append(learning)
        self.stage = frozen
        if self.learned is None:
            raise NotImplementedError("say what learning comes to")
        return self.learned

    def train_low_bits(
        self, stage: str, hardened: str, allocation: BitAllocation, low: LowBits
    ) -> Generator[Progress, None, Hardened]:
        """One progress per epoch; ends with `gap`."""
        yield from self._epochs(stage, int(low.plan["epochs"]) + low.tail_epochs)
        self.asked.append(low)
        self.trained.append((hardened, allocation, int(low.plan["epochs"])))
        self.stage = hardened
        return Hardened(self.gap, 0.0, ("ended too soft",) if self.gap > 0.005 else ())

    def _epochs(self, stage: str, epochs: int) -> Iterator[Progress]:
        for epoch in range(1, epochs + 1):
            yield Progress(epoch, epochs, f"training {stage}", {"stage": stage, "epoch": epoch})

    def adopt(self, run: int, stage: str) -> tuple[str, NormPlan]:
        """Take over another run's stage."""
        if self.trained_elsewhere is None:
            raise InvalidParams(f"There is no stage {stage!r} of a run {run}.")
        return f"run-{run}/{stage}", self.trained_elsewhere

    def steps(self, plan: Mapping[str, object]) -> int:
        """Ten steps an epoch."""
        return 10

    def payload(self, stage: str, allocation: BitAllocation) -> dict[str, object]:
        """No bytes at all."""
        return {}
