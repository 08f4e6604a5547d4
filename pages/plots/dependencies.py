"""Layers x layers: how their bits went together, or how their damages add up. Pure."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from pages.plots.style import GREY, LINE_COLOURS, lay_out, plain
from pages.shared.text import tidy

PIXELS = 18
"""Of a row."""


def layers_figure(layers: Sequence[str], matrix: np.ndarray, what: str) -> go.Figure:
    """A symmetric matrix of -1..1: blue below 0, orange above, white at 0; no diagonal.

    Args:
        layers: Names, in execution order.
        matrix: Shape (layers, layers).
        what: What a number is, such as "correlation".
    """
    shown = np.asarray(matrix, dtype=float).copy()
    off = ~np.eye(len(layers), dtype=bool)
    most = float(np.abs(shown[off]).max(initial=0.0)) or 1.0
    cells = [
        [None if row == column else float(shown[row, column]) for column in range(len(layers))]
        for row in range(len(layers))
    ]
    names = [plain(tidy(name, 24)) for name in layers]
    ticks = list(range(1, len(layers) + 1))
    figure = go.Figure(
        go.Heatmap(
            x=ticks,
            y=ticks,
            z=cells,
            text=[[f"{one}, {other}" for other in names] for one in names],
            hovertemplate="%{text}: " + plain(what) + " %{z:+.2f}<extra></extra>",
            zmin=-most,
            zmax=most,
            colorscale=[[0, LINE_COLOURS[0]], [0.5, "#f7f7f7"], [1, LINE_COLOURS[1]]],
            colorbar={"title": {"text": plain(what)}, "thickness": 14, "outlinecolor": GREY},
            xgap=1,
            ygap=1,
        )
    )
    lay_out(figure, 150 + PIXELS * len(layers), top=10)
    every = max(1, len(layers) // 40 + 1)
    figure.update_xaxes(
        title_text="Layer, in execution order", showgrid=False, tickvals=ticks[::every]
    )
    figure.update_yaxes(
        tickvals=ticks[::every], ticktext=names[::every], autorange="reversed", showgrid=False
    )
    return figure
