"""The analytic problem that searches are tried on, and a trainer that trains nothing."""

from collections.abc import Generator, Mapping
from typing import Any

from benchmarks.toy import Toy, pinned, ruled, toy_model, toy_problem, with_budget
from qcore.allocation import BitAllocation
from qcore.problem import Progress

__all__ = ["FakeTrainer", "Toy", "pinned", "ruled", "toy_model", "toy_problem", "with_budget"]


class FakeTrainer:
    """Trains nothing, and notes what it was asked to train.

    Args:
        answers: What each type of request comes to; None where it is not among them.

    Attributes:
        asked: Every request whose training went on to its end, in order.
    """

    def __init__(self, answers: Mapping[type, Any] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[Any] = []

    @property
    def trained(self) -> list[tuple[str, BitAllocation, int]]:
        """(stage, allocation, epochs of its plan) of all that was trained at given bits."""
        rows = [r for r in self.asked if hasattr(r, "allocation")]
        return [(r.stage, r.allocation, int(r.plan["epochs"])) for r in rows]

    def train(self, request: Any) -> Generator[Progress, None, Any]:
        """One progress per epoch, as a real trainer gives."""
        epochs = int(getattr(request, "plan", {}).get("epochs", 0))
        epochs += getattr(request, "tail_epochs", 0)
        for epoch in range(1, epochs + 1):
            figures = {"stage": request.stage, "epoch": epoch}
            yield Progress(epoch, epochs, f"training {request.stage}", figures)
        self.asked.append(request)
        return self.answers.get(type(request))

    def steps(self, plan: Mapping[str, object]) -> int:
        """Ten steps an epoch."""
        return 10
