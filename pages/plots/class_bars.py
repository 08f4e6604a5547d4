"""Probabilities of classes in the float network and in the quantized one, for one sample. Pure."""

from collections.abc import Sequence

import plotly.graph_objects as go

from pages.plots.style import GREY, LINE_COLOURS, lay_out, plain
from pages.shared.text import tidy

FLOAT, QUANTIZED = GREY, LINE_COLOURS[1]
"""Colours of the two networks' answers wherever one sample is shown."""


def class_bars(
    names: Sequence[str], floats: Sequence[float], quantized: Sequence[float]
) -> go.Figure:
    """Two bars a class.

    Args:
        names: Of the classes, in the order in which they are drawn from above.
        floats: The float network's probabilities, 0..1.
        quantized: The quantized network's.
    """
    labels = [plain(tidy(name, 30)) for name in names]
    places = list(range(len(labels)))
    figure = go.Figure()
    for title, values, colour in (
        ("float", floats, FLOAT),
        ("quantized", quantized, QUANTIZED),
    ):
        figure.add_bar(
            y=places,
            x=[100 * float(value) for value in values],
            orientation="h",
            name=title,
            marker={"color": colour},
            hovertext=labels,
            hovertemplate="%{hovertext}: %{x:.2f} %<extra>" + title + "</extra>",
        )
    lay_out(figure, 90 + 30 * len(labels))
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0)
    figure.update_xaxes(title_text="Probability, %", range=[0, 100])
    figure.update_yaxes(
        tickvals=places, ticktext=labels, autorange="reversed", showgrid=False, automargin=True
    )
    return figure
