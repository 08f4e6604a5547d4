"""What is demanded of a running network, and which of its bits then run. Pure.

A demand is a limit on one cost, or the least score. Within a limit the best by the run's objective
runs, by the one picking rule of all pages; for a least score the cheapest that has it on the search
split. Where nothing meets a demand, what comes nearest runs, and is said not to meet it.
"""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from qcore.errors import InvalidParams
from qcore.front import SLACK, best_within

STEPS = 60
"""Steps of a trace that is made here."""

MOST_STEPS = 500
MOST_LETTERS = 10_000
"""Of a trace that is pasted."""


@dataclass(frozen=True)
class Pick:
    """Which of several allocations runs.

    Attributes:
        at: Its place among them.
        met: Whether it meets the demand.
    """

    at: int
    met: bool


def within(costs: Sequence[float], values: Sequence[float], limit: float) -> Pick:
    """The best within a limit on a cost; the cheapest where nothing is within it.

    Args:
        costs: Of each allocation, at least one.
        values: What their search minimised.
        limit: Most cost, in the cost's unit.
    """
    found = best_within({"cost": costs}, values, {"cost": limit})
    if found is not None:
        return Pick(found, True)
    return Pick(min(range(len(costs)), key=lambda at: (costs[at], values[at], at)), False)


def at_least(
    costs: Sequence[float], values: Sequence[float], scores: Sequence[float], least: float
) -> Pick:
    """The cheapest whose score is at least so much; the highest score where none is.

    Args:
        costs: Of each allocation, at least one.
        values: What their search minimised.
        scores: Their scores on the search split, in the unit of `least`.
        least: The least score.
    """
    fitting = [at for at, score in enumerate(scores) if score >= least - SLACK * abs(least)]
    if fitting:
        return Pick(min(fitting, key=lambda at: (costs[at], values[at], at)), True)
    return Pick(min(range(len(scores)), key=lambda at: (-scores[at], values[at], at)), False)


def replay(choose: Callable[[float], Pick], levels: Sequence[float]) -> list[Pick]:
    """What runs at each step of a trace: every demand on its own, for a switch costs nothing."""
    return [choose(level) for level in levels]


def switches(picks: Sequence[Pick]) -> int:
    """How often the bits change along a trace."""
    return sum(one.at != other.at for one, other in itertools.pairwise(picks))


def step_at(first: int, seconds: float, speed: float, count: int) -> int:
    """The step of a trace, from 0, that is shown some time after it began to play at `first`."""
    return min(count - 1, first + max(0, math.floor(seconds * speed)))


def _levels(length: int) -> np.ndarray:
    plateaus = (1.0, 0.5, 0.15, 0.75, 0.3, 1.0)
    return np.array([plateaus[at * len(plateaus) // length] for at in range(length)])


def _ramp(length: int) -> np.ndarray:
    return np.abs(np.linspace(-1.0, 1.0, length))


def _walk(length: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    path = 0.6 + np.concatenate([[0.0], rng.normal(0.0, 0.12, length - 1).cumsum()])
    # reflected at both ends
    folded = np.abs(path) % 2.0
    return np.where(folded > 1.0, 2.0 - folded, folded)


TRACES: Mapping[str, Callable[[int, int], np.ndarray]] = MappingProxyType(
    {
        "Steps": lambda length, seed: _levels(length),
        "Ramp": lambda length, seed: _ramp(length),
        "Random walk": _walk,
    }
)
"""Name to (steps, seed) to how much there is, 0..1 at each step."""


def trace(name: str, low: float, high: float, seed: int = 0, steps: int = STEPS) -> list[float]:
    """A made trace of demands.

    Args:
        name: Key of TRACES.
        low: The least demand.
        high: The greatest one.
        seed: Of the random walk; the others have no chance.
        steps: How many, at least 2.

    Returns:
        Demands within low..high, the same for the same arguments.
    """
    return [float(low + (high - low) * share) for share in TRACES[name](steps, seed)]


DECIMAL_COMMA = re.compile(r"(?<![\d.,])\d+,\d+(?![\d.,])")
"""A comma with digits right at both of its sides, and no other mark."""


def read_trace(words: str) -> list[float]:
    """Read pasted demands: numbers with spaces, commas, semicolons or line breaks between them.

    A comma right between digits would stand for decimals in one country and between two numbers in
    another: where other marks are between the numbers too, it is refused.

    Raises:
        InvalidParams: it is empty or too long, or a part is no number of 0 or more.
    """
    if len(words) > MOST_LETTERS:
        raise InvalidParams(
            f"A trace has {MOST_LETTERS:,} characters at most; this one has {len(words):,}."
        )
    decimal = DECIMAL_COMMA.search(words)
    if decimal and re.search(r"[\d.]\s*;|\d\s+\d", words):
        raise InvalidParams(
            f"In {decimal.group()[:40]!r} the comma may mean decimals, or stand between numbers. "
            "Write a point before decimals, and a space after a comma between numbers."
        )
    parts = [part for part in re.split(r"[\s,;]+", words) if part]
    if not parts:
        raise InvalidParams("Paste the demands of a trace: numbers, one for each step.")
    if len(parts) > MOST_STEPS:
        raise InvalidParams(f"A trace has {MOST_STEPS} steps at most; this one has {len(parts):,}.")
    return [_number(part, place) for place, part in enumerate(parts, start=1)]


def _number(part: str, place: int) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InvalidParams(
            f"Step {place} of the trace is {part[:40]!r}; write a number of 0 or more, with a "
            "point before its decimals."
        )
    return value
