"""What searches that train ask of a trainer, and what they get. Torch-free.

One request for each way to train; `qcore.qat.ways` says which folder carries it out. `plan` is
always the fields of `qcore.qat.loop.Plan` that differ from their defaults, and `after` the finished
stage whose weights training goes on from; "" is the float network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from qcore.allocation import BitAllocation
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.problem import Request
from qcore.qat.switches import Joint, NormPlan


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the network is quantized while it trains; kept with every stage.

    Attributes:
        quantizer: Key of LEARNED_QUANTIZERS.
        one_clip: None for a scale per bit-width; else one per tensor, begun at this width.
        norms: `NormPlan` of a switchable network, as JSON data; None for any other.
    """

    quantizer: str = "clip"
    one_clip: int | None = None
    norms: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class GivenBits(Request[None]):
    """Train the weights at bits that are given (`given_bits`).

    Attributes:
        allocation: Bits to train at, and those the norms are estimated at in the end.
        plan: How, and how long.
        after: Stage to go on from.
        quantizer: Key of LEARNED_QUANTIZERS, where it begins at the float network.
        one_clip: None for a scale per bit-width; else one per tensor, begun at this width.
        draw: Step and generator to the bits of that step, where they change.
    """

    allocation: BitAllocation
    plan: Mapping[str, Any] = field(default_factory=dict)
    after: str = ""
    quantizer: str = "clip"
    one_clip: int | None = None
    draw: Callable[[int, Any], BitAllocation] | None = None


@dataclass(frozen=True, kw_only=True)
class SwitchableBits(Request[dict[str, Any]]):
    """Train a network to run at many bits (`switchable`); comes to the bytes it takes.

    Attributes:
        norms: What the network can be switched to while it runs, and how its norms follow.
        allocation: The switch it is left at.
        plan: How, and how long.
        after: Stage to go on from, of the same network.
        quantizer: Key of LEARNED_QUANTIZERS, where it begins at the float network.
        draw: Step and generator to the bits of that step, where they change.
        joint: Trains all switches in every step.
        float_weights: Leaves weights in float, so that only inputs are quantized.
        visits: Allocations at which the norms are estimated at the end, one batch each; empty is
            every switch on every batch. Norms of pairs of bits never trained begin as their
            diagonal ones.
    """

    norms: NormPlan
    allocation: BitAllocation
    plan: Mapping[str, Any] = field(default_factory=dict)
    after: str = ""
    quantizer: str = "clip"
    draw: Callable[[int, Any], BitAllocation] | None = None
    joint: Joint | None = None
    float_weights: bool = False
    visits: tuple[BitAllocation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AdoptedStage(Request[NormPlan]):
    """Keep a copy of a switchable network that another run has trained (`adopted`).

    Comes to what it can be switched to.

    Attributes:
        run: Number of the run.
        trained: Name of the stage there.
    """

    run: int
    trained: str


@dataclass(frozen=True)
class Learned:
    """What was learned.

    Attributes:
        allocation: The allocation of the state that was kept.
        fits: Whether it is within the limits; else it is that of the last state.
        validation: Score of the state on the validation samples; None where none fitted.
        samples: How many validation samples there were.
    """

    allocation: BitAllocation
    fits: bool
    validation: float | None
    samples: int = 0


@dataclass(frozen=True, kw_only=True)
class LearnedBits(Request[Learned]):
    """Learn bits together with the float network's weights (`learned_bits`).

    Attributes:
        training: Name of the stage in which they are learned; `stage` holds the best state, frozen.
        kind: "step-range", "bits-range", "bits-step" or "power-of-two".
        powers: Whether steps are rounded to powers of two.
        strength: Lambda of the penalty.
        start: Bits to begin with; None for four everywhere.
        validation_images: Training images that choose the state that is kept, and train nothing.
        check_every: Steps between two looks at the validation images; 0 takes a fifth of the time.
        clipping: "published" clips gradients of "step-range" and "power-of-two" under limits alone;
            "all" clips those of every kind.
        limits: Cost name to limit, in the cost's unit.
        costs: The costs there are.
        plan: How, and how long.
    """

    training: str
    kind: str = "step-range"
    powers: bool = False
    strength: float = 0.1
    start: BitAllocation | None = None
    validation_images: int = 8192
    check_every: int = 0
    clipping: str = "published"
    limits: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, CostModel] = field(default_factory=lambda: COSTS, repr=False, compare=False)
    plan: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hardened:
    """What training of low bits came to.

    Attributes:
        gap: Accuracy of the soft weights minus that of the hard ones at the end of the annealing,
            both with the statistics of the batch; None where nothing has few bits or no labels.
        off_level: Share of low-bit weights further than 0.05 from a level then.
        warnings: Sentences for the user.
        auxiliary_bytes: What the auxiliary variables of low-bit layers take in training: one for
            each weight, or one for each weight and level.
        low_bytes: What the weights of these layers take in training.
    """

    gap: float | None
    off_level: float
    warnings: tuple[str, ...] = ()
    auxiliary_bytes: int = 0
    low_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class LowBits(Request[Hardened]):
    """Train layers of one and two bits through a mirror map, all others by LSQ (`mirror`).

    Attributes:
        training: Begins the names of the stages that train; `stage` holds the hardened result.
        allocation: Bits.
        method: Key of `quantizers.mirror_methods.METHODS`.
        ternary: Whether two bits mean the three levels -1, 0 and 1; else four, by softmax.
        beta: Largest beta of the annealing.
        learn_scales: Whether each layer's scale is learned; else it stays as it begins.
        strength: How far ProxQuant pulls over all its steps, in scales; about 8 as published.
        tail_epochs: Epochs at hard levels after the annealing.
        plan: How, and how long, of the annealing.
    """

    training: str
    allocation: BitAllocation
    method: str = "md-tanh-s"
    ternary: bool = True
    beta: float = 2e4
    learn_scales: bool = True
    strength: float = 8.0
    tail_epochs: int = 1
    plan: Mapping[str, Any] = field(default_factory=dict)
