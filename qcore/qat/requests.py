"""What searches that learn by gradient ask a trainer for, and what they get. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qcore.allocation import BitAllocation


@dataclass(frozen=True)
class Learning:
    """How bits are learned together with weights (`dq_training`).

    Attributes:
        kind: "step-range", "bits-range", "bits-step" or "power-of-two".
        powers: Whether steps are rounded to powers of two.
        strength: Lambda of the penalty.
        start: Bits to begin with; None for four everywhere.
        validation_images: Training images that choose the state that is kept, and train nothing.
        check_every: Steps between two looks at the validation images.
        limits: Cost name to limit, in the cost's unit.
        plan: The fields of `Plan` that differ from their defaults.
    """

    kind: str = "step-range"
    powers: bool = False
    strength: float = 0.1
    start: BitAllocation | None = None
    validation_images: int = 512
    check_every: int = 10
    limits: Mapping[str, float] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Learned:
    """What was learned.

    Attributes:
        allocation: The allocation of the state that was kept.
        fits: Whether it is within the limits; else it is that of the last state.
        validation: Accuracy of the state on the validation images; None where none fitted.
    """

    allocation: BitAllocation
    fits: bool
    validation: float | None


@dataclass(frozen=True)
class LowBits:
    """How layers of one or two bits are trained at a given allocation (`mirror_training`).

    Attributes:
        method: Key of `quantizers.mirror_maps.METHODS`.
        ternary: Whether two bits mean the three levels -1, 0 and 1; else four, by softmax.
        beta: Largest beta of the annealing.
        learn_scales: Whether each layer's scale is learned; else it stays as it begins.
        strength: How far ProxQuant pulls over all its steps, in scales; about 8 as published.
        tail_epochs: Epochs at hard levels after the annealing.
        plan: The fields of `Plan` of the annealing that differ from their defaults.
    """

    method: str = "md-tanh-s"
    ternary: bool = True
    beta: float = 2e4
    learn_scales: bool = True
    strength: float = 8.0
    tail_epochs: int = 1
    plan: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hardened:
    """What training of low bits came to.

    Attributes:
        gap: Accuracy of the soft weights minus that of the hard ones at the end of the annealing,
            both with the statistics of the batch; None where nothing has few bits or no labels.
        off_level: Share of low-bit weights further than 0.05 from a level then.
        warnings: Sentences for the user.
    """

    gap: float | None
    off_level: float
    warnings: tuple[str, ...] = ()
