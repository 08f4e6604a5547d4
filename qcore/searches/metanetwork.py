"""Searches a network that another run has trained to run at any bits: seconds for a front.

What `bitmixer` leaves is a network of which any allocation can be measured as it is. This search
takes such a stage of an earlier run, keeps a copy of it, and looks for the best bits within its own
budget, or measures exactly the allocations it is given; nothing is trained.

Reference: Bulat and Tzimiropoulos, Bit-Mixer, ICCV 2021 (sub-networks chosen after training); how
they are found there could not be read, see `frozen` for what is done here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore.errors import InvalidParams
from qcore.problem import Problem, Progress, Proposals
from qcore.qat.requests import AdoptedStage
from qcore.qat.switches import words
from qcore.search import Search, Trained, setting
from qcore.searches.bitmixer import STAGE
from qcore.searches.given import read_allocation
from qcore.solvers.space import measure
from qcore.solvers.switchable import METHODS, Frozen, search_frozen


@dataclass(frozen=True)
class MetaNetworkParams:
    """Which network, and how it is searched."""

    run: int = setting(
        1,
        "Trained in run",
        "Number of a finished bitmixer run of the same model.",
        min=1,
        max=10**9,
    )
    stage: str = setting(STAGE, "Stage", "The stage of that run to search.")
    methods: tuple[str, ...] = setting(
        ("exact", "cmaes"), "Searches", "How the bits are chosen.", choices=METHODS
    )
    points: int = setting(12, "Points", "Cost levels along the front.", min=1, max=500)
    evaluations: int = setting(
        90,
        "Candidates",
        "Allocations that CMA-ES, and moves that bidirectional greedy, may measure.",
        min=12,
        max=100_000,
    )
    samples: int = setting(
        0, "Random allocations", "Measured to show what any choice costs.", min=0, max=10_000
    )
    allocations: tuple[str | Mapping[str, Any], ...] = setting(
        (),
        "Only these allocations",
        'Measured instead of searching. Each as {"layer": [weight bits, activation bits], ...}.',
    )


def metanetwork(problem: Problem, params: MetaNetworkParams, rng: np.random.Generator) -> Proposals:
    """Search a trained meta-network within the budget, or measure given allocations of it.

    Raises:
        InvalidParams: the run or stage is not there, its network is another one or can only be
            switched as a whole, or none of the bits of some layer it was trained at is allowed.
        InvalidAllocation: given bits that it was not trained at; lists the trained ones.
        InfeasibleBudget: nothing fits the budget.
    """
    stage = f"run-{params.run}/{params.stage}"
    adopted = AdoptedStage(stage=stage, run=params.run, trained=params.stage)
    plan = yield from problem.needed_trainer().train(adopted)
    if params.allocations:
        given = [read_allocation(problem, entry) for entry in params.allocations]
        for allocation in given:
            plan.find(allocation)
        yield from measure(given, "given allocations", stage=stage)
        return
    if plan.kind == "switch":
        raise InvalidParams(
            f"Run {params.run} trained switches of the whole network ({', '.join(plan.switches)}), "
            "so there is nothing to search layer by layer. Choose a bitmixer run."
        )
    rungs = {}
    for name, row in plan.rungs.items():
        rungs[name] = tuple(bits for bits in row if bits in problem.options[name])
        if not rungs[name]:
            trained = ", ".join(map(words, row))
            raise InvalidParams(
                f"Layer {name!r} was trained at {trained} bits (weight/activation), none of which "
                "this run allows. Allow them, and the same bits of the first and last layer."
            )
    settings = Frozen(stage, params.methods, params.points, params.evaluations, params.samples)
    total = settings.steps(rungs)
    figures = yield from search_frozen(problem, rungs, settings, rng, total=total)
    yield Progress(total, total, f"finished: {figures['candidates']} allocations", figures)


SEARCH = Search(
    name="metanetwork",
    title="Trained Bit-Mixer",
    summary="Searches the bits of a network that a bitmixer run has trained; nothing is trained.",
    params=MetaNetworkParams,
    run=metanetwork,
    paper="Bulat and Tzimiropoulos, Bit-Mixer, ICCV 2021",
    trains=True,
    look=8,
    quick={"evaluations": 24},
    standalone=False,
    trained=lambda params, stage: Trained(run=params.run),
)
