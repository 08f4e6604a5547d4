"""What every kind of training needs of one network: its layers, images, and where states go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.data import Images
from qcore.errors import InvalidData
from qcore.network.layers import Found
from qcore.qat.checkpoints import Checkpoints
from qcore.qat.loop import Plan, Stage, train_stage
from qcore.qat.model import TrainableModel


@dataclass(frozen=True)
class Materials:
    """What is trained, on what.

    Attributes:
        network: The float network; never changed.
        found: Its layers.
        options: Bits each layer may have.
        images: Training images.
        calibration: Normalised batches for ranges and norms.
        checkpoints: Where the stages' states are.
        seed: Seed of everything drawn by chance.
        device: Where it trains.
        teacher: The float network to distil from.
        notes: Notes of the stages a trainer can load again: how the network is quantized.
    """

    network: nn.Module
    found: Found
    options: Mapping[str, tuple[LayerBits, ...]]
    images: Images
    calibration: Sequence[Tensor]
    checkpoints: Checkpoints
    seed: int = 0
    device: str = "cpu"
    teacher: nn.Module | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def keep_stage(
    materials: Materials,
    name: str,
    model: TrainableModel,
    allocation: BitAllocation,
) -> None:
    """Save a model at its allocation as a finished stage, or load the stage where it is there."""

    def finish() -> None:
        # bits that were not learned begin from the weights as they are now
        model.start_scales(materials.calibration)
        model.set_allocation(allocation)
        model.estimate_norms(materials.calibration)

    def no_loss(*_: Any) -> tuple[Tensor, Tensor]:
        raise InvalidData(f"The stage {name!r} has no epochs and no loss.")

    plan = Plan(epochs=0)
    stage = Stage(
        name, model, materials.images, plan, loss=no_loss, finish=finish, notes=materials.notes
    )
    list(train_stage(stage, materials.checkpoints))
