"""Signals of one sample over one another, and their difference. Pure."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from pages.plots.class_bars import FLOAT, QUANTIZED
from pages.plots.style import LINE_COLOURS, lay_out, plain
from pages.shared.text import tidy

LOOKS = {
    "float": (FLOAT, "solid"),
    "quantized": (QUANTIZED, "dot"),
    "input": (LINE_COLOURS[5], "solid"),
    "true": (LINE_COLOURS[2], "dash"),
    "difference": (LINE_COLOURS[3], "solid"),
}
FEW = 40
"""Up to so many values are marked one by one."""


def curves_figure(curves: Mapping[str, np.ndarray], channel: int = 0) -> go.Figure:
    """Curves over one another.

    Args:
        curves: What each is to its values (channels, length); "float", "quantized", "true" and
            "difference" have colours of their own.
        channel: Which channel is drawn.
    """
    figure = go.Figure()
    for at, (name, values) in enumerate(curves.items()):
        colour, dash = LOOKS.get(name, (LINE_COLOURS[at % len(LINE_COLOURS)], "solid"))
        row = values[channel]
        title = plain(tidy(name, 30))
        figure.add_scatter(
            x=list(range(len(row))),
            y=[float(value) for value in row],
            mode="lines+markers" if len(row) <= FEW else "lines",
            name=title,
            line={"color": colour, "dash": dash, "width": 2},
            marker={"size": 5},
            hovertemplate="place %{x}: %{y:.4g}<extra>" + title + "</extra>",
        )
    lay_out(figure, 240)
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text="Place", showgrid=False)
    figure.update_yaxes(title_text="Value")
    return figure
