"""GradFreeBits: CMA-ES over all bits, alternating with quantization-aware training.

Pre-training at uniform bits that match the budget; then rounds of (a gradient-free round over the
weight and activation bits of all layers, every candidate of a generation scored on one window of
images that moves on between generations; training at the allocation found); a final fine-tuning.

Reference: Bodner, Ben Shalom and Treister, GradFreeBits, arXiv 2102.09298, 2021; Sensors 22(24):
9772, 2022. Readable were its claims and its sections: gradient-free rounds with CMA-ES, iterative
alternating retraining, moving super-batches, bit-dependent clipping, limits of any kind.

Reconstructed, because the text behind these could not be read: the quantizer (`learned_clip`), the
number of rounds, generations, candidates, images and epochs, how limits are kept (repair), how far
the window moves, and the shortlist at the end of a round, scored again on all search images
together with the allocation before and uniform bits, since the best value seen on moving images is
a lucky one. Candidates are scored with batch statistics in their norms: running ones belong to the
allocation that was trained, and defend it.

Extension, off unless asked for: `random_bits`. Weights trained at one allocation defend it too, so
that rounds after the first training hardly move; with this, every training that a round follows
draws the bits of each step within the budget, and only the rest is at the bits chosen.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from qcore import search
from qcore.allocation import BitAllocation, in_order
from qcore.errors import InvalidParams
from qcore.problem import Ask, Point, Problem, Progress, Proposals
from qcore.qat.requests import GivenBits
from qcore.quantizer_names import learned_for
from qcore.search import EPOCH_STEPS, REESTIMATED, Clock, Search, Trained, Work
from qcore.solvers.cma_round import Round, evolve, moving_window, whole_split
from qcore.solvers.genes import genes_of
from qcore.solvers.repair import Repair, best_uniform, repair_of
from qcore.solvers.space import Space
from qcore.solvers.start import checked_space

SHORTLIST = 8
"""Allocations of a round that are scored again, beside uniform bits and the one before."""

FINAL = "final"


@dataclass(frozen=True)
class GradFreeBitsParams:
    """How long each part takes, and which parts are on."""

    rounds: int = search.setting(
        2, "Rounds", "How often search and training alternate.", min=1, max=10
    )
    evaluations: int = search.setting(
        180, "Candidates per round", "Allocations scored in each round.", min=4, max=10_000
    )
    population: int = search.setting(
        12,
        "Population",
        "Candidates of a generation, all scored on the same images.",
        min=4,
        max=500,
    )
    sigma: float = search.setting(
        1.0,
        "Step size",
        "How far the first candidates lie from the start, in bit-widths.",
        min=0.3,
        max=4.0,
    )
    window: int = search.setting(
        512, "Images per candidate", "Size of the moving super-batch.", min=16, max=100_000
    )
    slide: int = search.setting(
        128,
        "Slide",
        "Images by which the super-batch moves on after a generation.",
        min=0,
        max=100_000,
    )
    pretraining_epochs: int = search.setting(
        2, "Epochs before", "Epochs at uniform bits before the first round.", min=0, max=10_000
    )
    round_epochs: int = search.setting(
        1, "Epochs per round", "Epochs at the allocation a round has found.", min=0, max=10_000
    )
    final_epochs: int = search.setting(
        2, "Epochs at the end", "Epochs at the final allocation.", min=0, max=10_000
    )
    epoch_images: int = search.epoch_images()
    rate: float = search.setting(
        0.02,
        "Learning rate",
        "Peak learning rate of every stage; it falls along a cosine.",
        min=1e-6,
        max=10.0,
    )
    quantizer: str = search.setting(
        "clip",
        "Quantizer",
        "Learned clip is the paper's; LSQ learns steps, DoReFa nothing.",
        choices=learned_for("gradfreebits"),
        of="learned quantizer",
    )
    label_smoothing: float = search.setting(
        0.0, "Label smoothing", "Share of the target spread over all classes.", min=0.0, max=0.5
    )
    distillation: float = search.distillation()
    bit_dependent_clips: bool = search.setting(
        True, "A clip for every width", "Off: one clip per tensor, whatever its bits."
    )
    super_batches: bool = search.setting(
        True, "Moving super-batches", "Off: every candidate is scored on all search images."
    )
    alternation: bool = search.setting(
        True, "Alternate", "Off: one long round, followed by all the training."
    )
    random_bits: bool = search.setting(
        False,
        "Random bits before rounds",
        "An extension: training that a round follows draws its bits within the budget in every "
        "step, so that no allocation is favoured by the weights.",
    )


Draw = Callable[[str, int, Any], BitAllocation]
Choosing = Generator[Ask | Progress, list[Point] | None, BitAllocation]


def gradfreebits(
    problem: Problem, params: GradFreeBitsParams, rng: np.random.Generator
) -> Proposals:
    """Alternate between searching the bits and training the weights, within the budget.

    The last point, of stage "final", is the result.

    Raises:
        InvalidParams: a population larger than the candidates of a round, or no trainer.
        InfeasibleBudget: nothing fits the budget.
        Diverged: training reached NaN.
    """
    if params.population > params.evaluations:
        raise InvalidParams(
            f"gradfreebits: a population of {params.population} does not fit {params.evaluations} "
            "candidates per round. Allow more candidates, or choose a smaller population."
        )
    space = checked_space(problem)
    repair = repair_of(space)
    uniform = space.allocation(best_uniform(genes_of(space), repair))
    rounds = params.rounds if params.alternation else 1
    each = params.evaluations if params.alternation else params.evaluations * params.rounds
    last = params.final_epochs
    if not params.alternation:
        last += params.rounds * params.round_epochs
    epochs = params.pretraining_epochs + last
    epochs += params.rounds * params.round_epochs if params.alternation else 0
    clock = Clock(epochs * EPOCH_STEPS + rounds * (each + SHORTLIST + 2) + 1)
    draw = _draws(space, repair, int(rng.integers(2**32))) if params.random_bits else None
    pretraining = GivenBits(
        stage="pretraining",
        allocation=uniform,
        quantizer=params.quantizer,
        one_clip=None if params.bit_dependent_clips else _middle(space),
    )
    yield from _train(problem, params, clock, pretraining, params.pretraining_epochs, draw)
    chosen, trained = uniform, pretraining.stage
    for number in range(1, rounds + 1):
        chosen = yield from _round(
            problem, params, space, trained, chosen, uniform, number, each, clock, rng
        )
        if params.alternation:
            stage = f"round-{number}/weights"
            request = GivenBits(stage=stage, allocation=chosen, after=trained)
            more = draw if number < rounds else None
            yield from _train(problem, params, clock, request, params.round_epochs, more)
            trained = stage
    final = GivenBits(stage=FINAL, allocation=chosen, after=trained)
    yield from _train(problem, params, clock, final, last)
    answer = yield Ask((chosen,), FINAL, results=True)
    value = problem.value((answer or [])[0])
    yield Progress(clock.total, clock.total, f"finished: {value:.4g} nats", _figures(chosen, value))


def _train(
    problem: Problem,
    params: GradFreeBitsParams,
    clock: Clock,
    request: GivenBits,
    epochs: int,
    draw: Draw | None = None,
) -> Generator[Progress, None, None]:
    """Train a stage for so many epochs, at random bits where given; they are steps of the whole."""
    plan = {
        "epochs": epochs,
        "rate": params.rate,
        "epoch_images": params.epoch_images,
        "label_smoothing": params.label_smoothing,
        "distillation": params.distillation,
    }
    drawn = None if draw is None else partial(draw, request.stage)
    request = replace(request, plan=plan, draw=drawn)
    yield from clock.stage(problem.needed_trainer().train(request), epochs)


def _draws(space: Space, repair: Repair, seed: int) -> Draw:
    """Bits of a step, drawn by its stage and number, so that a run that goes on draws the same."""
    sizes = space.sizes

    def draw(stage: str, step: int, generator: Any) -> BitAllocation:
        rng = np.random.default_rng([seed, *stage.encode(), step])
        return space.allocation(repair.within(rng.integers(sizes), rng))

    return draw


def _round(
    problem: Problem,
    params: GradFreeBitsParams,
    space: Space,
    stage: str,
    before: BitAllocation,
    uniform: BitAllocation,
    number: int,
    evaluations: int,
    clock: Clock,
    rng: np.random.Generator,
) -> Choosing:
    """One gradient-free round at the weights of a stage; returns the allocation it chooses."""
    genes, repair = genes_of(space), repair_of(space)
    words = f"round {number}: "
    if len(genes.genes) >= 2:
        evolved = yield from evolve(
            problem,
            genes,
            repair,
            Round(evaluations, params.population, params.sigma, "repair", restarts=False),
            space.nearest(before),
            rng,
            stage=stage,
            window=moving_window(params.window, params.slide)
            if params.super_batches
            else whole_split,
            step=clock.done,
            total=clock.total,
            words=words,
        )
        found = evolved.shortlist(SHORTLIST)
    else:
        # CMA-ES needs two bit-widths to choose; one can simply be tried
        found = [a for a in _all(space) if problem.admits(a)][-evaluations:]
    shortlist = tuple(dict.fromkeys((before, uniform, *found)))
    yield clock.tick(evaluations, f"{words}scoring the best on all search samples")
    answer = yield Ask(shortlist, stage)
    best = min(answer or (), key=problem.value)
    value = problem.value(best)
    figures = {"round": number, **_figures(best.allocation, value)}
    yield clock.tick(SHORTLIST + 2, f"{words}chose {value:.4g} nats", **figures)
    return best.allocation


def _figures(allocation: BitAllocation, value: float) -> dict[str, object]:
    return {"value": value, "allocation": allocation.to_json()}


def _all(space: Space) -> list[BitAllocation]:
    """All allocations of a space where at most one decision has a choice."""
    sizes = space.sizes
    free = int(np.argmax(sizes))
    search = np.zeros(len(sizes), dtype=np.int64)
    rows = [np.where(np.arange(len(sizes)) == free, index, search) for index in range(sizes[free])]
    return [space.allocation(row) for row in rows]


def _middle(space: Space) -> int:
    """Median width of all that may be chosen: where a clip for all widths begins."""
    free = [d for d in space.decisions if len(d.options) > 1] or list(space.decisions)
    widths = in_order(bits.weight for d in free for option in d.options for bits in option)
    return widths[(len(widths) - 1) // 2]


def trained(params: GradFreeBitsParams, stage: str) -> Trained:
    """How the weights of a stage came to be."""
    epochs = params.pretraining_epochs
    number = stage.removeprefix("round-").removesuffix("/weights")
    if number.isdecimal():
        epochs += int(number) * params.round_epochs
    elif stage in ("", FINAL):
        epochs += params.rounds * params.round_epochs + params.final_epochs
    return Trained(
        quantizer=params.quantizer,
        epochs=epochs,
        epoch_images=params.epoch_images,
        norms=REESTIMATED,
        each_step="bits drawn in every step before the last training" if params.random_bits else "",
        scales="" if params.bit_dependent_clips else "one per layer for all widths",
    )


def _looked(params: GradFreeBitsParams, switches: int, search: int, test: int) -> float:
    each = min(params.window, search) if params.super_batches else search
    return params.rounds * (params.evaluations * each + SHORTLIST * search) + search + test


SEARCH = Search(
    name="gradfreebits",
    title="GradFreeBits",
    family="trained",
    summary="Alternates CMA-ES over all bits with quantization-aware training of the weights.",
    params=GradFreeBitsParams,
    run=gradfreebits,
    paper="Bodner, Ben Shalom and Treister, GradFreeBits, 2021; Sensors 22(24):9772, 2022",
    trains=True,
    look=5,
    quick={"evaluations": 24},
    trained=trained,
    work=Work(
        epochs=("pretraining_epochs", "round_epochs", "final_epochs"),
        repeated=lambda params, name: params.rounds if name == "round_epochs" else 1,
        thinned=("evaluations",),
        looked=_looked,
    ),
)
