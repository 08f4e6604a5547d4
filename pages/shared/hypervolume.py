"""How much of the plane of cost and divergence a search has covered, and how fast. Pure functions.

Hypervolume is the area that a set of points dominates, up to a reference point (Zitzler and Thiele,
PPSN V, 1998). Points are placed by what searches minimise: by the logarithm of their divergence
from the float network, or of their loss above the float network's. It is divided by the area of a
box, so that 0 is nothing and 1 would be the float network at no cost. The box does not depend on
the runs that are compared: figures of two pages, or of two papers, agree where the box does.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pages.shared.judged import CLASSIFIER, Words
from pages.shared.text import cost_text
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.costs import costs_of
from qcore.costs.formulas import CostModel
from qcore.front import hypervolume
from qcore.problem import Scores

WORST, BEST = 1.0, 1e-4
"""Nats where the box begins and ends. Fewer than BEST count as BEST: they change no answer."""

DISTANCES = {"kl": "divergence from the float network", "loss": "loss above the float network's"}
"""Objective to what the box is divided by, both in nats."""


@dataclass(frozen=True, slots=True)
class Box:
    """The part of the plane that counts: its corner of reference is (`most`, WORST).

    Attributes:
        cost: The cost.
        most: Cost at the reference point, in the cost's unit; above 0.
        aim: Objective of the points, "kl" or "loss".
        zero: The float network's value of it, nats: 0 for the divergence, its own loss for the
            loss; None where that is not known, and then nothing can be said.
        said: What figures are called.
    """

    cost: CostModel
    most: float
    aim: str = "kl"
    zero: float | None = 0.0
    said: Words = CLASSIFIER

    def words(self) -> str:
        """Say where the reference point lies and what 1 means."""
        most = cost_text(self.cost, self.most)
        return (
            f"{self.cost.title.lower()} up to {most} times {self._distance} from {WORST:g} "
            f"down to {BEST} {self.said.behind} (logarithmic); points beyond either add nothing, "
            f"and less than {BEST} counts as {BEST}"
        )

    @property
    def _distance(self) -> str:
        return DISTANCES["loss"] if self.aim == "loss" else self.said.aim("kl")

    def height(self, value: float) -> float:
        """Share (0..1) of the box below a point of this value, nats; 0 where it is not known."""
        if self.zero is None or math.isnan(value):
            return 0.0
        distance = min(WORST, max(BEST, value - self.zero))
        return math.log(WORST / distance) / math.log(WORST / BEST)


def zero_of(aim: str, floats: Scores | None) -> float | None:
    """The float network's value of an objective, nats; None where it is not known.

    Args:
        aim: "kl" or "loss".
        floats: Its scores on the search split, where known.
    """
    if aim != "loss":
        return 0.0
    return None if floats is None else floats.loss


def box_of(
    model: ModelSpec,
    cost: CostModel,
    widest: int = FLOAT_BITS,
    otherwise: float = 1.0,
    aim: str = "kl",
    zero: float | None = 0.0,
) -> Box:
    """The box of a model: up to the cost of 8-bit weights everywhere.

    Args:
        model: Priced.
        cost: The cost.
        widest: Activation bits at the reference point: 32 where activations may stay in float.
        otherwise: Cost at the reference point where the cost's table does not hold 8 bits.
        aim: Objective of the points, "kl" or "loss".
        zero: The float network's value of it; see `zero_of`.
    """
    eight = BitAllocation.uniform(model.layers, 8, widest)
    top = costs_of(model, eight, {cost.name: cost}).get(cost.name, otherwise)
    return Box(cost, float(max(1, top)), aim, zero)


def normalised(costs: Sequence[float], values: Sequence[float], box: Box) -> float:
    """Share (0..1) of the box that the points dominate.

    Args:
        costs: Of the points, in the cost's unit.
        values: Their objective, nats; lower is better.
        box: What counts.
    """
    return _area(costs, [box.height(value) for value in values], box)


def _area(costs: Sequence[float], heights: Sequence[float], box: Box) -> float:
    return hypervolume(costs, [1.0 - height for height in heights], (box.most, 1.0)) / box.most


def trace(costs: Sequence[float], values: Sequence[float], box: Box) -> list[float]:
    """`normalised` of the first 1, 2, ... n points, in the order they came; never falls.

    Only the front is kept between points, so a long run costs little more than a short one.
    """
    front: list[tuple[float, float]] = []
    reached, area = [], 0.0
    for cost, value in zip(costs, values, strict=True):
        height = box.height(value)
        if cost < box.most and height > 0 and _enters(front, cost, height):
            area = _area([c for c, _ in front], [h for _, h in front], box)
        reached.append(area)
    return reached


def _enters(front: list[tuple[float, float]], cost: float, height: float) -> bool:
    """Put a point in the front (by rising cost) unless one there is as good; drop what it beats."""
    place = bisect.bisect_right(front, (cost, math.inf))
    if place and front[place - 1][1] >= height:
        return False
    first = bisect.bisect_left(front, (cost, -math.inf))
    last = first
    while last < len(front) and front[last][1] <= height:
        last += 1
    front[first:last] = [(cost, height)]
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
