"""Where a training stage keeps its state between epochs, seen from the side that trains.

Torch-free. Whoever runs a search decides where the bytes go (the store keeps files); a search that
trains saves after every epoch and asks for the newest state when its stage begins, so that a stage
that was interrupted goes on and a finished one is loaded instead of trained again.
"""

from typing import Protocol


class Checkpoints(Protocol):
    """Keeps the newest states of named training stages such as "round-2/weights"."""

    def load(self, stage: str) -> tuple[int, bytes] | None:
        """Newest undamaged state of a stage as (epochs done, bytes), or None."""
        ...

    def save(self, stage: str, epoch: int, data: bytes) -> None:
        """Keep the state after `epoch` epochs (1 or more) of a stage."""
        ...


class MemoryCheckpoints:
    """Checkpoints that live as long as this object: for scripts, benchmarks and tests."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, bytes]] = {}

    def load(self, stage: str) -> tuple[int, bytes] | None:
        """Newest state of a stage as (epochs done, bytes), or None."""
        return self._kept.get(stage)

    def save(self, stage: str, epoch: int, data: bytes) -> None:
        """Keep the state after `epoch` epochs of a stage."""
        self._kept[stage] = (epoch, data)
