"""Axes of the budget explorer's front: where they begin and end, and what stands at their ticks.

The browser draws what it is told here; only where a value lies in pixels is its own to compute.
Pure.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pages.shared.ranges import Range
from pages.shared.text import scale_of, significant
from qcore.costs.formulas import CostModel

TICKS = 6
"""Spaces between the ticks of an axis, about."""

FEWEST_LOG_TICKS = 3
"""A logarithmic axis that would have fewer ticks of 1, 2 and 5 gets evenly spaced ones."""

_ROUND = 1e-9


def axis_of(
    cost: CostModel,
    largest: float,
    shown: Sequence[float],
    spans: Mapping[str, Range],
    least: float,
    gaps: Sequence[tuple[float, float]] = (),
) -> dict[str, Any]:
    """A cost as the front's horizontal axis.

    Args:
        cost: The cost.
        largest: The dearest there is; decides on the unit where no slider does.
        shown: What is on the front.
        spans: Cost name to the range of its slider.
        least: The cheapest that a budget can ask for.
        gaps: From where to where nothing was searched, in the cost's own unit.
    """
    span, label = spans.get(cost.name), cost.title
    factor, unit = (span.factor, span.unit) if span else scale_of(cost, largest)
    words = f"{label}: the smallest is {significant(least / factor)} {unit}."
    return {
        "id": cost.name,
        "label": label,
        "unit": unit,
        "factor": factor,
        "gaps": [list(gap) for gap in gaps],
        **cost_scales(shown, factor, f"{label}, {unit}"),
        "least": {"cost": least, "words": words},
    }


def cost_scales(costs: Sequence[float], factor: float, title: str) -> dict[str, dict[str, Any]]:
    """The linear and the logarithmic axis that show all of these costs.

    Args:
        costs: What is on the front, in the cost's own unit.
        factor: How many of that unit are one of the axis' unit.
        title: What the axis shows, with its unit.
    """
    least, most = min(costs), max(costs)
    low, high = 0.9 * least, 1.25 * most
    marks = [v for v in _decades(low / factor, high / factor, (1, 2, 5)) if v * factor <= high]
    if len(marks) < FEWEST_LOG_TICKS:
        marks = _even(low / factor, high / factor)
    ends = (0.0, 1.06 * most)
    return {
        "lin": _scale(ends, _even(0.0, ends[1] / factor), title, factor),
        "log": _scale((low, high), marks, f"{title} (log)", factor, log=True),
    }


def score_scale(
    scores: Sequence[float], uppers: Sequence[float], float_score: float | None, title: str
) -> dict[str, Any]:
    """The axis of measured scores.

    Args:
        scores: What is on the front.
        uppers: The upper ends of their intervals.
        float_score: The float network's, drawn as a line, where known.
        title: What the axis shows, with its unit.
    """
    high = max([*uppers, *scores, float_score or 0.0])
    # a few collapsed points would flatten all that matters
    low = max(min(scores), high - 5 * max(high - float(np.median(scores)), 2.0))
    room = 0.06 * ((high - low) or 1.0)
    ends = (low - room, high + room)
    return _scale(ends, _even(*ends), title)


def loss_scale(losses: Sequence[float], lowers: Sequence[float], title: str) -> dict[str, Any]:
    """The axis of losses against the float network, in its unit; none lost is always on it.

    Args:
        losses: What is on the front; at least one.
        lowers: The lower ends of their intervals.
        title: What the axis shows, with its unit.
    """
    low = min([0.0, *lowers])
    # a few collapsed points would flatten all that matters
    high = min(max(losses), low + 5 * max(float(np.median(losses)) - low, 2.0))
    room = 0.06 * ((high - low) or 1.0)
    ends = (low - room, high + room)
    return _scale(ends, _even(*ends), title)


def damage_scale(damages: Sequence[float], title: str) -> dict[str, Any]:
    """The axis of predicted damages: logarithmic where all of them are positive."""
    log = min(damages) > 0
    least, most = (math.log10(v) if log else v for v in (min(damages), max(damages)))
    span = (most - least) or 1.0
    low, high = least - 0.05 * span, most + 0.08 * span
    if not log:
        return _scale((low, high), _even(low, high), title)
    ends = (10**low, 10**high)
    marks = _decades(*ends, (1, 3))
    return _scale(ends, marks if len(marks) >= FEWEST_LOG_TICKS else _even(*ends), title, log=True)


def _scale(
    ends: tuple[float, float],
    marks: Sequence[float],
    title: str,
    factor: float = 1.0,
    *,
    log: bool = False,
) -> dict[str, Any]:
    ticks = [[mark * factor, f"{mark:,.10g}"] for mark in marks]
    return {"low": ends[0], "high": ends[1], "log": log, "ticks": ticks, "title": title}


def _even(low: float, high: float) -> list[float]:
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * (1 - _ROUND))
    first, last = math.ceil(low / step - _ROUND), math.floor(high / step + _ROUND)
    return [float(f"{at * step:.12g}") for at in range(first, last + 1)]


def _decades(low: float, high: float, sizes: Sequence[int]) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [
        float(f"{size}e{power}")
        for power in range(first, last + 1)
        for size in sizes
        if low <= float(f"{size}e{power}") <= high
    ]
