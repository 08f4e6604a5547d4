"""SP-Nets: one set of weights, trained to run at several precisions of the whole network.

Every step trains all switches on the same images, the widest first, gradients accumulated into one
optimiser step; weights are shared, batch-norms and clips private to the switch; the narrower
switches also learn from the wider ones. Each switch becomes a point.

With one weight width among the options and several activation widths it is the asymmetric mode:
one-bit weights whose inputs switch from float (BinaryConnect) to one bit (a binarized network).

Reference: Guerra, Zhuang, Reid and Drummond, Switchable Precision Neural Networks, arXiv
2002.02815, 2020. Readable were its abstract and first page: shared weights, self-distillation, the
asymmetric mode, three quantizers.

Reconstructed: the three quantizers (learned clip, LSQ, DoReFa; sign for one bit; nested codes are
another paper's), private norms (as in every system of its kind), the weights of the loss
(`qat.switches.Joint`), all schedules. The activation width of a switch is the allowed one nearest
to its weight width.
"""

from dataclasses import dataclass

import numpy as np

from qcore import search
from qcore.allocation import BitAllocation
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.problem import Ask, Problem, Progress, Proposals
from qcore.qat.requests import SwitchableBits
from qcore.qat.switches import Joint, NormPlan, rungs_of, switches_of
from qcore.quantizer_names import learned_for
from qcore.search import Clock, Search, Trained, Work

STAGE = "switches"
TEACHER_BITS = 8
"""Fewest bits of a teacher; below, what it teaches is its own damage."""


@dataclass(frozen=True)
class SpNetsParams:
    """How the network is trained."""

    epochs: int = search.setting(
        6, "Epochs", "Each trains every switch on every image.", min=0, max=10_000
    )
    epoch_images: int = search.epoch_images()
    rate: float = search.setting(
        0.02, "Learning rate", "Peak learning rate; it falls along a cosine.", min=1e-6, max=10.0
    )
    quantizer: str = search.setting(
        "clip",
        "Quantizer",
        "Sign is for one-bit weights, and a learned clip at more bits. Nested: codes of fewer bits "
        "are the leading ones of the widest, so that all switches share one set of codes.",
        choices=learned_for("spnets"),
        of="learned quantizer",
    )
    teacher: str = search.setting(
        "fixed",
        "Teacher",
        "Narrower switches learn from the widest, the next wider, or all wider ones.",
        choices=("fixed", "next", "all"),
    )
    labels: float = search.setting(
        0.5, "Weight of labels", "In the loss of the narrower switches.", min=0.0, max=10.0
    )
    outputs: float = search.setting(
        0.5,
        "Weight of outputs",
        "Of the divergence from the teacher's outputs; 0 turns it off.",
        min=0.0,
        max=10.0,
    )
    features: float = search.setting(
        0.1,
        "Weight of features",
        "Of the squared distance to the teacher's features; 0 turns it off.",
        min=0.0,
        max=10.0,
    )
    private_norms: bool = search.setting(
        True, "Private batch-norms", "Off: all switches share one set, to see what that costs."
    )


def spnets(problem: Problem, params: SpNetsParams, rng: np.random.Generator) -> Proposals:
    """Train all switches at once, then measure each that is within the budget.

    Raises:
        InvalidParams: no trainer; no switch wide enough to teach; nothing to learn from.
        InfeasibleBudget: no switch is within the budget.
        UnsupportedModel: the network has no batch-norms.
        Diverged: training reached NaN.
    """
    joint = Joint(params.teacher, params.labels, params.outputs, params.features)
    switches = switches_of(rungs_of(problem), problem.ties)
    _check_teacher(switches, joint)
    wanted = {name: a for name, a in switches.items() if problem.admits(a)}
    if not wanted:
        raise InfeasibleBudget(
            f"None of the switches {', '.join(switches)} (weight/activation bits of the whole "
            f"network) is within the budget of {dict(problem.budget.limits)}. Raise it, or allow "
            "fewer bits."
        )
    total = params.epochs + 1
    kind = "switch" if params.private_norms else "shared"
    request = SwitchableBits(
        stage=STAGE,
        norms=NormPlan(kind, switches, problem.ties),
        allocation=next(iter(switches.values())),
        plan={"epochs": params.epochs, "rate": params.rate, "epoch_images": params.epoch_images},
        quantizer=params.quantizer,
        joint=joint,
    )
    clock = Clock(total, epoch_steps=1)
    payload = yield from clock.stage(problem.needed_trainer().train(request), params.epochs)
    yield Progress(params.epochs, total, f"measuring {len(wanted)} switches")
    answer = yield Ask(tuple(wanted.values()), STAGE)
    values = {name: problem.value(point) for name, point in zip(wanted, answer or (), strict=True)}
    listed = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    figures = {"switches": values, "payload": payload}
    yield Progress(total, total, f"finished: {listed} nats", figures)


def _check_teacher(switches: dict[str, BitAllocation], joint: Joint) -> None:
    """Refuse to distil from a network that is itself damaged."""
    if len(switches) < 2 or not joint.distils:
        return
    rows = [
        [switch[name] for switch in switches.values()] for name in next(iter(switches.values()))
    ]
    # what differs between switches must be wide in the first of them
    narrow = [
        getattr(row[0], part)
        for row in rows
        for part in ("weight", "activation")
        if len({getattr(bits, part) for bits in row}) > 1 and getattr(row[0], part) < TEACHER_BITS
    ]
    if not narrow:
        return
    raise InvalidParams(
        f"The switches {', '.join(switches)} include none to teach the others: it needs "
        f"{TEACHER_BITS} bits or float. Allow such bits, or turn both distillation terms off "
        "(outputs and features 0)."
    )


def trained(params: SpNetsParams, stage: str) -> Trained:
    """How the weights came to be."""
    own = "a copy for every switch" if params.private_norms else "one for all switches"
    return Trained(
        quantizer=params.quantizer,
        epochs=params.epochs,
        epoch_images=params.epoch_images,
        norms=f"trained, {own}; statistics estimated once, after training",
        each_step="every step trains all switches",
    )


SEARCH = Search(
    name="spnets",
    title="SP-Nets",
    family="trained",
    summary="One set of weights trained for several precisions of the network; each is a point.",
    params=SpNetsParams,
    run=spnets,
    paper="Guerra, Zhuang, Reid and Drummond, arXiv 2002.02815, 2020",
    trains=True,
    look=6,
    leaves=STAGE,
    trained=trained,
    work=Work(
        epochs=("epochs",),
        passes=lambda params, switches: switches,
        looked=lambda params, switches, search, test: switches * (search + test),
    ),
)
