"""What every kind of training needs of one network: its layers, images, and where states go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from qcore.allocation import LayerBits
from qcore.checkpoints import Checkpoints
from qcore.data import Images
from qcore.layers import Found


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
