"""How much of the accuracy-cost plane a search has covered, and how fast it did. Pure functions.

Hypervolume is the area that a set of points dominates, up to a reference point (Zitzler and Thiele,
PPSN V, 1998). Here it is divided by the area of a box, so that 0 is nothing and 1 would be full
accuracy at no cost. The box does not depend on the runs that are compared: figures of two pages,
or of two papers, agree where the box does.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pages.shared.text import cost_text
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.costs import costs_of
from qcore.costs.formulas import CostModel
from qcore.front import hypervolume

FLOOR_BELOW_FLOAT = 10
"""The floor lies this many points of accuracy below the float network, unless chosen otherwise."""


@dataclass(frozen=True, slots=True)
class Box:
    """The part of the plane that counts: its corner of reference is (`most`, `floor`).

    Attributes:
        cost: The cost.
        most: Cost at the reference point, in the cost's unit; above 0.
        floor: Accuracy at the reference point, percent, 0 <= floor < 100.
    """

    cost: CostModel
    most: float
    floor: float

    @property
    def area(self) -> float:
        """Area of the box: cost unit times percent points."""
        return self.most * (100.0 - self.floor)

    def words(self) -> str:
        """Say where the reference point lies and what 1 means."""
        most = cost_text(self.cost, self.most)
        return (
            f"reference point {most} at {self.floor:g} %; 1 would be 100 % at no cost, points "
            f"beyond {most} or below {self.floor:g} % add nothing"
        )


def default_floor(float_score: float | None) -> float:
    """Floor for a float network's score (percent): a whole number of percent, never below 0."""
    if float_score is None:
        return 0.0
    return float(min(99, max(0, math.floor(float_score) - FLOOR_BELOW_FLOAT)))


def box_of(
    model: ModelSpec,
    cost: CostModel,
    floor: float,
    widest: int = FLOAT_BITS,
    otherwise: float = 1.0,
) -> Box:
    """The box of a model: up to the cost of 8-bit weights everywhere.

    Args:
        model: Priced.
        cost: The cost.
        floor: Accuracy that begins to count, percent.
        widest: Activation bits at the reference point: 32 where activations may stay in float.
        otherwise: Cost at the reference point where the cost's table does not hold 8 bits.
    """
    eight = BitAllocation.uniform(model.layers, 8, widest)
    top = costs_of(model, eight, {cost.name: cost}).get(cost.name, otherwise)
    return Box(cost, float(max(1, top)), floor)


def normalised(costs: Sequence[float], scores: Sequence[float], box: Box) -> float:
    """Share (0..1) of the box that the points dominate; scores in percent, higher is better."""
    area = hypervolume(costs, [100.0 - score for score in scores], (box.most, 100.0 - box.floor))
    return area / box.area


def trace(costs: Sequence[float], scores: Sequence[float], box: Box) -> list[float]:
    """`normalised` of the first 1, 2, ... n points, in the order they came; never falls.

    Only the front is kept between points, so a long run costs little more than a short one.
    """
    front: list[tuple[float, float]] = []
    reached, area = [], 0.0
    for cost, score in zip(costs, scores, strict=True):
        if cost < box.most and score > box.floor and _enters(front, cost, score):
            area = normalised([c for c, _ in front], [s for _, s in front], box)
        reached.append(area)
    return reached


def _enters(front: list[tuple[float, float]], cost: float, score: float) -> bool:
    """Put a point in the front (by rising cost) unless one there is as good; drop what it beats."""
    place = bisect.bisect_right(front, (cost, math.inf))
    if place and front[place - 1][1] >= score:
        return False
    first = bisect.bisect_left(front, (cost, -math.inf))
    last = first
    while last < len(front) and front[last][1] <= score:
        last += 1
    front[first:last] = [(cost, score)]
    return True


@dataclass(frozen=True, slots=True)
class Spread:
    """Hypervolume of several seeds of one method at the same places of an axis.

    Attributes:
        at: Places on the axis, rising.
        median: Median over seeds.
        low: Smallest over seeds.
        high: Largest over seeds.
    """

    at: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def spread(traces: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Spread:
    """Join the step lines of several seeds: median, smallest and largest at every step of any.

    Args:
        traces: Per seed, places on the axis (rising) and the value reached there.

    Returns:
        Empty where there is no trace. Before its first point a seed counts as 0; after its last it
        keeps what it has reached.
    """
    kept = [_steps(places, values) for places, values in traces if len(places)]
    if not kept:
        return Spread((), (), (), ())
    at = sorted({place for places, _ in kept for place in places})
    rows = []
    for places, values in kept:
        index = np.searchsorted(places, at, side="right")
        rows.append(np.asarray([0.0, *values])[index])
    table = np.asarray(rows)
    return Spread(
        tuple(at),
        *(tuple(f(table, axis=0).tolist()) for f in (np.median, np.min, np.max)),
    )


def _steps(
    places: Sequence[float], values: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """Only where the value changes, and the end: a line of 10,000 points has a few hundred."""
    last = len(places) - 1
    kept = [i for i in range(last + 1) if i in (0, last) or values[i] != values[i - 1]]
    return [places[i] for i in kept], [values[i] for i in kept]
