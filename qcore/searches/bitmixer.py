"""Bit-Mixer: one network whose layers take any of their bit-widths at any time.

Three stages train one set of weights: inputs quantized only, then weights too, one width drawn for
the whole network in every step; then, ramping up, a width drawn for every layer. Batch-norms are
kept per width of the layer before, or per pair of bits of the layers before and behind
(`qcore.qat.norms`), and then those of unequal bits begin stage three as the diagonal ones. What is
left, the stage "layer-wise", is a meta-network: any allocation of it can be measured, searched and
exported without training.

Reference: Bulat and Tzimiropoulos, Bit-Mixer: Mixed-precision networks with runtime bit-width
selection, ICCV 2021. Readable were its abstract and accounts of it: transitional batch-norms, two
network-wide stages and a third that progressively goes layer by layer.

Reconstructed: what the first two stages quantize, all lengths and rates, the ramp, the quantizer, a
layer's activation width (the allowed one nearest to its weight width), and the search at the end.
Norms are estimated anew on random allocations at the end of training, never when bits are chosen.
Differs from the paper: by default its transitional norms are kept per width of the layer before
alone. Of pairs of four widths each copy is trained by a sixteenth of the steps.

With `mixed` the training is RFQuant's instead (Tang et al., Retraining-free Model Quantization via
One-Shot Weight-Coupling Learning, CVPR 2024; its norms are kept per producer): in every step the
widest bits learn the labels and teach so many random allocations. Differs from it: weights and
inputs of a layer keep one rung; no layer loses its lowest widths for a while, weights are not
averaged over steps, and no term is on the quantization error. Nor are gradient values clipped to 1,
steps begun at three standard deviations over 2^(b-1) and their gradients left unscaled, or weights
within the range of two bits spared from decay.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qcore import search
from qcore.allocation import FLOAT_BITS, BitAllocation
from qcore.problem import Problem, Progress, Proposals, Result
from qcore.qat.requests import SwitchableBits
from qcore.qat.switches import (
    Joint,
    NormPlan,
    Rungs,
    random_allocation,
    rungs_of,
    switches_of,
)
from qcore.quantizer_names import learned_for
from qcore.search import EPOCH_STEPS, Clock, Search, Trained, Work
from qcore.solvers.switchable import METHODS, Frozen, search_frozen

STAGE = "layer-wise"
VISITS = 64
"""Random allocations on which the norms are estimated in the end, a batch each."""


COUPLED = Joint(labels=0.5, outputs=0.5, features=0.01)
"""Weights of the loss of a random allocation that the widest bits teach, as in RFQuant."""


@dataclass(frozen=True)
class BitMixerParams:
    """How the network is trained, and how it is searched afterwards.

    The widest bits learn the labels where `mixed` is above 0: `distillation` is then not used.
    """

    input_epochs: int = search.setting(
        2, "Epochs, inputs", "Stage one: inputs quantized, one width for all.", min=0, max=10_000
    )
    network_epochs: int = search.setting(
        3, "Epochs, network", "Stage two: weights too, one width for all.", min=0, max=10_000
    )
    layer_epochs: int = search.setting(
        5, "Epochs, layers", "Stage three: widths drawn layer by layer.", min=0, max=10_000
    )
    ramp: float = search.setting(
        0.4,
        "Ramp",
        "Share of stage three over which layer-by-layer draws rise from never to always.",
        min=0.0,
        max=1.0,
    )
    epoch_images: int = search.epoch_images()
    rate: float = search.setting(
        0.02, "Learning rate", "Peak learning rate of each stage.", min=1e-6, max=10.0
    )
    layer_rate: float = search.setting(
        0.5, "Rate of stage three", "As a multiple of the learning rate.", min=0.01, max=1.0
    )
    quantizer: str = search.setting(
        "clip",
        "Quantizer",
        "How values become codes. Nested: those of fewer bits are the leading ones of the widest.",
        choices=learned_for("bitmixer"),
        of="learned quantizer",
    )
    distillation: float = search.distillation()
    norms: str = search.setting(
        "producer",
        "Batch-norms",
        "Private to the bits of the layer before, of both neighbours (the paper: more copies, each "
        "trained by fewer steps, and no better here), of the layer behind, or to nothing.",
        choices=("producer", "pair", "consumer", "shared"),
    )
    direct: bool = search.setting(
        False, "Without stages", "All epochs layer by layer from the first step."
    )
    mixed: int = search.setting(
        0,
        "Random bits a step",
        "0 draws one allocation a step. More (RFQuant: 3): the widest bits learn, and teach so "
        "many random ones in the same step; all epochs are layer by layer.",
        min=0,
        max=16,
    )
    methods: tuple[str, ...] = search.setting(
        ("exact", "cmaes"), "Searches", "How the trained network is searched.", choices=METHODS
    )
    points: int = search.setting(12, "Points", "Cost levels along the front.", min=1, max=500)
    evaluations: int = search.setting(
        90,
        "Candidates",
        "Allocations that CMA-ES, and moves that bidirectional greedy, may measure.",
        min=12,
        max=100_000,
    )
    samples: int = search.setting(
        20, "Random allocations", "Measured to show what any choice costs.", min=0, max=10_000
    )


def bitmixer(problem: Problem, params: BitMixerParams, rng: np.random.Generator) -> Proposals:
    """Train a meta-network in three stages, then search it within the budget.

    Raises:
        InvalidParams: no trainer; labels are needed and missing.
        InfeasibleBudget: nothing fits the budget.
        UnsupportedModel: no batch-norms, or the layer behind one is not known (named).
        Diverged: training reached NaN.
    """
    trainer = problem.needed_trainer()
    rungs = rungs_of(problem)
    switches = switches_of(rungs, problem.ties)

    def random(rng: np.random.Generator) -> BitAllocation:
        return random_allocation(rungs, rng, problem.ties)

    settings = Frozen(
        STAGE, params.methods, params.points, params.evaluations, params.samples
    )  # fmt: skip
    epochs = params.input_epochs + params.network_epochs + params.layer_epochs
    total = epochs * EPOCH_STEPS + settings.steps(rungs)
    seed = int(rng.integers(2**32))
    widest = next(iter(switches.values()))
    joint = replace(COUPLED, mixed=params.mixed) if params.mixed else None
    clock, after, payload = Clock(total), "", {}
    for stage in _stages(params, rungs, switches):
        plan = {
            "epochs": stage.epochs,
            "rate": params.rate * stage.rate,
            "epoch_images": params.epoch_images,
            "distillation": 0.0 if joint else params.distillation,
        }
        steps = trainer.steps(plan)
        share = _ramp(stage, steps)
        draw = _draw(stage, share, random, list(switches.values()), seed)
        request = SwitchableBits(
            stage=stage.name,
            norms=NormPlan(params.norms, switches, problem.ties),
            allocation=widest,
            plan=plan,
            after=after,
            quantizer=params.quantizer,
            draw=None if joint else draw,
            joint=joint,
            float_weights=stage.float_weights,
            visits=_visits(random, switches, seed) if stage.name == STAGE else (),
        )
        training = _with_share(trainer.train(request), share, steps)
        payload = yield from clock.stage(training, stage.epochs)
        after = stage.name
    figures = yield from search_frozen(problem, rungs, settings, rng, step=clock.done, total=total)
    figures["payload"] = payload
    yield Progress(total, total, f"finished: {figures['candidates']} allocations", figures)


def _with_share(
    training: Generator[Progress, None, Result], share: Callable[[int], float], steps: int
) -> Generator[Progress, None, Result]:
    """Say with every progress how many steps now draw layer by layer; `steps` are an epoch's."""
    while True:
        try:
            progress = next(training)
        except StopIteration as end:
            result: Result = end.value
            return result
        mixed = share(progress.step * steps)
        figures = {**progress.figures, "layer_by_layer": mixed}
        message = f"{progress.message}, {mixed:.0%} layer by layer"
        yield replace(progress, message=message, figures=figures)


@dataclass(frozen=True)
class _Stage:
    name: str
    epochs: int
    rate: float = 1.0
    float_weights: bool = False
    ramp: float | None = None


def _stages(
    params: BitMixerParams, rungs: Rungs, switches: Mapping[str, BitAllocation]
) -> list[_Stage]:
    """The stages; inputs alone are no stage where they all stay in float."""
    before = params.input_epochs + params.network_epochs
    if params.direct or params.mixed:
        return [_Stage(STAGE, before + params.layer_epochs, ramp=0.0)]
    inputs = any(bits.activation != FLOAT_BITS for row in rungs.values() for bits in row)
    first = params.input_epochs if inputs else 0
    stages = [_Stage("inputs", first, float_weights=True)] if first else []
    return [
        *stages,
        _Stage("network-wide", before - first),
        _Stage(STAGE, params.layer_epochs, params.layer_rate, ramp=params.ramp),
    ]


def _ramp(stage: _Stage, epoch_steps: int) -> Callable[[int], float]:
    """Step to the chance that a step draws layer by layer."""
    if stage.ramp is None:
        return lambda step: 0.0
    length = stage.ramp * stage.epochs * epoch_steps
    return lambda step: 1.0 if step >= length else step / length


def _draw(
    stage: _Stage,
    share: Callable[[int], float],
    random: Callable[[np.random.Generator], BitAllocation],
    switches: list[BitAllocation],
    seed: int,
) -> Callable[[int, Any], BitAllocation]:
    """Bits of a step, drawn by its number, so that a run that goes on draws the same."""

    def draw(step: int, generator: Any) -> BitAllocation:
        rng = np.random.default_rng([seed, *stage.name.encode(), step])
        if rng.random() < share(step):
            return random(rng)
        return switches[int(rng.integers(len(switches)))]

    return draw


def _visits(
    random: Callable[[np.random.Generator], BitAllocation],
    switches: Mapping[str, BitAllocation],
    seed: int,
) -> tuple[BitAllocation, ...]:
    rng = np.random.default_rng([seed, VISITS])
    return (*(random(rng) for _ in range(VISITS)), *switches.values())


NORMS = {
    "pair": "a copy for every pair of bits before and behind",
    "producer": "a copy for every width of the layer before",
    "consumer": "a copy for every width of the layer behind",
    "shared": "one for all bits",
}
"""Each choice of `norms` in words."""


def trained(params: BitMixerParams, stage: str) -> Trained:
    """How the weights came to be."""
    drawn = "one allocation drawn in every step"
    if params.mixed:
        drawn = f"every step trains the widest bits and {params.mixed} drawn allocations"
    return Trained(
        quantizer=params.quantizer,
        epochs=params.input_epochs + params.network_epochs + params.layer_epochs,
        epoch_images=params.epoch_images,
        norms=f"trained, {NORMS[params.norms]}; statistics estimated once, after training, on "
        f"{VISITS} drawn allocations and all switches",
        each_step=drawn,
    )


def _looked(params: BitMixerParams, switches: int, search: int, test: int) -> float:
    scored = len(params.methods) * params.points + params.evaluations + params.samples + switches
    return scored * search + params.points * test


SEARCH = Search(
    name="bitmixer",
    title="Bit-Mixer",
    family="trained",
    summary="Trains one network whose layers take any width at any time, then searches its bits.",
    params=BitMixerParams,
    run=bitmixer,
    paper="Bulat and Tzimiropoulos, Bit-Mixer, ICCV 2021",
    trains=True,
    look=7,
    quick={"evaluations": 24},
    leaves=STAGE,
    layer_wise=True,
    trained=trained,
    work=Work(
        epochs=("input_epochs", "network_epochs", "layer_epochs"),
        passes=lambda params, switches: 1 + params.mixed,
        thinned=("points", "evaluations", "samples"),
        looked=_looked,
    ),
    before={"norms": "pair"},
)
