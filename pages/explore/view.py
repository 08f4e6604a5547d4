"""What the reader has set on Explore, as the page's address carries it. Pure.

The keys are those of the basic controls: "bw" and "bc" are budgets in the slider's unit, "lw" and
"lc" switch them, "bl" and "bn" are losses that are accepted, in points and in nats, "ll" and "ln"
switch them, "x" is the cost on the horizontal axis and "y" what stands against it; the explorer
adds "focus", a method, and "pt", a point that was clicked, as "RUN:POINT".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pages.shared.columns import cost_columns
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.ranges import LOSSES, Range, budget_keys, loss_spans
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel

OFF = "false"

AXES = ("divergence", "loss", "score")
"""What can stand against a cost: divergence, loss against the float network, score."""


@dataclass(frozen=True, slots=True)
class View:
    """What the reader has set.

    Attributes:
        values: Cost name to its budget, in the slider's unit, within its range; and the loss that
            is accepted, by its unit.
        on: Which of them are limited.
        x: Name of the cost on the horizontal axis.
        y: What stands against it, one of AXES; "" for what tells most.
        focus: The method in focus, or "" for whichever is best.
        point: (run, point) that was clicked, or None.
        wrong: What in the address made no sense, in words.
    """

    values: Mapping[str, float]
    on: Mapping[str, bool]
    x: str
    y: str = ""
    focus: str = ""
    point: tuple[int, int] | None = None
    wrong: tuple[str, ...] = ()

    def limits(self, spans: Mapping[str, Range]) -> dict[str, float]:
        """Cost name to its limit in the cost's own unit, for the costs that are limited."""
        return {name: self.values[name] * spans[name].factor for name in spans if self.on[name]}

    @property
    def within(self) -> tuple[float, str] | None:
        """The loss that is accepted and its unit; None where any is."""
        unit = "points" if self.on.get("points") else "nats"
        return (self.values[unit], unit) if self.on.get(unit) else None


def costs_of_points(frame: pd.DataFrame, spans: Mapping[str, Range]) -> dict[str, np.ndarray]:
    """Cost name to what each point of a table costs, in the cost's unit, of those with a slider."""
    columns = cost_columns({name: COSTS[name] for name in spans}, frame)
    return {name: frame[column].to_numpy(float) for name, column in columns.items()}


def read_view(
    query: Mapping[str, str],
    spans: Mapping[str, Range],
    reached: Mapping[str, np.ndarray] | None = None,
    costs: Mapping[str, CostModel] = COSTS,
    words: Words = CLASSIFIER,
) -> View:
    """Read an address; what makes no sense falls back to where the page starts.

    A budget beyond its range falls back to the nearest one that something fits.

    Args:
        query: The page's query parameters.
        spans: Cost name to the range of its slider, the size first: it has a budget, and is the
            axis, where the address does not say.
        reached: Cost name to what each known point costs, in the cost's unit; one place a point.
        costs: The costs there are.
        words: What figures are called, and whether scores can be lost.
    """
    values, on, wrong = {}, {}, []
    size = next(iter(spans))
    beyond = []
    for name, span in {**spans, **loss_spans(words)}.items():
        slider, switch = budget_keys(name)
        values[name], on[name] = span.start, name == size
        if slider in query:
            value = _number(query[slider])
            if value is None or not span.low <= value <= span.high:
                wrong.append(
                    f"The budget {slider}={query[slider][:20]} is not between {span.low:g} and "
                    f"{span.high:g} {span.unit}."
                )
            if value is not None:
                values[name] = min(max(value, span.low), span.high)
                beyond += [name] if value < span.low and name in spans else []
        if switch in query:
            on[name] = query[switch].lower() != OFF
    for name in beyond:
        others = {other: values[other] for other in spans if other != name and on[other]}
        values[name] = _least(name, others, spans, reached or {})
    point = point_of(query.get("pt", ""))
    if query.get("pt") and point is None:
        wrong.append("The point of this link makes no sense; it should read RUN:POINT.")
    # a loss in points is a line of the axis of losses
    y = query.get("y", "loss" if on.get("points") else "")
    return View(
        values,
        on,
        _cost(query.get("x", ""), costs, size),
        y if y in AXES else "",
        query.get("focus", ""),
        point,
        tuple(wrong),
    )


def query_of(
    message: Mapping[str, Any],
    spans: Mapping[str, Range],
    costs: Mapping[str, CostModel] = COSTS,
) -> dict[str, str]:
    """The address of what the explorer said was set; with all else that a link carries, short.

    Args:
        message: Its "commit": values and on by name, x, y and focus. It comes from the browser
            and may hold anything; what makes no sense is left out.
        spans: Cost name to the range of its slider.
        costs: The costs there are.
    """
    query = {}
    values, on = message.get("values", {}), message.get("on", {})
    for name, span in {**spans, **loss_spans()}.items():
        slider, switch = budget_keys(name)
        value, limited = values.get(name), bool(on.get(name))
        if name in LOSSES and not limited:  # most links accept any loss, and stay short
            continue
        if isinstance(value, (int, float)) and span.low <= value <= span.high:
            short = f"{value:.{span.decimals}f}"
            # a budget that was typed may lie between two settings of the slider, and stays exact
            query[slider] = short if math.isclose(float(short), value) else repr(float(value))
        query[switch] = "true" if limited else OFF
    x = message.get("x")
    query["x"] = costs[x if isinstance(x, str) and x in costs else next(iter(spans))].title
    if message.get("y") in AXES:
        query["y"] = str(message["y"])
    focus = message.get("focus")
    if isinstance(focus, str) and focus:
        query["focus"] = focus[:60]
    return query


def _least(
    name: str,
    others: Mapping[str, float],
    spans: Mapping[str, Range],
    reached: Mapping[str, np.ndarray],
) -> float:
    """The lowest setting of a budget that something fits, within the other budgets if it can be."""
    span = spans[name]
    prices = reached.get(name, np.empty(0))
    fits = np.ones(len(prices), bool)
    for other, value in others.items():
        if other in reached:
            fits &= reached[other] <= value * spans[other].factor
    found = prices[fits] if fits.any() else prices
    if not len(found):
        return span.low
    steps = math.ceil(float(found.min()) / span.factor / span.step - 1e-9)
    return min(max(round(steps * span.step, span.decimals), span.low), span.high)


def _number(words: str) -> float | None:
    try:
        value = float(words)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _cost(words: str, costs: Mapping[str, CostModel], usual: str) -> str:
    return next((name for name, cost in costs.items() if words in (name, cost.title)), usual)


def point_of(words: str) -> tuple[int, int] | None:
    """Read "RUN:POINT" of a link; None where it says something else."""
    run, _, point = words.partition(":")
    # 18 digits fit a database's integer
    if not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in (run, point)):
        return None
    return int(run), int(point)
