"""Finds the bits of a network that runs at any of them as it is: pure search, nothing is trained.

A candidate costs one pass over the search split, so layers are simply tried: each alone at each of
its rungs gives additive sensitivities, whose exact front, or greedy descent, is then measured;
CMA-ES looks at all layers at once. Random allocations show what any choice costs.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qcore.allocation import LayerBits
from qcore.errors import InfeasibleBudget
from qcore.problem import Ask, Point, Problem, Progress
from qcore.solvers.bidirectional import walk
from qcore.solvers.cma_round import Round, evolve
from qcore.solvers.descent import descend
from qcore.solvers.genes import genes_of
from qcore.solvers.repair import Repair, best_uniform, repair_of
from qcore.solvers.space import BATCH, Space, space_of

METHODS = ("exact", "greedy", "bidirectional", "cmaes")
DESCENTS = 3
"""Cost levels CMA-ES searches at where there is no budget."""

WALK_IMAGES = 512
"""Images the moves of the bidirectional greedy are scored on."""

Choice = tuple[int, ...]

Rungs = Mapping[str, tuple[LayerBits, ...]]
"""Layer name to the bits it was trained at, widest first."""


@dataclass(frozen=True)
class Frozen:
    """How a frozen network is searched.

    Attributes:
        stage: Its weights.
        methods: Entries of METHODS.
        points: Cost levels along the front, for each of exact and greedy.
        evaluations: Most candidates of CMA-ES, over all its levels; and most moves that the
            bidirectional greedy scores.
        samples: Random allocations.
    """

    stage: str
    methods: tuple[str, ...]
    points: int
    evaluations: int
    samples: int

    def steps(self, rungs: Rungs) -> int:
        """Most steps of progress the search takes."""
        total = 1 + self.samples + max(len(row) for row in rungs.values())
        if self.alone:
            total += 1 + sum(len(row) - 1 for row in rungs.values())
        total += self.points * (len(self.methods) - ("cmaes" in self.methods))
        scored = ("cmaes" in self.methods) + ("bidirectional" in self.methods)
        return total + self.evaluations * scored

    @property
    def alone(self) -> bool:
        """Whether layers are tried one at a time."""
        return "exact" in self.methods or "greedy" in self.methods


Searching = Generator[Ask | Progress, list[Point] | None, dict[str, Any]]
Asking = Generator[Ask | Progress, list[Point] | None, list[Point]]


@dataclass
class _Frozen:
    """The search while it runs."""

    problem: Problem
    space: Space
    settings: Frozen
    step: int
    total: int
    values: dict[Choice, float]
    accuracies: dict[Choice, float]
    images: int = 0

    def measure(self, choices: Sequence[np.ndarray], words: str, most: int) -> Asking:
        """Measure choices; `most` steps of progress are theirs, however many they are."""
        keys = list(dict.fromkeys(_key(choice) for choice in choices))
        points: list[Point] = []
        for start in range(0, len(keys), BATCH):
            message = f"measuring {words}: {start} of {len(keys)}"
            yield Progress(self.step + min(start, most), self.total, message)
            batch = keys[start : start + BATCH]
            allocations = tuple(self.space.allocation(key) for key in batch)
            answer = yield Ask(allocations, self.settings.stage)
            for key, point in zip(batch, answer or (), strict=True):
                self.values[key] = self.problem.value(point)
                self.accuracies[key] = point.search.headline
                self.images = point.search.n
                points.append(point)
        self.step += most
        return points


def search_frozen(
    problem: Problem,
    rungs: Rungs,
    settings: Frozen,
    rng: np.random.Generator,
    *,
    step: int = 0,
    total: int | None = None,
) -> Searching:
    """Search a trained network's rungs within the budget; use with `yield from`.

    Args:
        problem: The problem; its own options may be more than the rungs.
        rungs: What each layer was trained at.
        settings: How to search.
        rng: Source of all randomness.
        step: Steps of the caller's Progress already done.
        total: Steps of the caller's Progress in all; None when these are the last.

    Returns:
        Figures: sampled (mean, fifth percentile and minimum of the accuracy, or agreement, of
        random allocations) and candidates (allocations measured).

    Raises:
        InfeasibleBudget: no rungs fit the budget.
        InvalidParams: the exact front under more than two summed limits.
    """
    total = step + settings.steps(rungs) if total is None else total
    # fewest bits first, as in a problem
    limited = replace(problem, options={name: row[::-1] for name, row in rungs.items()})
    space = space_of(limited)
    if not all(space.sizes):
        raise InfeasibleBudget(
            "No bits of some layer that the network was trained at meet the limits on the largest "
            f"layer. Raise one of: {', '.join(problem.budget.limits)}.",
            {},
        )
    if "exact" in settings.methods:
        space.check_solvable()
    repair = repair_of(space)
    run = _Frozen(limited, space, settings, step, total, {}, {})
    figures: dict[str, Any] = {}
    depth = max(len(row) for row in rungs.values())
    uniform = [_level(space, rank / max(depth - 1, 1)) for rank in range(depth)]
    inside = [c for c in uniform if repair.excess(space.price(c)) == 0] or [repair.haven]
    yield from run.measure(inside, "uniform bits", depth)
    if settings.samples:
        drawn = [_random(space, repair, rng) for _ in range(settings.samples)]
        yield from run.measure(drawn, "random allocations", settings.samples)
        figures["sampled"] = _spread([run.accuracies[_key(choice)] for choice in drawn])
    if settings.alone:
        yield from _additive(run, rungs)
    if "bidirectional" in settings.methods:
        yield from _walked(run)
    if "cmaes" in settings.methods:
        yield from _evolved(run, repair, rng)
    figures["candidates"] = len(run.values)
    return figures


def _additive(run: _Frozen, rungs: Rungs) -> Generator[Ask | Progress, list[Point] | None, None]:
    """Measure the front that one-layer sensitivities predict."""
    space, settings = run.space, run.settings
    base = np.array(space.sizes) - 1
    alone = [
        space.changed(base, at, option)
        for at, size in enumerate(space.sizes)
        for option in range(size - 1)
    ]
    most = 1 + sum(len(row) - 1 for row in rungs.values())
    yield from run.measure([base, *alone], "each layer alone", most)
    zero = run.values[_key(base)]
    scores = [
        np.array(
            [run.values[_key(space.changed(base, at, option))] - zero for option in range(size)]
        )
        for at, size in enumerate(space.sizes)
    ]
    levels = space.levels(settings.points)
    if "exact" in settings.methods:
        found = [c for c in space.optima(scores, levels) if c is not None]
        yield from run.measure(found, "the predicted front", settings.points)
    if "greedy" in settings.methods:
        path = descend(space, scores)
        prices = np.array([space.price(choice) for choice in path])
        inside = [(prices <= level).all(axis=1) for level in levels]
        found = [path[int(np.argmax(fits))] for fits in inside if fits.any()]
        yield from run.measure(found, "steps of the descent", settings.points)


def _walked(run: _Frozen) -> Generator[Ask | Progress, list[Point] | None, None]:
    """Measure what the bidirectional greedy meets within each cost level."""
    settings, levels = run.settings, run.space.levels(run.settings.points)
    found = yield from walk(
        run.problem,
        run.space,
        settings.stage,
        levels,
        settings.evaluations,
        None if run.images <= WALK_IMAGES else (0, WALK_IMAGES),
        step=run.step,
        total=run.total,
    )
    run.step += settings.evaluations
    yield from run.measure(found, "where the walk met its limits", settings.points)


def _evolved(
    run: _Frozen, repair: Repair, rng: np.random.Generator
) -> Generator[Ask | Progress, list[Point] | None, None]:
    """CMA-ES within the budget, or within a few cost levels where there is none."""
    space, settings, start = run.space, run.settings, run.step
    if len(genes_of(space).genes) >= 2:
        spread = [space.limits] if space.limited else space.levels(DESCENTS + 2)[1:-1]
        each = settings.evaluations // max(1, len(spread))
        for number, level in enumerate(spread):
            problem = run.problem
            if not space.limited:
                limits = dict(zip(space.costs, (level + space.fixed).tolist(), strict=True))
                limits = {**problem.budget.limits, **limits}
                problem = replace(problem, budget=replace(problem.budget, limits=limits))
            inner = space_of(problem)
            fixer, genes = repair_of(inner), genes_of(inner)
            known = {key: v for key, v in run.values.items() if np.isfinite(v)}
            fits = [key for key in known if fixer.excess(inner.price(key)) == 0]
            best = min(fits, key=known.__getitem__, default=None)
            origin = best_uniform(genes, fixer) if best is None else np.array(best)
            evolved = yield from evolve(
                problem,
                genes,
                fixer,
                Round(each, min(12, each), 1.0, "repair", restarts=True),
                origin,
                rng,
                stage=settings.stage,
                known=known,
                step=start + number * each,
                total=run.total,
                words=f"level {number + 1} of {len(spread)}: ",
            )
            run.values.update(evolved.values)
    run.step = start + settings.evaluations


def _level(space: Space, share: float) -> np.ndarray:
    """Every layer as far up its own options as all others; share 0 is the fewest bits."""
    return space.nearest(
        {
            name: rungs[round(share * (len(rungs) - 1))]
            for decision in space.decisions
            for place, name in enumerate(decision.layers)
            if (rungs := decision.rungs(place))
        }
    )


def _random(space: Space, repair: Repair, rng: np.random.Generator) -> np.ndarray:
    drawn = np.array([int(rng.integers(size)) for size in space.sizes])
    return repair.within(drawn, rng)


def _key(choice: Sequence[int] | np.ndarray) -> Choice:
    return tuple(int(index) for index in choice)


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "fifth_percentile": float(np.percentile(values, 5)),
        "minimum": float(min(values)),
    }
