"""Mirror descent for layers of one and two bits, at an allocation that is given or the exact one.

It chooses no bits of its own: the exact front's allocation under the budget, uniform bits, or bits
that are given, are trained with a soft weight that sharpens to its levels in every layer of one bit
(two levels) and two bits (three or four), and with learned steps (LSQ) in all other layers. The
result is one point on the same front as everybody else's.

Reference: Ajanthan, Gupta, Torr, Hartley and Dokania, Mirror Descent View for Neural Network
Quantization, arXiv 1910.08237, AISTATS 2021. Straight through: Courbariaux, Bengio and David,
BinaryConnect, NeurIPS 2015. ProxQuant: Bai, Wang and Liberty, ICLR 2019. Differs from the paper: a
trained network is made low-bit, other layers may have more bits, biases stay in float, and each
layer has a scale, learned unless switched off (an extension; the paper lets batch-norms without an
affine part give it), so that in units of the levels the rate is 10 to 20 times the published one.
The last state is taken, not the best on a held-out tenth. Ternary ProxQuant's two signs have one
scale here, the mean size of what is not 0. Weights on three levels are saved, and counted, as the
two-bit codes they are. One bit is offered whatever other widths are allowed. After the annealing
comes a tail at hard levels (`qat.mirror.training`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore import search
from qcore.allocation import BitAllocation
from qcore.costs import costs_of
from qcore.errors import InvalidParams
from qcore.problem import Ask, Problem, Proposals
from qcore.qat.requests import Hardened, LowBits
from qcore.search import EPOCH_STEPS, REESTIMATED, Clock, Search, Trained, Work
from qcore.solvers.start import exact_allocation, uniform_allocation

TRAINING, FINAL = "mirror", "final"
METHODS = (
    "md-tanh-s", "md-softmax-s", "md-tanh", "md-softmax", "gd-tanh", "gd-softmax", "ste",
    "proxquant",
)  # fmt: skip


@dataclass(frozen=True)
class MirrorParams:
    """Which bits, and how the layers of few bits are trained.

    Four levels at two bits need a softmax method, STE or ProxQuant. Without learned scales a scale
    stays where a batch-norm follows.
    """

    method: str = search.setting(
        "md-tanh-s",
        "Low bits trained by",
        "Mirror descent (tanh or softmax; -s are the stable forms), gradient descent through tanh "
        "or softmax (PMF), straight through, or ProxQuant.",
        choices=METHODS,
    )
    allocation: str = search.setting(
        "exact",
        "Allocation",
        "From the exact front under the budget, uniform bits, or given.",
        choices=("exact", "uniform", "given"),
    )
    given: tuple[str | Mapping[str, Any], ...] = search.setting(
        (), "Given bits", 'One, as {"layer": [weight bits, activation bits], ...}.'
    )
    ternary: bool = search.setting(True, "Two bits are ternary", "Three levels; off, four.")
    epochs: int = search.setting(4, "Epochs", "Epochs of annealing.", min=1, max=10_000)
    tail_epochs: int = search.setting(
        1, "Epochs at hard levels", "After annealing.", min=0, max=10_000
    )
    epoch_images: int = search.epoch_images()
    rate: float = search.setting(1e-3, "Learning rate", "Adam's, at its peak.", min=1e-6, max=1.0)
    beta: float = search.setting(
        2e4, "Largest beta", "Sharpness at the end of the annealing.", min=1.0, max=1e9
    )
    learn_scales: bool = search.setting(
        True, "Learn scales", "An extension; off, the paper's form where batch-norms follow."
    )
    strength: float = search.setting(
        8.0, "ProxQuant strength", "How far it pulls in all, in scales.", min=0.0, max=1000.0
    )
    distillation: float = search.distillation()


def mirror(problem: Problem, params: MirrorParams, rng: np.random.Generator) -> Proposals:
    """Train one allocation, its layers of few bits through a mirror map; score the result.

    Raises:
        InvalidParams: no trainer, nothing given, or a method without a map for these levels.
        InvalidAllocation: given bits do not fit the problem.
        InfeasibleBudget: nothing fits the budget.
        Diverged: training reached NaN.
    """
    trainer = problem.needed_trainer()
    epochs = params.epochs + params.tail_epochs
    clock = Clock(epochs * EPOCH_STEPS + 1)
    yield clock.tick(0, f"choosing the bits: {params.allocation}")
    allocation = _allocation(problem, params)
    low = LowBits(
        stage=FINAL,
        training=TRAINING,
        allocation=allocation,
        method=params.method,
        ternary=params.ternary,
        beta=params.beta,
        learn_scales=params.learn_scales,
        strength=params.strength,
        tail_epochs=params.tail_epochs,
        plan={
            "epochs": params.epochs,
            "rate": params.rate,
            "scale_rate": 0.1,
            "optimizer": "adam",
            "decay": 0.0,
            "epoch_images": params.epoch_images,
            "distillation": params.distillation,
        },
    )
    result = yield from clock.stage(trainer.train(low), epochs)
    for warning in result.warnings:
        yield clock.tick(0, warning, warning=warning)
    answer = yield Ask((allocation,), FINAL)
    value = problem.value((answer or [])[0])
    yield clock.tick(
        1,
        f"finished: {value:.4g} nats{_memory(result)}",
        round=1,
        value=value,
        allocation=allocation.to_json(),
        costs=costs_of(problem.model, allocation, problem.costs),
        gap=result.gap,
        off_level=result.off_level,
        auxiliary_bytes=result.auxiliary_bytes,
    )


def _memory(result: Hardened) -> str:
    """What the method takes beside the weights while it trains, in words."""
    if not result.low_bytes:
        return ""
    times = result.auxiliary_bytes / result.low_bytes
    return (
        f"; auxiliary variables took {result.auxiliary_bytes / 1024:,.0f} KiB in training, "
        f"{times:g} for each low-bit weight"
    )


def _allocation(problem: Problem, params: MirrorParams) -> BitAllocation:
    if params.allocation == "given":
        return _given(problem, params.given)
    if params.allocation == "exact" and problem.sensitivity is not None:
        return exact_allocation(problem, "mirror")
    if params.allocation == "exact":
        raise InvalidParams(
            "The search 'mirror' needs the 'gradient' sensitivity of each layer for the exact "
            "allocation, and this problem offers none. Choose uniform or given bits."
        )
    return uniform_allocation(problem)


def _given(problem: Problem, entries: tuple[str | Mapping[str, Any], ...]) -> BitAllocation:
    if len(entries) != 1:
        raise InvalidParams(f"Give exactly one allocation to be trained; got {len(entries)}.")
    data: Any = entries[0]
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except json.JSONDecodeError as err:
            raise InvalidParams(f"The given bits are not JSON: {err}. Got {data[:80]!r}.") from err
    if not isinstance(data, Mapping):
        raise InvalidParams(f"The given bits must map layers to bits; got {str(data)[:80]}.")
    allocation = BitAllocation.from_json(data)
    problem.check(allocation)
    return BitAllocation({name: allocation[name] for name in problem.model.names})


def trained(params: MirrorParams, stage: str) -> Trained:
    """How the weights came to be: few levels by the map, the rest by LSQ."""
    return Trained(
        quantizer="lsq",
        epochs=params.epochs + params.tail_epochs,
        epoch_images=params.epoch_images,
        norms=REESTIMATED,
        codes={2: 3} if params.ternary else {},
        steps=f"one and two bits trained by {params.method}"
        + ("" if params.learn_scales else ", their steps fixed where a norm follows"),
    )


SEARCH = Search(
    name="mirror",
    title="Mirror descent",
    family="trained",
    summary="Trains the exact front's bits, few-level layers under a sharpening mirror map.",
    params=MirrorParams,
    run=mirror,
    paper="Ajanthan et al., Mirror Descent View for Neural Network Quantization, AISTATS 2021",
    trains=True,
    look=10,
    trained=trained,
    offers=(1,),
    work=Work(epochs=("epochs", "tail_epochs")),
)
