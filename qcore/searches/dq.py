"""Mixed Precision DNNs: bits learned by gradient, with the weights, under limits on memory.

Every weight tensor and every layer input has a step and a range that are trained with the weights;
the bits follow from them. Limits on bytes enter the loss as squared hinges,

    loss + lambda sum_j max(0, S_j - S0_j)^2,   lambda = 0.1, sizes in kB

rescaled by the squared ratio to the paper's own budgets. Of all states within the limits the one
of least loss on held-out training images is frozen; what is left of the limits is spent on wider
layers; then only weights and norms are trained on, and the norms estimated anew. While they are
learned bits may grow beyond the widest that is allowed, and are paid for; a state that is frozen
with such bits has its steps made coarser.

Reference: Uhlich et al., Mixed Precision DNNs: All you need is a good parametrization, arXiv
1905.11452, ICLR 2020, equations 8a (total weights), 8b (total activations), 8c (largest one).
Differs from the paper: an inferred width that is not among the allowed ones is paid for, and saved,
at the next allowed one; 32 bits are never learned. It begins at the exact front's allocation, not
at four bits everywhere, which is a choice: from there short training falls to two bits in most
layers. Steps are any number by default, the paper's are powers of two. Steps stay within 2^-12 to
255 (2^-8 to 1); momentum is Nesterov's and the rate falls along a cosine (plain momentum, a tenth
at two thirds). Inputs begin at their calibrated range, not at a step of 1/8, and each layer's input
is counted (each ReLU's output); biases stay in float, as everywhere here. Validation images are
training images held out, at most a fifth of them, looked at every few steps with the statistics of
the batch (all test images, each step, running statistics). An extension is that a limit on any cost
with a smooth form (`CostModel.smooth`: bit-ops, memory words, the tables of accelerators and a
user's own) is obeyed in the same way, with the strength the paper has for weights, and that a limit
on a cost without one is refused; another the use of slack.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore import search
from qcore.allocation import BitAllocation
from qcore.costs import costs_of
from qcore.costs.budget import Budget
from qcore.errors import InvalidParams
from qcore.problem import Ask, Point, Problem, Progress, Proposals
from qcore.qat.requests import GivenBits, Learned, LearnedBits
from qcore.search import EPOCH_STEPS, REESTIMATED, Clock, Search, Trained, Work
from qcore.solvers.repair import repair_of
from qcore.solvers.space import Space
from qcore.solvers.start import checked_space, exact_allocation

BITS, FROZEN, FINAL = "bits", "frozen", "final"
KINDS = ("step-range", "bits-range", "bits-step", "power-of-two")
SLACK_STEPS = 10


@dataclass(frozen=True)
class DqParams:
    """How bits are learned, and how long.

    The penalty is the paper's lambda, 0.1 there as here.
    """

    parametrization: str = search.setting(
        "step-range",
        "Parametrization",
        "Step and range (U3) is the paper's choice; U1 and U2 are there to compare it with; powers "
        "of two are levels of the weights.",
        choices=KINDS,
    )
    power_of_two_steps: bool = search.setting(
        False, "Steps are powers of two", "As the paper asks of hardware; wastes some codes."
    )
    clipping: str = search.setting(
        "published",
        "Clipped gradients",
        "As published, those of step and range and of powers of two where there is a limit; or "
        "those of every parametrization.",
        choices=("published", "all"),
    )
    start: str = search.setting(
        "exact",
        "Start",
        "The allocation of the exact front where there is one, or four bits everywhere as in the "
        "paper.",
        choices=("exact", "four"),
    )
    penalty: float = search.setting(
        0.1, "Penalty", "How strongly an excess over a limit counts.", min=0.0001, max=1000.0
    )
    bits_epochs: int = search.setting(
        3, "Epochs of bits", "Bits learned with weights.", min=1, max=10_000
    )
    final_epochs: int = search.setting(2, "Epochs at the end", "Weights only.", min=0, max=10_000)
    epoch_images: int = search.epoch_images()
    rate: float = search.setting(
        0.01, "Learning rate", "Peak of both stages; falls along a cosine.", min=1e-6, max=10.0
    )
    decay: float = search.setting(
        2e-4, "Weight decay", "Acts on steps and ranges too, as published.", min=0.0, max=1.0
    )
    distillation: float = search.distillation()
    validation_images: int = search.setting(
        8192,
        "Validation images",
        "Held out of training to choose with, at most a fifth of it. An accuracy of 92 % is known "
        "within 0.3 points from 8,192 images, within 0.7 from 1,590.",
        min=2,
        max=100_000,
    )
    check_every: int = search.setting(
        0,
        "Check every",
        "Steps between two looks at the validation images; 0 looks for a fifth of the time.",
        min=0,
        max=10_000,
    )
    use_slack: bool = search.setting(
        True, "Use the slack", "Widen layers while the limits allow it, before the last training."
    )
    slack_images: int = search.setting(
        512, "Images for slack", "Search images each wider layer is tried on.", min=16, max=100_000
    )


Choosing = Generator[Ask | Progress, list[Point] | None, BitAllocation]


def dq(problem: Problem, params: DqParams, rng: np.random.Generator) -> Proposals:
    """Learn the bits, freeze them within the limits, spend the slack, train the weights.

    The last point, of stage "final", is the result.

    Raises:
        InvalidParams: no trainer.
        InfeasibleBudget: nothing fits the budget.
        Diverged: training reached NaN.
    """
    trainer, limits = problem.needed_trainer(), problem.budget.limits
    space = checked_space(problem)
    repair = repair_of(space)
    epochs = params.bits_epochs + params.final_epochs
    clock = Clock(epochs * EPOCH_STEPS + SLACK_STEPS + 1)
    start = None
    if params.start == "exact":
        yield clock.tick(0, "computing the gradient sensitivity")
        try:
            start = exact_allocation(problem, "dq")
        except InvalidParams as error:
            yield clock.tick(0, f"began at four bits. {error}")
    plan = {
        "rate": params.rate,
        "decay": params.decay,
        "epoch_images": params.epoch_images,
        "distillation": params.distillation,
    }
    learning = LearnedBits(
        stage=FROZEN,
        training=BITS,
        kind=params.parametrization,
        powers=params.power_of_two_steps,
        strength=params.penalty,
        clipping=params.clipping,
        start=start,
        validation_images=params.validation_images,
        check_every=params.check_every,
        limits=dict(limits),
        costs=problem.costs,
        plan={**plan, "epochs": params.bits_epochs},
    )
    learned = yield from clock.stage(trainer.train(learning), params.bits_epochs)
    # limits on the largest layer may have taken options away
    chosen = space.allocation(repair.within(space.nearest(learned.allocation), rng))
    words = f"froze the best state within the limits, {_validation(learned)}"
    if not learned.fits:
        words = "no state was within the limits; the last one was brought there"
    elif not limits:
        words = f"froze the best state, {_validation(learned)}"
    yield clock.tick(0, words, round=1, **_figures(problem, chosen))
    if params.use_slack and limits:
        chosen = yield from _spend(problem, space, chosen, params.slack_images)
    yield clock.tick(SLACK_STEPS, "the bits are final", round=2, **_figures(problem, chosen))
    final = GivenBits(
        stage=FINAL, allocation=chosen, plan={**plan, "epochs": params.final_epochs}, after=FROZEN
    )
    yield from clock.stage(trainer.train(final), params.final_epochs)
    answer = yield Ask((chosen,), FINAL, results=True)
    value = problem.value((answer or [])[0])
    yield clock.tick(1, f"finished: {value:.4g} nats", value=value, **_figures(problem, chosen))


def refused(budget: Budget) -> str | None:
    """Why bits cannot be learned under these limits, or None where they can."""
    if {"activation_bytes_sum", "activation_bytes_max"} <= set(budget.limits):
        return (
            "dq takes a limit on the total of all activations (hardware that works on all layers "
            "at once) or on the largest one (hardware that works on one after the other), not on "
            "both: they describe different hardware. Drop one of the two."
        )
    for cost in (budget.costs[name] for name in budget.limits):
        if cost.smooth is None:
            return (
                f"dq learns bits by gradient, and {cost.title} ({cost.name}) has no smooth form "
                "that would pull at them. Limit another cost, or choose a search that only "
                "measures, such as exact or cmaes."
            )
    return None


def _validation(learned: Learned) -> str:
    if learned.validation is None:
        return ""
    return f"{learned.validation:.1%} of {learned.samples:,} held-out samples right"


def _figures(problem: Problem, allocation: BitAllocation) -> dict[str, Any]:
    costs = costs_of(problem.model, allocation, problem.costs)
    return {
        "allocation": allocation.to_json(),
        "unused": {n: 1 - costs[n] / limit for n, limit in problem.budget.limits.items()},
    }


def _spend(problem: Problem, space: Space, chosen: BitAllocation, images: int) -> Choosing:
    """Widen layers while the limits allow it: those that help most per byte first.

    Each decision's next wider options are scored alone; then they are taken in order of gain per
    share of the limits. The result is kept where it is no worse than before.
    """
    here = space.nearest(chosen)
    steps = {
        space.allocation(space.changed(here, at, option)): (at, option)
        for at, decision in enumerate(space.decisions)
        for option in decision.wider(int(here[at]))
    }
    wider = [allocation for allocation in steps if problem.admits(allocation)]
    if not wider:
        return chosen
    window = (0, images)
    answer = yield Ask((chosen, *wider), FROZEN, window)
    points = answer or []
    before = problem.value(points[0])
    costs = {point.allocation: _share(problem, point.allocation) for point in points}
    search = costs[chosen]
    gains = [(before - problem.value(p), p.allocation) for p in points[1:]]
    helpful = [(g / max(costs[a] - search, 1e-9), a) for g, a in gains if g > 0]
    full = here
    for _, allocation in sorted(helpful, key=lambda row: -row[0]):
        at, option = steps[allocation]
        grown = space.changed(full, at, option)
        if full[at] == here[at] and problem.admits(space.allocation(grown)):
            full = grown
    filled = space.allocation(full)
    if filled == chosen:
        return chosen
    answer = yield Ask((chosen, filled), FROZEN)
    return min(answer or (), key=problem.value).allocation


def _share(problem: Problem, allocation: BitAllocation) -> float:
    costs = costs_of(problem.model, allocation, problem.costs)
    return float(sum(costs[name] / limit for name, limit in problem.budget.limits.items()))


def trained(params: DqParams, stage: str) -> Trained:
    """How the weights of a stage came to be."""
    powers = params.parametrization == "power-of-two"
    return Trained(
        quantizer="power-of-two" if powers else "dq",
        epochs=params.bits_epochs + (0 if stage == FROZEN else params.final_epochs),
        epoch_images=params.epoch_images,
        norms=REESTIMATED,
        held_out=params.validation_images,
        steps="learned with the bits, then fixed"
        + (", powers of two" if params.power_of_two_steps and not powers else ""),
        learned_inputs=True,
    )


SEARCH = Search(
    name="dq",
    title="DQ (learned bits)",
    family="trained",
    summary="Learns steps, ranges and with them the bits by gradient, together with the weights.",
    params=DqParams,
    run=dq,
    paper="Uhlich et al., Mixed Precision DNNs, arXiv 1905.11452, ICLR 2020",
    trains=True,
    refuses=refused,
    look=9,
    trained=trained,
    # what looks for a fifth of the time while bits are learned
    work=Work(epochs=("bits_epochs", "final_epochs"), looking=0.4),
    before={"start": "four", "clipping": "all", "validation_images": 512, "check_every": 10},
)
