"""One gradient-free round: CMA-ES over bit-widths, asked and told generation by generation.

Hansen, The CMA Evolution Strategy: A Tutorial, 2016, with integer handling (Marty et al., LB+IC-
CMA-ES, PPSN 2024) as pycma 4.5 has it, and restarts with doubled population (Auger and Hansen,
IPOP-CMA-ES, CEC 2005) in a loop of our own, so that a run can stop and be replayed at any point.

The round of GradFreeBits (Bodner et al., 2021), its section 3.3. Reconstructed, because neither
its Algorithm 1 nor any of its numbers could be read: population, sigma, how limits are kept, and
that every candidate of a generation is scored on one window of images which moves in between.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from qcore.allocation import BitAllocation
from qcore.problem import Ask, Point, Problem, Progress, Window, window_key
from qcore.solvers.dependencies import dependencies
from qcore.solvers.genes import Genes
from qcore.solvers.random_normal import NormalSource, fenced
from qcore.solvers.repair import Repair

STALE = 5
"""Generations in a row with hardly a new allocation, after which a descent counts as converged."""

FRESH = 0.1
"""Share of a generation that must be new for it not to count as stale."""

DOUBLINGS = 4
"""Restarts after which the population no longer grows; in a small space it would without end."""

RESERVE = 8
"""Evaluations kept for repaired copies at the end, where candidates may overstep the limits."""

Choice = tuple[int, ...]

Limits = Literal["repair", "lagrangian"]


@dataclass(frozen=True)
class Round:
    """How a round searches.

    Attributes:
        evaluations: Most scores asked for, each (allocation, window) counted once.
        population: Candidates of a generation; at least 4.
        sigma: First step size, in widths.
        limits: "repair" scores copies brought within the limits and tells CMA-ES of these;
            "lagrangian" scores candidates as they are and adds an augmented Lagrangian penalty.
        restarts: Whether a converged descent is followed by one with twice the population.
    """

    evaluations: int
    population: int = 12
    sigma: float = 1.0
    limits: Limits = "repair"
    restarts: bool = True


@dataclass(frozen=True)
class Evolved:
    """What a round found.

    Attributes:
        genes: The encoding, with its space.
        values: Choice to its mean value over the windows it was scored on, nats; within the
            limits or not.
        ranked: Choices within the limits, lowest value first.
        centre: The last distribution's mean, rounded and brought within the limits.
        evaluations: Scores asked for.
        generations: Generations CMA-ES was told of.
    """

    genes: Genes
    values: dict[Choice, float]
    ranked: tuple[Choice, ...]
    centre: Choice
    evaluations: int
    generations: int

    def shortlist(self, count: int) -> list[BitAllocation]:
        """At most `count` allocations within the limits worth scoring again: centre, then best."""
        chosen = list(dict.fromkeys((self.centre, *self.ranked)))[:count]
        return [self.genes.space.allocation(choice) for choice in chosen]


Evolving = Generator[Ask | Progress, list[Point] | None, Evolved]


def whole_split(generation: int) -> Window | None:
    """Every generation sees all images."""
    return None


def moving_window(count: int, slide: int) -> Callable[[int], Window | None]:
    """Give each generation `count` images, `slide` further on than the generation before."""
    return lambda generation: (generation * slide, count)


@dataclass
class _Ledger:
    """What has been scored; grows as the round goes."""

    problem: Problem
    genes: Genes
    repair: Repair
    stage: str
    scored: dict[tuple[str, Choice], float] = field(default_factory=dict)
    trials: dict[Choice, list[float]] = field(default_factory=dict)
    excess: dict[Choice, float] = field(default_factory=dict)
    spent: int = 0

    def note(self, choice: Choice, window: Window | None, value: float) -> None:
        # a network that answers NaN is worse than any that answers
        value = value if np.isfinite(value) else np.inf
        self.scored[window_key(window), choice] = value
        self.trials.setdefault(choice, []).append(value)
        if choice not in self.excess:
            price = self.genes.space.price(choice)
            self.excess[choice] = float(self.repair.excess(price))

    def mean(self, choice: Choice) -> float:
        """Mean value of a choice over the windows it was scored on."""
        return sum(self.trials[choice]) / len(self.trials[choice])

    def inside(self) -> list[Choice]:
        """Choices within the limits, in the order they were scored."""
        return [choice for choice, excess in self.excess.items() if excess == 0]

    def penalised(self) -> list[Choice]:
        """All choices by value plus excess weighed by the spread of the values, best first."""
        values = [v for row in self.trials.values() for v in row if np.isfinite(v)]
        weight = 10 * (max(values, default=0.0) - min(values, default=0.0))
        return sorted(self.trials, key=lambda c: self.mean(c) + weight * self.excess[c])

    def score(
        self, choices: Sequence[Choice], window: Window | None
    ) -> Generator[Ask | Progress, list[Point] | None, None]:
        """Have those measured that are not known yet, in one batch."""
        key = window_key(window)
        todo = [c for c in dict.fromkeys(choices) if (key, c) not in self.scored]
        if not todo:
            return
        allocations = tuple(self.genes.space.allocation(choice) for choice in todo)
        answer = yield Ask(allocations, self.stage, window)
        self.spent += len(todo)
        for choice, point in zip(todo, answer or (), strict=True):
            self.note(choice, window, self.problem.value(point))


def evolve(
    problem: Problem,
    genes: Genes,
    repair: Repair,
    settings: Round,
    start: np.ndarray,
    rng: np.random.Generator,
    *,
    again: np.ndarray | None = None,
    stage: str = "ptq",
    window: Callable[[int], Window | None] = whole_split,
    known: dict[Choice, float] | None = None,
    step: int = 0,
    total: int | None = None,
    words: str = "",
) -> Evolving:
    """Search allocations for the lowest `problem.value`; use with `yield from`.

    One Ask per generation, of the allocations not scored before on the same images, and then one
    Progress whose figures are: generation, best and median (of the generation, nats), record (best
    within the limits so far; comparable only where all generations see the same images), sigma,
    axis_ratio, mean_bits and mean_activation_bits ({layer: mean over the generation}), unique
    (evaluations so far), population and restart (0 for the first descent). Each descent ends with a
    Progress whose figures are dependencies alone: title, descent, generations, and what
    `dependencies` gives of the covariance then.

    Args:
        problem: What is searched, and what a point is worth.
        genes: Its encoding, with at least two genes.
        repair: Brings choices of the same space within its limits.
        settings: How to search.
        start: Choice the first descent starts from, within the limits.
        rng: Source of all randomness; same state and same scores, same search.
        again: Choice that later descents start from; `start` where None.
        stage: Weights the candidates are scored with.
        window: Generation, from 0, to the images all its candidates are scored on.
        known: Values of choices scored before on the whole split; they are not asked again.
        step: Steps of the caller's Progress already done.
        total: Steps of the caller's Progress in all; `step` + evaluations where None.
        words: Put before each message, such as "round 2: ".

    Returns:
        What was found.
    """
    ledger = _Ledger(problem, genes, repair, stage)
    for choice, value in (known or {}).items():
        ledger.note(choice, None, value)
    total = step + settings.evaluations if total is None else total
    loose = settings.limits == "lagrangian" and genes.space.limited
    most = settings.evaluations - (min(RESERVE, settings.evaluations // 10) if loose else 0)
    population, origin, generation, restart = settings.population, start, 0, 0
    centre = _key(start)
    while True:
        descent = _Descent(genes, origin, settings.sigma, population, loose, rng)
        before, begun, stale = len(ledger.trials), generation, 0
        while not descent.stopped and stale < STALE:
            images, room = window(generation), most - ledger.spent
            vectors = descent.ask()
            choices = [genes.choice(vector) for vector in vectors]
            if not loose:
                choices = [repair.within(choice, rng) for choice in choices]
            keys = [_key(choice) for choice in choices]
            fresh = len(set(keys) - ledger.trials.keys())
            new = [k for k in dict.fromkeys(keys) if (window_key(images), k) not in ledger.scored]
            yield from ledger.score(new[:room], images)
            if len(new) > room:
                break
            values = np.array([ledger.scored[window_key(images), key] for key in keys])
            prices = np.array([genes.space.price(choice) for choice in choices], dtype=float)
            told = np.array([genes.vector(choice) for choice in choices])
            descent.tell(vectors if loose else list(told), values, _overshoot(genes, prices))
            stale = stale + 1 if fresh < FRESH * population else 0
            centre = _key(repair.within(genes.choice(descent.mean), rng))
            inside = values[[ledger.excess[key] == 0 for key in keys]]
            figures = {
                "generation": generation,
                "best": _number(inside.min(initial=np.inf)),
                "median": _number(float(np.median(values))),
                "record": _number(min(map(ledger.mean, ledger.inside()), default=np.inf)),
                **descent.figures,
                "mean_bits": genes.mean_bits(told, "weight"),
                "mean_activation_bits": genes.mean_bits(told, "activation"),
                "unique": ledger.spent,
                "population": population,
                "restart": restart,
            }
            generation += 1
            message = f"{words}generation {generation}: median {np.median(values):.4g} nats"
            yield Progress(step + ledger.spent, total, message, figures)
        seen = {
            "descent": restart,
            "generations": generation - begun,
            "title": f"{words}descent {restart + 1}",
        }
        seen |= dependencies(genes, descent.covariance)
        message = f"{words}descent {restart + 1} ended"
        yield Progress(step + ledger.spent, total, message, {"dependencies": seen})
        fruitful = len(ledger.trials) - before >= FRESH * population
        if not (settings.restarts and fruitful and ledger.spent < most):
            break
        population = population * 2 if restart < DOUBLINGS else population
        origin, restart = start if again is None else again, restart + 1
    if loose:
        # candidates overstep the limits, so the last evaluations are for copies that do not
        near = [repair.within(np.array(c), rng) for c in ledger.penalised()[:RESERVE]]
        wanted = [k for k in dict.fromkeys([centre, *map(_key, near)]) if k not in ledger.trials]
        yield from ledger.score(wanted[: settings.evaluations - ledger.spent], window(generation))
    means = {choice: ledger.mean(choice) for choice in ledger.trials}
    ranked = tuple(sorted(ledger.inside(), key=means.__getitem__))
    return Evolved(genes, means, ranked, centre, ledger.spent, generation)


class _Descent:
    """One run of pycma from one start, and its penalty where limits are not repaired."""

    def __init__(
        self,
        genes: Genes,
        start: np.ndarray,
        sigma: float,
        population: int,
        loose: bool,
        rng: np.random.Generator,
    ) -> None:
        with fenced():
            # importing pycma takes a second, which pages need not wait for
            import cma
            from cma.constraints_handler import AugmentedLagrangian

            count = len(genes.genes)
            self._es: Any = cma.CMAEvolutionStrategy(
                genes.vector(start),
                sigma,
                {
                    "integer_variables": list(range(count)),
                    # whole numbers: bounds in between would draw from the global generator
                    "bounds": [[0] * count, (genes.sizes - 1).tolist()],
                    "popsize": population,
                    "randn": NormalSource(int(rng.integers(2**32))),
                    "seed": float("nan"),
                    "verbose": -10,
                    "verb_log": 0,
                    "signals_filename": None,
                },
            )
            self._penalty: Any = None
            if loose:

                class Silent(AugmentedLagrangian):
                    """Keeps no log, for whose files a folder would be made where the app runs."""

                    def _init_(self) -> None:
                        self.logging = 0

                self._penalty = Silent(count)

    def ask(self) -> list[np.ndarray]:
        with fenced():
            return list(self._es.ask())

    def tell(self, vectors: list[np.ndarray], values: np.ndarray, over: np.ndarray) -> None:
        finite = values[np.isfinite(values)]
        worst = finite.max(initial=0.0) + 1.0
        values = np.where(np.isfinite(values), values, worst)
        with fenced():
            if self._penalty is not None:
                if not self._penalty.is_initialized:
                    self._penalty.set_coefficients(values, over)
                values = np.array(
                    [v + sum(self._penalty(g)) for v, g in zip(values, over, strict=True)]
                )
                best = int(values.argmin())
            self._es.tell(vectors, values.tolist())
            if self._penalty is not None:
                self._penalty.update(float(values[best]), over[best])

    @property
    def stopped(self) -> bool:
        with fenced():
            return bool(self._es.stop())

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self._es.mean)

    @property
    def covariance(self) -> np.ndarray:
        """Shape (genes, genes), without the step size."""
        return np.asarray(self._es.sm.C, dtype=float)

    @property
    def figures(self) -> dict[str, float]:
        lengths = np.asarray(self._es.D)
        ratio = float(lengths.max() / max(lengths.min(), 1e-300))
        return {"sigma": float(self._es.sigma), "axis_ratio": ratio}


def _key(choice: np.ndarray) -> Choice:
    return tuple(int(index) for index in choice)


def _overshoot(genes: Genes, prices: np.ndarray) -> np.ndarray:
    """Relative distance to each limit, at most 0 within it; shape (candidates, costs)."""
    limits = genes.space.limits
    if not genes.space.limited:
        return np.zeros((len(prices), 0))
    return np.asarray((prices - limits) / np.maximum(np.abs(limits), 1.0))


def _number(value: float) -> float | None:
    # JSON knows no infinity
    return float(value) if np.isfinite(value) else None
