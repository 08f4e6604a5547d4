"""What the budget explorer is given: layers, budgets, points and predictions as plain JSON. Pure.

Arrays travel as base64 of little-endian numbers. Costs are priced here and nowhere else; the
browser adds up the per-layer prices it is given, in predicted mode only.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pages.ui import frames, predictions
from pages.ui.explore_view import View
from pages.ui.figures import BIT_COLOURS, style_of
from pages.ui.text import scale_of
from pages.ui.widgets import Range, budget_range
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import COSTS, UNPRICED, applicable
from qcore.knapsack import layer_tables
from qcore.problem import Problem, SensitivityTable

MOST_BYTES = 2_000_000
"""Largest payload aimed at; bits of fewer points are sent where it would be larger."""

HINTS = (
    "Drag a budget: every method shows the best bits it found within it.",
    "Point at anything to see it in all three plots; click a point of the front for its details.",
    "Below, take the chosen bits away as a file, measure them again or edit them by hand.",
)


def packed(values: Any, kind: str) -> str:
    """Base64 of an array of numbers; `kind` is a little-endian numpy type such as "<f8"."""
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def most_selectable(model: ModelSpec, methods: int, ceiling: int) -> int:
    """Points per method whose bits fit into the payload, at most `ceiling`."""
    each = 2 * max(1, len(model.layers)) * 4 / 3
    return max(20, min(ceiling, int(0.75 * MOST_BYTES / each / max(1, methods))))


def shared_payload(
    identity: str,
    model: ModelSpec,
    view: View,
    spans: Mapping[str, Range],
    *,
    locked: bool = False,
    table: SensitivityTable | None = None,
) -> dict[str, Any]:
    """What measured and predicted payloads have in common.

    Args:
        identity: Changes when the reader's settings no longer apply: another model or data.
        model: Whose layers are drawn.
        view: What the reader has set when the page was opened.
        spans: Cost name to the range of its slider.
        locked: Whether the first and the last layer are fixed in every search shown.
        table: Sensitivities that rank the layers, where known.
    """
    ranks = _ranks(model, table)
    last = len(model.layers) - 1
    return {
        "v": 1,
        "id": identity,
        "layers": [
            {
                **{"n": layer.name, **_place(layer.name), "k": layer.kind},
                **{"p": layer.weights, "m": layer.macs, "rank": ranks.get(layer.name, 0)},
                "lock": locked and place in (0, last),
            }
            for place, layer in enumerate(model.layers)
        ],
        "budgets": [_budget(name, span, model, view) for name, span in spans.items()],
        "cmap": {str(bits): colour for bits, colour in BIT_COLOURS.items()},
        "init": {"x": view.x, "log": False, "widths": "bytes", "focus": view.focus},
        "file": "bitdial-explorer.png",
        "hints": list(HINTS),
        **{"proxy": None, "settled": None, "float": None, "refs": [], "least": {}},
    }


def measured_body(
    model: ModelSpec,
    rows: pd.DataFrame,
    score: str,
    float_score: float | None,
    spans: Mapping[str, Range],
) -> dict[str, Any]:
    """What only the payload of measured points has; goes beside `shared_payload`.

    Args:
        model: Whose layers the points are of.
        rows: What `pick.drawn` returned; not empty.
        score: What the scores are: "Accuracy" or "Agreement with the float network".
        float_score: The float network's, in percent, where known.
        spans: Cost name to the range of its slider.
    """
    costs = [name for name, column in frames.COST_COLUMNS.items() if column in rows]
    largest = {name: float(rows[frames.COST_COLUMNS[name]].max()) for name in costs}
    return {
        "score": {
            "label": score,
            "axis": f"{score} on the search split, %",
            **{"unit": "%", "n": int(rows[frames.SEARCH_N].max())},
        },
        "axes": [_axis(name, largest[name], spans) for name in costs],
        "float": float_score,
        "refs": _references(rows, costs),
        "methods": [
            _method(str(name), found, costs, model)
            for name, found in rows.groupby("method", sort=False)
        ],
    }


def predicted_payload(
    shared: Mapping[str, Any],
    model: ModelSpec,
    spans: Mapping[str, Range],
    name: str,
    table: SensitivityTable,
    settled: pd.DataFrame | None = None,
    limits: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The payload of predicted mode, in which the browser solves the additive problem itself.

    Args:
        shared: What `shared_payload` returned.
        model: Whose layers the table is of.
        spans: Cost name to the range of its slider.
        name: What to call the method.
        table: The stored sensitivities.
        settled: The exact optimum for `limits`, one row of `predictions.predicted_pick`.
        limits: The limits it holds for, in their units.
    """
    problem = Problem(model, predictions.table_options(table, model))
    names = summed_costs(problem)
    options, prices, scores = layer_tables(problem, table, names)
    flat = np.concatenate(prices)
    fixed = {cost: COSTS[cost].fixed(model) for cost in names}
    most = np.sum([price.max(axis=0) for price in prices], axis=0)
    least = np.sum([price.min(axis=0) for price in prices], axis=0)
    pairs = [bits for row in options for bits in row]
    starts = np.cumsum([0, *map(len, options)])
    return {
        **shared,
        "score": {
            "label": "Predicted damage",
            "axis": f"Predicted damage, {table.unit} (lower is better)",
            **{"unit": table.unit, "n": table.n},
        },
        "axes": [
            _axis(cost, float(most[place] + fixed[cost]), spans) for place, cost in enumerate(names)
        ],
        "least": {cost: float(least[at] + fixed[cost]) for at, cost in enumerate(names)},
        "methods": [_empty_method(name)],
        "proxy": {
            "start": packed(starts, "<u4"),
            "score": packed(np.concatenate(scores), "<f8"),
            "w": packed([bits.weight for bits in pairs], "u1"),
            "a": packed([bits.activation for bits in pairs], "u1"),
            "cost": {cost: packed(flat[:, at], "<f8") for at, cost in enumerate(names)},
            "fixed": fixed,
        },
        "settled": _settled(settled, limits or {}, model, options, starts, names),
    }


def summed_costs(problem: Problem) -> list[str]:
    """Names of the model's costs that add up over layers and have a price for every option."""
    return [
        name
        for name, cost in applicable(problem.model).items()
        if cost.reduce == "sum"
        and all(
            cost.layer_cost(layer, bits) < UNPRICED
            for layer in problem.model.layers
            for bits in problem.options[layer.name]
        )
    ]


def _settled(
    settled: pd.DataFrame | None,
    limits: Mapping[str, float],
    model: ModelSpec,
    options: Sequence[Sequence[Any]],
    starts: np.ndarray,
    names: Sequence[str],
) -> dict[str, Any] | None:
    if settled is None or settled.empty:
        return None
    row = settled.iloc[0]
    allocation: BitAllocation = row["allocation"]
    choice = [
        start + list(allowed).index(allocation[layer])
        for start, allowed, layer in zip(starts[:-1], options, model.names, strict=True)
    ]
    return {
        "limits": [[cost, limit] for cost, limit in limits.items()],
        "choice": packed(choice, "<u4"),
        "score": float(row[frames.DAMAGE]),
        "cost": {cost: float(row[frames.COST_COLUMNS[cost]]) for cost in names},
    }


def _place(name: str) -> dict[str, str]:
    stage, _, rest = name.partition(".")
    return {"stage": stage, "s": rest or stage}


def _ranks(model: ModelSpec, table: SensitivityTable | None) -> dict[str, int]:
    if table is None:
        return {}
    harm = {name: max(table.weight.get(name, {}).values(), default=0.0) for name in model.names}
    order = sorted(harm, key=lambda name: -harm[name])
    return {name: place for place, name in enumerate(order, start=1)}


def _budget(name: str, span: Range, model: ModelSpec, view: View) -> dict[str, Any]:
    eight = COSTS[name].total(model, BitAllocation.uniform(model.layers, 8, 8)) / span.factor
    words = (
        (8 / eight, " bits a weight") if name == "weight_bytes" else (100 / eight, " % of 8 bits")
    )
    return {
        **{"id": name, "title": COSTS[name].title, "unit": span.unit, "factor": span.factor},
        **{"decimals": span.decimals, "lo": span.low, "hi": span.high, "words": words},
        **{"value": view.values[name], "on": view.on[name]},
    }


def _axis(name: str, largest: float, spans: Mapping[str, Range]) -> dict[str, Any]:
    span = spans.get(name)
    factor, unit = (span.factor, span.unit) if span else scale_of(name, largest)
    return {"id": name, "label": COSTS[name].title, "unit": unit, "factor": factor}


def _method(
    name: str, rows: pd.DataFrame, costs: Sequence[str], model: ModelSpec
) -> dict[str, Any]:
    chosen = np.flatnonzero(rows["selectable"].to_numpy(bool))
    bits = [rows["allocation"].iloc[at] for at in chosen]
    weights = [[found[layer].weight for layer in model.names] for found in bits]
    inputs = [[found[layer].activation for layer in model.names] for found in bits]
    return {
        **{"label": name, **style_of(name)},
        "ids": packed(rows["point"], "<u4"),
        "runs": packed(rows["run"], "<u4"),
        "acc": packed(rows[frames.SEARCH_SCORE], "<f8"),
        "lo": packed(rows[frames.SEARCH_LOW], "<f8"),
        "hi": packed(rows[frames.SEARCH_HIGH], "<f8"),
        "cost": {cost: packed(rows[frames.COST_COLUMNS[cost]], "<f8") for cost in costs},
        "sel": packed(chosen, "<u4"),
        "w": packed(weights, "u1"),
        "a": packed(inputs, "u1"),
    }


def _empty_method(name: str) -> dict[str, Any]:
    arrays = dict.fromkeys(("ids", "runs", "acc", "lo", "hi", "sel", "w", "a"), "")
    return {"label": name, **style_of(name), "marker": "circle", **arrays, "cost": {}}


def _references(rows: pd.DataFrame, costs: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows.to_dict("records"):
        if len(set(row["allocation"].values())) > 1:
            continue
        (bits,) = set(row["allocation"].values())
        label = (
            f"{bits.weight} bits" if bits.activation == 32 else f"{bits.weight}/{bits.activation}"
        )
        found[label] = {
            "label": label,
            "cost": {cost: float(row[frames.COST_COLUMNS[cost]]) for cost in costs},
            "acc": float(row[frames.SEARCH_SCORE]),
        }
    return list(found.values())


def spans_of(model: ModelSpec, costs: Sequence[str], widest: int) -> dict[str, Range]:
    """Cost name to the range of its slider; see `widgets.budget_range`."""
    return {name: budget_range(name, model, widest) for name in costs}
