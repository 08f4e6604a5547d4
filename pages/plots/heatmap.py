"""The heatmap of bits: every layer's weights and activations, per method. Pure."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from pages.plots.style import (
    CELL_TEXT_LAYERS,
    GREY,
    digit_colour,
    lay_out,
    plain,
    put,
    shown_colours,
    steps_of,
)
from pages.shared.text import bits_text
from qcore.allocation import width_words


def bit_heatmap(bits: pd.DataFrame) -> go.Figure:
    """Bits of every layer: two rows, weights and activations, per method.

    Args:
        bits: What `frames.bits_frame` returns.

    Returns:
        One heatmap trace per method; x is the layer's place in execution order.
    """
    figure = go.Figure()
    ticks: list[float] = []
    labels: list[str] = []
    methods = list(dict.fromkeys(bits["method"]))
    layers = list(dict.fromkeys(bits["layer"]))
    colours = shown_colours(bits["bits"])
    codes = {width: code for code, width in enumerate(colours, start=1)}
    for place, method in enumerate(methods):
        rows = bits[bits["method"] == method]
        parts = [rows[rows["part"] == part] for part in ("weights", "activations")]
        at = [place * 2.35, place * 2.35 + 1]
        ticks += at
        labels += [f"{method}: weights", f"{method}: activations"]
        figure.add_heatmap(
            name=method,
            x=list(range(1, len(layers) + 1)),
            y=at,
            z=[[codes[width] for width in part["bits"]] for part in parts],
            text=[[bits_text(width) for width in part["bits"]] for part in parts],
            hovertext=[[_cell_words(row) for row in part.to_dict("records")] for part in parts],
            hovertemplate="%{hovertext}<extra>" + plain(method) + "</extra>",
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
        )
        figure.add_shape(
            type="rect",
            x0=0.5,
            x1=len(layers) + 0.5,
            y0=at[0] - 0.5,
            y1=at[1] + 0.5,
            line={"color": GREY, "width": 1},
        )
        if len(layers) <= CELL_TEXT_LAYERS:
            _add_digits(figure, parts, at)
    every = max(1, len(layers) // 60 + 1)
    lay_out(figure, _heatmap_height(len(methods), max(map(len, layers), default=0)), top=10)
    put(
        figure,
        showlegend=False,
        coloraxis={
            "colorscale": steps_of(colours),
            "cmin": 0.5,
            "cmax": len(colours) + 0.5,
            "colorbar": {
                "title": {"text": "bits"},
                "tickvals": list(codes.values()),
                "ticktext": [bits_text(width) for width in codes],
                "outlinewidth": 1,
                "outlinecolor": GREY,
                "thickness": 14,
                "lenmode": "pixels",
                "len": 190,
                "y": 1,
                "yanchor": "top",
            },
        },
        xaxis={
            "title_text": "Layer, in execution order",
            "tickvals": list(range(1, len(layers) + 1, every)),
            "ticktext": [plain(name) for name in layers[::every]],
            "tickangle": -45,
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "tickvals": ticks,
            "ticktext": [plain(label) for label in labels],
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def _heatmap_height(methods: int, longest: int) -> int:
    # 30 pixels a row, and room for the longest layer name at 45 degrees
    return max(230, round(30 * 2.35 * methods) + 70 + round(4.6 * min(longest, 40)))


def _add_digits(figure: go.Figure, parts: list[pd.DataFrame], at: list[float]) -> None:
    for colour in ("#ffffff", "#000000"):
        cells = [
            (position, y, bits_text(width))
            for part, y in zip(parts, at, strict=True)
            for position, width in zip(part["position"], part["bits"], strict=True)
            if digit_colour(width) == colour
        ]
        figure.add_scatter(
            x=[cell[0] for cell in cells],
            y=[cell[1] for cell in cells],
            text=[cell[2] for cell in cells],
            mode="text",
            # a word needs more room than a digit
            textfont={"color": colour, "size": [12 if len(cell[2]) == 1 else 8 for cell in cells]},
            hoverinfo="skip",
            name="digits",
        )


def _cell_words(row: Mapping[str, object]) -> str:
    what = "weights" if row["part"] == "weights" else "input activations"
    width = width_words(int(str(row["bits"])))
    return (
        f"<b>{plain(str(row['layer']))}</b> ({row['kind']}, layer {row['position']})"
        f"<br>{what}: {width}, {row['Bytes, B']:,} B"
        f"<br>{row['Weights, elements']:,} weights, {row['MACs per sample']:,} MACs per sample"
    )
