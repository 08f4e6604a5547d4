"""A problem as arrays: every decision's options, their prices, and the limits. Torch-free.

A *decision* is a layer, or layers that ties join; a *choice* is one option index per decision.
Searches compute on choices and turn them into
allocations only to have them measured. Limits on the largest layer (cost models that reduce by
maximum) are met by leaving options out, so that only summed costs remain to be traded.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs.budget import usual_size
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.problem import Ask, Point, Problem, Progress, SensitivityTable
from qcore.solvers.decisions import SAMPLED, Decision, decisions_of
from qcore.solvers.dynamic_program import FrontTable
from qcore.solvers.knapsack import exact_front
from qcore.solvers.lagrangian import exact_best

BATCH = 8
"""Allocations in one Ask of a search that knows all it wants to measure."""

Measuring = Generator[Ask | Progress, list[Point] | None, list[Point]]


@dataclass(frozen=True)
class Space:
    """What may be chosen and what it costs.

    Attributes:
        names: Layer names in execution order.
        decisions: In execution order; their options respect every limit on the largest layer.
        costs: Names of the summed costs that count, the primary one first: those with a limit,
            or weight_bytes where there is none.
        prices: Per decision, integers of shape (options, costs), each in its cost's unit.
        limits: Most that `price` may be, shape (costs,); infinite where there is no limit.
        fixed: What no choice changes, shape (costs,); not contained in prices or limits.
        units: Of each cost.
    """

    names: tuple[str, ...]
    decisions: tuple[Decision, ...]
    costs: tuple[str, ...]
    prices: tuple[np.ndarray, ...]
    limits: np.ndarray
    fixed: np.ndarray
    units: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """Number of options of each decision."""
        return [len(decision.options) for decision in self.decisions]

    @property
    def bits(self) -> list[LayerBits]:
        """All different bits that some layer may have, fewest first."""
        options = (option for decision in self.decisions for option in decision.options)
        return sorted({bits for option in options for bits in option})

    @property
    def limited(self) -> bool:
        """True when a summed cost has a limit."""
        return bool(np.isfinite(self.limits).any())

    @property
    def cheapest(self) -> np.ndarray:
        """Smallest value of each cost taken alone, shape (costs,)."""
        return np.asarray(np.sum([price.min(axis=0) for price in self.prices], axis=0))

    @property
    def dearest(self) -> np.ndarray:
        """Largest value of each cost taken alone, shape (costs,)."""
        return np.asarray(np.sum([price.max(axis=0) for price in self.prices], axis=0))

    def price(self, choice: Sequence[int] | np.ndarray) -> np.ndarray:
        """Price a choice without the fixed part: integers of shape (costs,)."""
        rows = [price[index] for price, index in zip(self.prices, choice, strict=True)]
        return np.asarray(np.sum(rows, axis=0))

    def allocation(self, choice: Sequence[int] | np.ndarray) -> BitAllocation:
        """Return the allocation a choice stands for."""
        bits = {
            name: of
            for decision, index in zip(self.decisions, choice, strict=True)
            for name, of in zip(decision.layers, decision.options[index], strict=True)
        }
        return BitAllocation({name: bits[name] for name in self.names})

    @staticmethod
    def changed(choice: np.ndarray, at: int, option: int) -> np.ndarray:
        """The choice with one decision at another option."""
        after = choice.copy()
        after[at] = option
        return after

    def nearest(self, allocation: Mapping[str, LayerBits]) -> np.ndarray:
        """The choice nearest to an allocation, which may have bits that are not allowed."""
        found = [decision.nearest(allocation) for decision in self.decisions]
        return np.array(found, dtype=np.int64)

    def levels(self, points: int) -> list[np.ndarray]:
        """Spread cost levels evenly on a log scale, dearest first.

        Returns:
            At most `points` arrays of shape (costs,), each an upper limit on `price`. With a
            budget the first is the budget and the cheapest allocation is left out; without, they
            run from the dearest to the cheapest allocation.
        """
        low = np.maximum(self.cheapest, 1).astype(float)
        high = np.maximum(np.minimum(self.limits, self.dearest), low)
        last = points if self.limited else max(points - 1, 1)
        shares = [1 - step / last for step in range(points)]
        levels: list[np.ndarray] = []
        for share in shares:
            level = low * (high / low) ** share if share < 1 else high.copy()
            # nothing is priced between whole numbers, and rounding must not lose an exact end
            level = np.floor(level + 1e-6)
            if not levels or bool((level != levels[-1]).any()):
                levels.append(level)
        return levels

    def scores(self, table: SensitivityTable) -> list[np.ndarray]:
        """Predicted damage of every option: per decision, floats of shape (options,).

        Raises:
            InvalidAllocation: the table lacks a layer or a bit-width.
            InvalidParams: a score is not a finite number.
        """
        return [
            sum_over_layers(decision, lambda name, bits: _finite(table, name, bits))
            for decision in self.decisions
        ]

    def front(self, scores: Sequence[np.ndarray]) -> FrontTable:
        """Compute every non-dominated choice within the limit on the primary cost, exactly."""
        limits = self.limits[:1].tolist() if self.limited else None
        return exact_front([price[:, :1] for price in self.prices], scores, limits)

    def optima(
        self, scores: Sequence[np.ndarray], levels: Sequence[np.ndarray]
    ) -> Iterator[np.ndarray | None]:
        """Find the exact optimum of an additive score within each of several limits, lazily.

        Args:
            scores: Per decision, the score of each option; lower is better.
            levels: Limits on `price`, shape (costs,) each, as `levels` spreads them.

        Yields:
            For each level its choice, or None where nothing fits.

        Raises:
            InvalidParams: more than two summed costs have limits.
        """
        self.check_solvable()
        if len(self.costs) == 1:
            # one run answers all levels; of two costs the whole front would be too long
            front = self.front(scores)
            yield from (best_on(front, level) for level in levels)
            return
        for level in levels:
            choice = exact_best(self.prices, scores, level.tolist())
            yield None if choice is None else choice.astype(np.int64)

    def check_solvable(self) -> None:
        """Raise unless the exact solver can take this many costs.

        Raises:
            InvalidParams: more than two summed costs have limits.
        """
        if len(self.costs) > 2:
            raise InvalidParams(
                "The exact solver takes limits on at most two summed costs; got "
                f"{', '.join(self.costs)}. Drop one of these limits."
            )

    def infeasible(self) -> InfeasibleBudget:
        """Build the error for limits that can only be met one at a time."""
        smallest = (self.cheapest + self.fixed).tolist()
        listed = "; ".join(
            f"{name} {low:,} {unit}"
            for name, low, unit in zip(self.costs, smallest, self.units, strict=True)
        )
        return InfeasibleBudget(
            "No allocation meets all limits at once. Smallest possible, each taken alone: "
            f"{listed}. Raise the budget or allow fewer bits.",
            dict(zip(self.costs, smallest, strict=True)),
        )


def space_of(
    problem: Problem, tables: Sequence[SensitivityTable] = (), most: int | None = SAMPLED
) -> Space:
    """Turn a problem into arrays.

    Args:
        problem: What may be chosen.
        tables: What predicts damage: where ties leave more combinations of some layers than can be
            listed, the options are those that are best by these.
        most: Most of those for each table; None lists all, which makes the front of one exact.

    Raises:
        InfeasibleBudget: a limit is below the smallest possible value of its cost.
        InvalidAllocation: a table lacks a layer or a bit-width.
        InvalidParams: a score is not a finite number.
    """
    model, limits, known = problem.model, problem.budget.limits, problem.costs
    problem.budget.check_feasible(model, problem.options)
    largest = [(known[name], most) for name, most in limits.items() if known[name].reduce == "max"]
    options = {
        layer.name: tuple(
            bits
            for bits in problem.options[layer.name]
            if all(c.layer_cost(layer, bits) + c.fixed(model) <= most for c, most in largest)
        )
        for layer in model.layers
    }
    summed = tuple(name for name in limits if known[name].reduce == "sum")
    costs = summed or (usual_size(options),)
    layer_prices = {
        layer.name: np.array(
            [
                [known[name].layer_cost(layer, bits) for name in costs]
                for bits in options[layer.name]
            ],
            dtype=np.int64,
        ).reshape(-1, len(costs))
        for layer in model.layers
    }
    damage = [
        {n: np.array([_finite(table, n, bits) for bits in row]) for n, row in options.items()}
        for table in tables
        if problem.ties
    ]
    decisions = decisions_of(model.names, options, problem.ties, layer_prices, damage, most)
    row_of = {name: {bits: at for at, bits in enumerate(row)} for name, row in options.items()}
    prices = tuple(
        layer_prices[decision.layers[0]]
        if len(decision.layers) == 1
        else np.array(
            [
                sum(
                    layer_prices[name][row_of[name][bits]]
                    for name, bits in zip(decision.layers, option, strict=True)
                )
                for option in decision.options
            ],
            dtype=np.int64,
        ).reshape(-1, len(costs))
        for decision in decisions
    )
    fixed = np.array([known[name].fixed(model) for name in costs], dtype=np.int64)
    ceiling = np.array([limits.get(name, np.inf) for name in costs], dtype=float) - fixed
    units = tuple(known[name].unit for name in costs)
    space = Space(model.names, decisions, costs, prices, ceiling, fixed, units)
    if problem.ties and all(space.sizes) and (space.cheapest > space.limits).any():
        raise space.infeasible()
    return space


def sum_over_layers(decision: Decision, value: Callable[[str, LayerBits], float]) -> np.ndarray:
    """A value of each option, added up over the decision's layers, floats of shape (options,)."""
    known: dict[tuple[str, LayerBits], float] = {}
    rows = []
    for option in decision.options:
        total = 0.0
        for key in zip(decision.layers, option, strict=True):
            if key not in known:
                known[key] = value(*key)
            total += known[key]
        rows.append(total)
    return np.array(rows, dtype=float)


def _finite(table: SensitivityTable, name: str, bits: LayerBits) -> float:
    score = table.score(name, bits)
    if not math.isfinite(score):
        raise InvalidParams(
            f"The {table.kind} sensitivity of layer {name!r} is not a finite number: {score} at "
            f"{bits.weight}/{bits.activation} bits. Measure it again or choose another sensitivity."
        )
    return score


def sensitivity_of(problem: Problem, search: str, kind: str) -> SensitivityTable:
    """Look a sensitivity table up.

    Raises:
        InvalidParams: the problem offers no sensitivities.
    """
    if problem.sensitivity is None:
        raise InvalidParams(
            f"The search {search!r} needs the {kind!r} sensitivity of each layer, and this problem "
            "offers none. Prepare the model with its data first, or use 'uniform' or 'random'."
        )
    return problem.sensitivity(kind)


def best_on(front: FrontTable, limits: np.ndarray) -> np.ndarray | None:
    """Choice of lowest score among the front members within limits, or None; ties: cheapest."""
    inside = np.flatnonzero((front.costs <= limits).all(axis=1))
    if not len(inside):
        return None
    order = np.lexsort((front.costs[inside, 0], front.scores[inside]))
    return np.asarray(front.choices[inside[order[0]]], dtype=np.int64)


def measure(
    allocations: Sequence[BitAllocation],
    words: str,
    *,
    step: int = 0,
    total: int | None = None,
    stage: str = "ptq",
) -> Measuring:
    """Have allocations measured in batches, with progress before each and at the end.

    Args:
        allocations: What to measure; repeats are asked once.
        words: What the user reads, such as "front members".
        step: Steps already done.
        total: Steps of the whole search; None when these are the last.
        stage: The weights they are measured with.

    Returns:
        One point per distinct allocation, in order.
    """
    todo = list(dict.fromkeys(allocations))
    total = step + len(todo) if total is None else total
    points: list[Point] = []
    for start in range(0, len(todo), BATCH):
        yield Progress(step + start, total, f"measuring {words}: {start} of {len(todo)}")
        answer = yield Ask(tuple(todo[start : start + BATCH]), stage)
        points.extend(answer or ())
    yield Progress(step + len(todo), total, f"measured {words}: {len(todo)}")
    return points
