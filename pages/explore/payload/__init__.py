"""What the budget explorer is given: layers, budgets, points and predictions as plain JSON. Pure.

Arrays travel as base64 of little-endian numbers. Everything that stays the same while a budget is
dragged is worked out here: fronts, axes and their ticks, words, looks. Names arrive cleaned.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from pages.explore.payload.axes import axis_of, score_scale
from pages.explore.payload.looks import (
    AREAS,
    HINTS,
    LONGEST_LAYER,
    LONGEST_TAG,
    clean,
    look_of,
    packed,
    parts_of,
)
from pages.explore.payload.predicted import predicted_payload as predicted_payload
from pages.explore.payload.predicted import summed_costs as summed_costs
from pages.explore.view import View
from pages.plots.style import BIT_COLOURS, digit_colour
from pages.shared.columns import (
    OBJECTIVE,
    SEARCH_HIGH,
    SEARCH_LOW,
    SEARCH_N,
    SEARCH_SCORE,
    column_of,
    cost_columns,
)
from pages.shared.ranges import Range
from qcore.allocation import FLOAT_BITS, BitAllocation, LayerSpec, ModelSpec
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.front import front_points
from qcore.problem import SensitivityTable

VERSION = 2
KEY_STEPS = 1000
"""Arrow keys that move a budget over its whole range, at least."""


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
    starts = {
        "bytes": _starts([layer.weights for layer in model.layers]),
        "ops": _starts([layer.macs for layer in model.layers]),
    }
    return {
        "v": VERSION,
        "id": identity,
        "layers": [
            {
                **_layer(place, layer, ranks, locked and place in (0, last)),
                "from": {name: start[place] for name, start in starts.items()},
            }
            for place, layer in enumerate(model.layers)
        ],
        "stages": _stages(model),
        "heat": (
            f"Weight and activation bits of {len(model.layers)} layers, a row for each method. "
            "The table below the plots has the same numbers."
        ),
        "budgets": [_budget(name, span, model, view) for name, span in spans.items()],
        "cmap": {str(bits): colour for bits, colour in BIT_COLOURS.items()},
        "ink": {str(bits): digit_colour(bits) for bits in BIT_COLOURS},
        "areas": AREAS,
        "init": {"x": view.x, "log": False, "widths": "bytes", "focus": view.focus},
        "file": "bitdial-explorer.png",
        "hints": list(HINTS),
        "proxy": None,
        "settled": None,
        "float": None,
        "refs": [],
    }


def measured_body(
    model: ModelSpec,
    rows: pd.DataFrame,
    score: str,
    float_score: float | None,
    spans: Mapping[str, Range],
    costs: Mapping[str, CostModel] = COSTS,
) -> dict[str, Any]:
    """What only the payload of measured points has; goes beside `shared_payload`.

    Args:
        model: Whose layers the points are of.
        rows: What `picks.drawn` returned; not empty.
        score: What the scores are: "Accuracy" or "Agreement with the float network".
        float_score: The float network's, in percent, where known.
        spans: Cost name to the range of its slider.
        costs: The costs there are.
    """
    columns = cost_columns(costs, rows)
    fronts = [
        (found, {name: _front(found, column) for name, column in columns.items()})
        for _, found in rows.groupby("method", sort=False)
    ]
    return {
        "score": {
            "title": f"{score} against cost",
            "unit": "%",
            "n": f"n={int(rows[SEARCH_N].max()):,}",
        },
        "nothing": "Nothing measured fits these budgets.",
        "float": float_score,
        "refs": _references(rows, columns),
        "methods": [_method(found, front, columns, model, spans) for found, front in fronts],
        "axes": [
            _measured_axis(
                costs[name], fronts, rows, float_score, spans, f"{score} on the search split"
            )
            for name in columns
        ],
    }


def _front(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Places among the rows of one method that are on its Pareto front, by rising cost."""
    return np.array(front_points(rows[column].tolist(), rows[OBJECTIVE].tolist()), int)


def _measured_axis(
    cost: CostModel,
    fronts: Sequence[tuple[pd.DataFrame, Mapping[str, np.ndarray]]],
    rows: pd.DataFrame,
    float_score: float | None,
    spans: Mapping[str, Range],
    score: str,
) -> dict[str, Any]:
    column = column_of(cost)
    shown = pd.concat([found.iloc[front[cost.name]] for found, front in fronts])
    scores, uppers = shown[SEARCH_SCORE].tolist(), shown[SEARCH_HIGH].tolist()
    scale = score_scale(scores, uppers, float_score, f"{score}, %")
    below = int((rows[SEARCH_SCORE] < scale["low"]).sum())
    scale["lost"] = f"{below} of the points lie below" if below else ""
    least = float(rows.loc[rows["selectable"], column].min())
    return axis_of(cost, float(rows[column].max()), shown[column].tolist(), spans, least, scale)


def _layer(place: int, layer: LayerSpec, ranks: Mapping[str, int], locked: bool) -> dict[str, Any]:
    stage, _, rest = layer.name.partition(".")
    rank = ranks.get(layer.name)
    facts = [
        f"{layer.weights:,} weights, {layer.macs:,} MACs per sample",
        *([f"sensitivity: {rank} of {len(ranks)}"] if rank else []),
        *(["fixed by the search's settings"] if locked else []),
    ]
    return {
        "name": f"{clean(layer.name, LONGEST_LAYER)} ({layer.kind}, layer {place + 1})",
        "tag": clean(rest or stage, LONGEST_TAG),
        "weights": layer.weights,
        "lock": locked,
        "facts": facts,
    }


def _starts(sizes: Sequence[int]) -> list[float]:
    """Where each layer's block begins, in percent of all."""
    ends = np.cumsum([0, *sizes])
    return (100.0 * ends[:-1] / max(int(ends[-1]), 1)).tolist()


def _stages(model: ModelSpec) -> list[list[Any]]:
    """Name and first layer of each run of layers below one module, and where the next begins."""
    found: list[list[Any]] = []
    for stage, layers in groupby(model.names, key=lambda name: name.partition(".")[0]):
        start = found[-1][2] if found else 0
        found.append([clean(stage, LONGEST_LAYER), start, start + len(list(layers))])
    return found


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
    title = COSTS[name].title
    return {
        "id": name,
        "unit": span.unit,
        "factor": span.factor,
        "words": words,
        "label": f"Limit {title.lower()}",
        "aria": f"{title} at most, {span.unit}",
        "decimals": span.decimals,
        "lo": span.low,
        "hi": span.high,
        "step": max((span.high - span.low) / KEY_STEPS, 10.0**-span.decimals),
        "value": view.values[name],
        "on": view.on[name],
    }


def _method(
    rows: pd.DataFrame,
    fronts: Mapping[str, np.ndarray],
    columns: Mapping[str, str],
    model: ModelSpec,
    spans: Mapping[str, Range],
) -> dict[str, Any]:
    chosen = np.flatnonzero(rows["selectable"].to_numpy(bool))
    bits = [rows["allocation"].iloc[at] for at in chosen]
    weights = [[found[layer].weight for layer in model.names] for found in bits]
    inputs = [[found[layer].activation for layer in model.names] for found in bits]
    prices = {name: rows[column].to_numpy(float) for name, column in columns.items()}
    row = np.full(len(rows), -1)
    row[chosen] = np.arange(len(chosen))
    return {
        **look_of(str(rows["method"].iloc[0])),
        **parts_of(FLOAT_BITS in np.ravel(inputs) and min(map(min, inputs)) == FLOAT_BITS),
        "ids": packed(rows["point"], "u4"),
        "runs": packed(rows["run"], "u4"),
        "acc": packed(rows[SEARCH_SCORE], "f8"),
        "lo": packed(rows[SEARCH_LOW], "f8"),
        "hi": packed(rows[SEARCH_HIGH], "f8"),
        "cost": {cost: packed(price, "f8") for cost, price in prices.items()},
        "front": {cost: packed(front, "u4") for cost, front in fronts.items()},
        "stops": {
            cost: packed(span.stops(prices[cost][fronts[cost][row[fronts[cost]] >= 0]]), "f8")
            for cost, span in spans.items()
        },
        "sel": packed(chosen, "u4"),
        "row": packed(row, "i4"),
        "w": packed(weights, "u1"),
        "a": packed(inputs, "u1"),
    }


def _references(rows: pd.DataFrame, columns: Mapping[str, str]) -> list[dict[str, Any]]:
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
            "cost": {name: float(row[column]) for name, column in columns.items()},
            "acc": float(row[SEARCH_SCORE]),
        }
    return list(found.values())


def marked(
    body: dict[str, Any], reference: pd.Series | None, costs: Mapping[str, CostModel] = COSTS
) -> dict[str, Any]:
    """The payload with a reference among the labels of its front.

    Args:
        body: What `measured_body` returned.
        reference: Row of the point to compare with, of `frames.points_frame`, or None.
        costs: The costs there are.
    """
    if reference is None:
        return body
    columns = {name: column_of(cost) for name, cost in costs.items()}
    known = {
        name: float(reference[column]) for name, column in columns.items() if column in reference
    }
    score = float(reference[SEARCH_SCORE])
    others = [r for r in body["refs"] if (r["cost"], r["acc"]) != (known, score)]
    same = [r["label"] for r in body["refs"] if r not in others]
    label = f"★ reference: {same[0]}" if same else "★ reference"
    return {**body, "refs": [*others, {"label": label, "cost": known, "acc": score}]}
