"""What only the payload of measured points has: methods, their points, what axes show. Pure.

A point's height is its objective (the divergence), its loss against the float network or its score;
what a budget picks goes by the objective alone, whatever is drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pages.explore.payload import told_apart
from pages.explore.payload.axes import axis_of, damage_scale, loss_scale, score_scale
from pages.explore.payload.gaps import gaps
from pages.explore.payload.looks import look_of, packed, parts_of
from pages.shared.columns import (
    ACTIVATION_BITS,
    AIM,
    LOSSES,
    OBJECTIVE,
    SEARCH_HIGH,
    SEARCH_LOW,
    SEARCH_N,
    SEARCH_SCORE,
    TEST_LOSS,
    TEST_N,
    TEST_SCORE,
    TRAINED,
    column_of,
    cost_columns,
)
from pages.shared.judged import Words
from pages.shared.promised import UNITS, sequences
from pages.shared.ranges import Range
from qcore.allocation import FLOAT_BITS, ModelSpec, width_words
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.front import front_points
from qcore.rules.ties import PARTS

LEAST_DIVERGENCE = 1e-7
"""Divergences below are drawn here, nats: rounding leaves some where networks agree."""

LOSS, LOSS_LOW, LOSS_HIGH = "loss", "loss low", "loss high"


def measured_body(
    model: ModelSpec,
    rows: pd.DataFrame,
    words: Words,
    float_score: float | None,
    spans: Mapping[str, Range],
    costs: Mapping[str, CostModel] = COSTS,
    answers: Mapping[int, np.ndarray] | None = None,
) -> dict[str, Any]:
    """What only the payload of measured points has; goes beside `shared_payload`.

    Args:
        model: Whose layers the points are of.
        rows: What `picks.drawn` returned; not empty.
        words: What figures are called.
        float_score: The float network's on the search split, as it is shown, where known.
        spans: Cost name to the range of its slider.
        costs: The costs there are.
        answers: Point number to its test samples' scores, as `told_apart` takes them.
    """
    columns = cost_columns(costs, rows)
    shown = rows.assign(**_shown(rows))
    methods = rows["method"].nunique()
    numbers = told_apart.paired_points(rows, answers or {})
    fronts = [
        (found, {name: _front(found, column) for name, column in columns.items()})
        for _, found in shown.groupby("method", sort=False)
    ]
    heights = _heights(fronts, shown, words, float_score)
    known = [height["id"] for height in heights]
    first = "loss" if rows[TRAINED].any() or len(heights) < 3 else "divergence"
    return {
        "score": {
            "title": "Front",
            "unit": words.lost,
            "n": f"n={int(rows[SEARCH_N].max()):,}",
        },
        "ys": heights,
        "y": first if first in known else known[0],
        "nothing": "Nothing measured fits these budgets.",
        "refs": _references(shown, columns),
        "pairs": told_apart.pairs(numbers, answers or {}),
        "methods": [
            {
                **_method(found, front, columns, model, spans),
                **told_apart.places_of(found, numbers),
                "promised": _promised(found, columns, methods),
            }
            for found, front in fronts
        ],
        "axes": [_axis(costs[name], fronts, rows, spans) for name in columns],
        "widths": _widths(model, rows),
    }


def _widths(model: ModelSpec, rows: pd.DataFrame) -> dict[str, list[list[int]]]:
    """Widths that each part of each layer has in some point, rising."""
    found = {part: [set[int]() for _ in model.names] for part in PARTS}
    for allocation in rows["allocation"]:
        for at, layer in enumerate(model.names):
            for part in PARTS:
                found[part][at].add(getattr(allocation[layer], part))
    return {part: [sorted(widths) for widths in each] for part, each in found.items()}


def _shown(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Loss with its interval: on the test split where there is one, else on the search split."""
    first, other = LOSSES["test split"], LOSSES["search split"]
    pairs = zip((LOSS, LOSS_LOW, LOSS_HIGH), first, other, strict=True)
    return {name: rows[test].fillna(rows[search]) for name, test, search in pairs}


def _front(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Places among the rows of one method that are on its Pareto front, by rising cost."""
    return np.array(front_points(rows[column].tolist(), rows[OBJECTIVE].tolist()), int)


def _heights(
    fronts: Sequence[tuple[pd.DataFrame, Mapping[str, np.ndarray]]],
    rows: pd.DataFrame,
    words: Words,
    float_score: float | None,
) -> list[dict[str, Any]]:
    """What can stand on the vertical axis, those first that tell most."""
    members = pd.concat(
        [
            found.iloc[sorted({int(at) for f in front.values() for at in f})]
            for found, front in fronts
        ]
    )
    percent = score_scale(
        members[SEARCH_SCORE].tolist(),
        members[SEARCH_HIGH].tolist(),
        float_score,
        words.on("search"),
    )
    below = rows[SEARCH_SCORE] < percent["low"]
    found = [_height("score", words.title, percent, below, float_score, words.symbol)]
    if members[LOSS].notna().any():
        known = members[members[LOSS].notna()]
        lost = loss_scale(
            known[LOSS].tolist(), known[LOSS_LOW].tolist(), f"Loss against float, {words.lost}"
        )
        above = rows[LOSS] > lost["high"]
        found.insert(0, _height("loss", f"Loss in {words.lost}", lost, above, 0.0, words.lost))
    if (rows[AIM] == "kl").any():
        values = members.loc[members[AIM] == "kl", OBJECTIVE].clip(lower=LEAST_DIVERGENCE)
        title = f"{words.divergence} from float, {words.unit}"
        nats = damage_scale(values.tolist(), title)
        above = rows[OBJECTIVE] > nats["high"]
        found.insert(0, _height("divergence", words.divergence, nats, above, None, words.behind))
    return found


def _height(
    name: str,
    label: str,
    scale: Mapping[str, Any],
    beyond: pd.Series,
    line: float | None,
    unit: str,
) -> dict[str, Any]:
    where, count = ("below" if name == "score" else "above"), int(beyond.sum())
    return {
        "id": name,
        "label": label,
        "unit": unit,
        "scale": scale,
        "float": line,
        "lost": f"{count} of the points lie {where}" if count else "",
    }


def _axis(
    cost: CostModel,
    fronts: Sequence[tuple[pd.DataFrame, Mapping[str, np.ndarray]]],
    rows: pd.DataFrame,
    spans: Mapping[str, Range],
) -> dict[str, Any]:
    column = column_of(cost)
    prices = [found[column].to_numpy()[front[cost.name]] for found, front in fronts]
    shown = np.concatenate(prices).tolist()
    least = float(rows.loc[rows["selectable"], column].min())
    return axis_of(cost, float(rows[column].max()), shown, spans, least, gaps(shown))


def _promised(
    rows: pd.DataFrame, columns: Mapping[str, str], methods: int
) -> dict[str, dict[str, Any]]:
    """Unit to cost to the points that are confirmed one after another, and what they promise."""
    found: dict[str, dict[str, Any]] = {}
    for unit in UNITS:
        found[unit] = {}
        for name, (places, bounds) in sequences(rows, columns, unit, methods).items():
            found[unit][name] = {"at": packed(places, "u4"), "loss": packed(bounds, "f8")}
    return found


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
    # a loss that is known on no split is no sign of a test
    tested = TEST_LOSS if rows[LOSS].notna().any() else TEST_SCORE
    kl = rows[OBJECTIVE].where(rows[AIM] == "kl").clip(lower=LEAST_DIVERGENCE)
    return {
        **look_of(str(rows["method"].iloc[0])),
        **parts_of(FLOAT_BITS in np.ravel(inputs) and min(map(min, inputs)) == FLOAT_BITS),
        "trained": bool(rows[TRAINED].any()),
        "aim": str(rows[AIM].iloc[0]),
        "ids": packed(rows["point"], "u4"),
        "runs": packed(rows["run"], "u4"),
        "value": packed(rows[OBJECTIVE], "f8"),
        "tested": packed(rows[tested].notna(), "u1"),
        "input": packed(rows[ACTIVATION_BITS], "f8"),
        "n": packed(rows[TEST_N].fillna(rows[SEARCH_N]), "u4"),
        "y": {
            "divergence": packed(kl, "f8"),
            "loss": packed(rows[LOSS], "f8"),
            "score": packed(rows[SEARCH_SCORE], "f8"),
        },
        "low": {"loss": packed(rows[LOSS_LOW], "f8"), "score": packed(rows[SEARCH_LOW], "f8")},
        "high": {"loss": packed(rows[LOSS_HIGH], "f8"), "score": packed(rows[SEARCH_HIGH], "f8")},
        "absolute": packed(rows[TEST_SCORE].fillna(rows[SEARCH_SCORE]), "f8"),
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
        label = width_words(bits.weight) if bits.activation == FLOAT_BITS else bits.text
        found[label] = {"label": label, **_place(row, columns)}
    return list(found.values())


def _place(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Where a point stands on every axis; null where it has no such height."""
    heights = {
        "divergence": max(row[OBJECTIVE], LEAST_DIVERGENCE) if row[AIM] == "kl" else np.nan,
        "loss": row[LOSS],
        "score": row[SEARCH_SCORE],
    }
    return {
        "cost": {name: float(row[column]) for name, column in columns.items() if column in row},
        "y": {name: None if np.isnan(at) else float(at) for name, at in heights.items()},
    }


def marked(
    body: dict[str, Any], reference: pd.Series | None, costs: Mapping[str, CostModel] = COSTS
) -> dict[str, Any]:
    """The payload with a reference among the labels of its front.

    Args:
        body: What `measured_body` returned.
        reference: Row of the point to compare with, of `points_frame`, or None.
        costs: The costs there are.
    """
    if reference is None:
        return body
    columns = {name: column_of(cost) for name, cost in costs.items()}
    row = reference.to_frame().T.infer_objects()
    place = _place(
        {**reference.to_dict(), **{n: v.iloc[0] for n, v in _shown(row).items()}}, columns
    )
    same = [r["label"] for r in body["refs"] if (r["cost"], r["y"]) == (place["cost"], place["y"])]
    others = [r for r in body["refs"] if r["label"] not in same]
    label = f"★ reference: {same[0]}" if same else "★ reference"
    return {**body, "refs": [*others, {"label": label, **place}]}
