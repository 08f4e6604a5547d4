"""What each layer's bits cost in damage: curves, a heatmap, and the price of the next bit."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pages.plots.style import GREY, LINE_COLOURS, METHOD_DASHES, bit_colour, lay_out, plain, put
from pages.shared.text import bits_text, tidy
from qcore.allocation import (
    FLOAT_BITS,
    BitAllocation,
    LayerBits,
    ModelSpec,
    in_order,
    stored_bits,
    width_words,
)
from qcore.costs import COSTS
from qcore.problem import SensitivityTable

NAMED_LAYERS = 8
"""Layers that are named beside the curves: those of most damage."""

KIB = 1024


def sensitivity_frame(table: SensitivityTable, model: ModelSpec, part: str) -> pd.DataFrame:
    """One row per (layer, bits) that a table scores.

    Args:
        table: The sensitivity.
        model: Gives the order of the layers.
        part: "weight" or "activation".

    Returns:
        Columns: "layer", "place" (from 1), "bits", "damage" (unit of the table), "error" (standard
        error of the damage at the fewest bits, NaN elsewhere).
    """
    scores: Mapping[str, Mapping[int, float]] = getattr(table, part)
    rows = []
    for place, name in enumerate(model.names, start=1):
        widths = sorted(scores.get(name, {}))
        for bits in widths:
            known = part == "weight" and bits == widths[0]
            error = table.error.get(name, math.nan) if known else math.nan
            rows.append((name, place, bits, float(scores[name][bits]), error))
    return pd.DataFrame(rows, columns=["layer", "place", "bits", "damage", "error"])


def derived_words(table: SensitivityTable, part: str) -> str:
    """A sentence on scores that were not taken; empty where all were.

    Args:
        table: The sensitivity.
        part: "weight" or "activation".
    """
    if not table.derived or part != "weight":
        return ""
    names = ", ".join(bits_text(bits) for bits in table.derived)
    return (
        f"Not measured but worked out from narrower weights, by the error of the layer's output: "
        f"{names} bits."
    )


def unseen(frame: pd.DataFrame) -> int:
    """Scores at or below 0: a logarithmic axis cannot show them."""
    return int((frame["damage"] <= 0).sum())


def curves_figure(frame: pd.DataFrame, unit: str) -> go.Figure:
    """Damage against bits, a thin line per layer; the worst NAMED_LAYERS are named.

    Args:
        frame: From `sensitivity_frame`, with at least one row.
        unit: Unit of the damage.
    """
    shown = frame[frame["damage"] > 0]
    worst = list(shown.groupby("layer")["damage"].max().nlargest(NAMED_LAYERS).index)
    figure = go.Figure()
    # the named lines are drawn last, above the crowd
    order = [name for name in dict.fromkeys(shown["layer"]) if name not in worst] + worst[::-1]
    for name in order:
        rows = shown[shown["layer"] == name]
        rank = worst.index(name) if name in worst else None
        error = [None if math.isnan(value) else value for value in rows["error"]]
        figure.add_scatter(
            x=[stored_bits(bits) for bits in rows["bits"]],
            y=rows["damage"].tolist(),
            customdata=[width_words(bits) for bits in rows["bits"]],
            name=plain(tidy(str(name))),
            mode="lines+markers",
            line={
                "color": GREY if rank is None else LINE_COLOURS[rank % len(LINE_COLOURS)],
                "dash": "solid" if rank is None else METHOD_DASHES[rank % len(METHOD_DASHES)],
                "width": 1 if rank is None else 2,
            },
            marker={"size": 4 if rank is None else 6},
            opacity=0.5 if rank is None else 1,
            showlegend=rank is not None,
            legendrank=1000 if rank is None else rank,
            error_y={"type": "data", "array": error, "thickness": 1, "width": 3},
            hovertemplate=(
                f"{plain(tidy(str(name), 80))}: %{{y:.3g}} {plain(unit)} at %{{customdata}}"
                "<extra></extra>"
            ),
        )
    lay_out(figure, 420)
    widths = sorted({stored_bits(bits) for bits in frame["bits"]})
    damage = {"type": "log", "exponentformat": "power", "dtick": 1}
    put(
        figure,
        legend={"orientation": "v", "x": 1.01, "y": 1, "xanchor": "left", "yanchor": "top"},
        xaxis={"title_text": "Bits", "tickvals": widths},
        yaxis={"title_text": f"Damage, {plain(unit)}", **damage},
    )
    return figure


def sensitivity_heatmap(frame: pd.DataFrame, unit: str) -> go.Figure:
    """Damage of every layer at every bit-width; colour on a logarithmic scale.

    Args:
        frame: From `sensitivity_frame`, with at least one row.
        unit: Unit of the damage.
    """
    layers = list(dict.fromkeys(frame["layer"]))
    widths = in_order(frame["bits"])[::-1]
    cells = {(r.layer, r.bits): float(r.damage) for r in frame.itertuples()}
    grid = [[cells.get((name, bits), math.nan) for name in layers] for bits in widths]
    log = [[math.log10(v) if v > 0 else None for v in row] for row in grid]
    seen = [value for row in log for value in row if value is not None] or [0.0]
    ticks = list(range(math.floor(min(seen)), math.ceil(max(seen)) + 1))
    figure = go.Figure(
        go.Heatmap(
            x=list(range(1, len(layers) + 1)),
            y=[bits_text(bits) for bits in widths],
            z=log,
            customdata=np.array(
                [
                    [
                        (plain(tidy(str(n), 80)), f"{v:.3g}")
                        for n, v in zip(layers, row, strict=True)
                    ]
                    for row in grid
                ]
            ),
            hovertemplate=(
                f"%{{customdata[0]}}, bits %{{y}}: %{{customdata[1]}} {plain(unit)}<extra></extra>"
            ),
            colorscale="Cividis",
            xgap=1,
            ygap=1,
            colorbar={
                "title": {"text": f"damage, {plain(unit)}"},
                "tickvals": ticks,
                "ticktext": [f"1e{tick}" for tick in ticks],
                "thickness": 14,
            },
        )
    )
    every = len(layers) // 60 + 1
    lay_out(figure, 170 + 26 * len(widths) + 5 * min(40, max(map(len, layers))))
    put(
        figure,
        xaxis={
            "title_text": "Layer, in execution order",
            "tickvals": list(range(1, len(layers) + 1, every)),
            "ticktext": [plain(tidy(str(name))) for name in layers[::every]],
            "tickangle": -45,
            "showgrid": False,
        },
        yaxis={"title_text": "Bits", "type": "category", "showgrid": False},
    )
    return figure


def price_frame(
    table: SensitivityTable, model: ModelSpec, allocation: BitAllocation
) -> pd.DataFrame:
    """What the next weight bit of each layer would cost: damage per KiB saved, dearest first.

    A layer goes from the bits it has to the next fewer that the table knows.

    Returns:
        Columns: "layer", "place" (from 1), "bits", "fewer", "damage" (added, in the table's
        unit), "saved" (KiB of weights), "price" (damage per KiB). Layers without fewer bits, and
        those whose bits the table does not know, are left out.
    """
    cost = COSTS["weight_bytes"].layer_cost
    rows = []
    for place, layer in enumerate(model.layers, start=1):
        scores = {**table.weight.get(layer.name, {}), FLOAT_BITS: 0.0}
        bits = allocation[layer.name].weight
        lower = [width for width in scores if stored_bits(width) < stored_bits(bits)]
        if not lower or bits not in scores:
            continue
        # of widths that take as much, the one that damages least
        fewer = max(lower, key=lambda width: (stored_bits(width), -scores[width]))
        saved = cost(layer, LayerBits(bits)) - cost(layer, LayerBits(fewer))
        if saved > 0:
            damage = scores[fewer] - scores[bits]
            kib = saved / KIB
            rows.append((layer.name, place, bits, fewer, damage, kib, damage / kib))
    columns = ["layer", "place", "bits", "fewer", "damage", "saved", "price"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values("price", ascending=False, kind="stable").reset_index(drop=True)


def price_figure(frame: pd.DataFrame, unit: str, most: int = 60) -> go.Figure:
    """Bars of `price_frame`, the dearest `most` and, of more, the cheapest too.

    Args:
        frame: From `price_frame`, with at least one row.
        unit: Unit of the damage.
        most: Bars drawn.
    """
    half = most // 2
    rows = frame if len(frame) <= most else pd.concat([frame.head(half), frame.tail(half)])
    log = bool((rows["price"] > 0).all())
    figure = go.Figure(
        go.Bar(
            x=list(range(1, len(rows) + 1)),
            y=rows["price"].tolist(),
            text=[
                f"{bits_text(bits)}→{bits_text(fewer)}"
                for bits, fewer in zip(rows["bits"], rows["fewer"], strict=True)
            ],
            textposition="outside",
            textangle=0,
            cliponaxis=False,
            marker={
                "color": [bit_colour(bits) for bits in rows["bits"]],
                "line": {"color": GREY, "width": 0.5},
            },
            customdata=[
                (plain(tidy(str(name), 80)), f"{damage:.3g}", f"{saved:.3g}")
                for name, damage, saved in zip(
                    rows["layer"], rows["damage"], rows["saved"], strict=True
                )
            ],
            hovertemplate=(
                f"%{{customdata[0]}}: %{{customdata[1]}} {plain(unit)} more for "
                "%{customdata[2]} KiB saved<extra></extra>"
            ),
        )
    )
    lay_out(figure, 330 + 4 * min(40, max(map(len, rows["layer"]))))
    put(
        figure,
        uniformtext={"mode": "hide", "minsize": 9},
        xaxis={
            "title_text": "Layer, dearest bit first",
            "tickvals": list(range(1, len(rows) + 1)),
            "ticktext": [plain(tidy(str(name))) for name in rows["layer"]],
            "tickangle": -45,
            "showgrid": False,
        },
    )
    title = f"{plain(unit)} per KiB saved"
    if log:
        put(
            figure,
            yaxis={
                "title_text": title,
                "type": "log",
                "exponentformat": "power",
                "dtick": 1,
            },
        )
    else:
        put(figure, yaxis={"title_text": title})
    return figure
