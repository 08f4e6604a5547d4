"""The bits that a switchable network can run at, with their costs and scores. Pure.

Scores and costs are those of points that were measured; nothing is predicted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pages.run_time import demand
from pages.run_time.demand import Pick
from pages.shared.judged import Words
from pages.shared.text import tidy
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import costs_of
from qcore.costs.formulas import CostModel
from qcore.problem import Scores
from qcore.qat.switches import words as bits_words
from store import StoredPoint

SCORE = "score"
"""Stands for a demand on the score, beside the names of costs."""

TICKS = 200
"""Stops of a slider, about."""


@dataclass(frozen=True)
class Options:
    """What can run.

    Attributes:
        allocations: The bits, in rising weight bytes.
        names: Each in a few words, such as "4/4" or "2.61 mean bits".
        search: Scores on the search split, by which is chosen.
        test: Scores on the test split where they were tested; they choose nothing.
        values: What the run minimised.
        costs: Cost name to the price of each; only costs that all have.
        words: What scores are called.
    """

    allocations: tuple[BitAllocation, ...]
    names: tuple[str, ...]
    search: tuple[Scores, ...]
    test: tuple[Scores | None, ...]
    values: tuple[float, ...]
    costs: Mapping[str, tuple[float, ...]]
    words: Words

    @property
    def shown(self) -> tuple[float, ...]:
        """Scores on the search split as they are shown, such as percent."""
        return tuple(self.words.factor * each.headline for each in self.search)


@dataclass(frozen=True)
class Span:
    """A slider of demands in a unit that reads well; times `factor` it is the cost's own.

    Attributes:
        low: Its left end, below all that can run, so that a demand may be too much.
        high: Its right end.
        step: Between two stops.
        factor: See above; 1 for scores.
        unit: Of what is shown.
        decimals: That are shown.
    """

    low: float
    high: float
    step: float
    factor: float
    unit: str
    decimals: int


def options_of(
    stored: Sequence[StoredPoint],
    model: ModelSpec,
    objective: str,
    costs: Mapping[str, CostModel],
    words: Words,
) -> Options:
    """What of the measured points can run.

    Args:
        stored: Points of one network on the same samples, at least one.
        model: Prices them.
        objective: What the run minimised, "kl" or "loss".
        costs: The costs there are.
        words: What scores are called.
    """
    priced = [costs_of(model, each.point.allocation, costs) for each in stored]
    known = [name for name in costs if all(name in row for row in priced)]
    found = [each.point for each in stored]
    return Options(
        allocations=tuple(point.allocation for point in found),
        names=tuple(name_of(point.allocation, model) for point in found),
        search=tuple(point.search for point in found),
        test=tuple(point.test for point in found),
        values=tuple(point.search.value(objective) for point in found),
        costs={name: tuple(float(row[name]) for row in priced) for name in known},
        words=words,
    )


def name_of(allocation: BitAllocation, model: ModelSpec) -> str:
    """An allocation in a few words: the bits that all layers but the ends have, or their mean."""
    rows = [allocation[name] for name in model.names]
    inner = set(rows[1:-1] or rows)
    if len(inner) == 1:
        return f"{bits_words(next(iter(inner)))} bits"
    weights = sum(layer.weights for layer in model.layers) or 1
    mean = sum(x.weights * allocation[x.name].weight for x in model.layers) / weights
    return f"mixed, {mean:.2f} bits a weight"


def span_of(options: Options, kind: str, costs: Mapping[str, CostModel]) -> Span:
    """The slider of a demand: SCORE, or the name of a cost."""
    if kind == SCORE:
        values, factor, unit = options.shown, 1.0, options.words.symbol
    else:
        values = options.costs[kind]
        factor, unit = costs[kind].scale(max(values))
    low, high = min(values) / factor, max(values) / factor
    room = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(room / TICKS * 2))
    decimals = max(0, round(-math.log10(step)))
    # one tenth more on the side where nothing can run
    ends = (low, high + room / 10) if kind == SCORE else (low - room / 10, high)
    first = max(0.0, math.floor(ends[0] / step) * step) if low >= 0 else ends[0]
    last = math.ceil(ends[1] / step) * step
    return Span(round(first, decimals), round(last, decimals), step, factor, unit, decimals)


def choose(options: Options, kind: str, level: float, cost: str) -> Pick:
    """What runs at a demand.

    Args:
        options: What can.
        kind: SCORE, or the name of the cost that is limited.
        level: The demand, in the unit of a score as shown or the cost's own.
        cost: For SCORE, the cost that is to be small.
    """
    if kind == SCORE:
        return demand.at_least(options.costs[cost], options.values, options.shown, level)
    return demand.within(options.costs[kind], options.values, level)


def replayed(options: Options, kind: str, levels: Sequence[float], cost: str) -> list[Pick]:
    """What runs at each step of a trace."""
    return demand.replay(partial(_chosen, options, kind, cost), levels)


def _chosen(options: Options, kind: str, cost: str, level: float) -> Pick:
    return choose(options, kind, level, cost)


def served(options: Options, kind: str, at: int) -> float:
    """What is served of a demanded quantity, in the unit of its demands."""
    return options.shown[at] if kind == SCORE else options.costs[kind][at]


def title_of(options: Options, kind: str, costs: Mapping[str, CostModel]) -> str:
    """A demand as the page calls it."""
    if kind == SCORE:
        return f"{options.words.title} on the search split, at least"
    return f"{tidy(costs[kind].title, 60)}, at most"
