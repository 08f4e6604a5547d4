"""Pictures of a network at run time: cost bars, and a trace with what was served. Pure."""

import textwrap
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from pages.plots.style import GREY, LINE_COLOURS, lay_out, plain
from pages.shared.text import cost_text, tidy
from qcore.costs.formulas import CostModel

ROW = 24
"""Pixels of a line of a bar's title."""


def cost_bars(
    served: Mapping[str, Sequence[float]],
    at: int,
    costs: Mapping[str, CostModel],
    limited: str = "",
    limit: float = 0.0,
) -> go.Figure:
    """Each cost of what runs, in percent of the dearest that can run.

    Args:
        served: Cost name to the price of each allocation.
        at: Which runs.
        costs: The costs there are.
        limited: The cost that is limited, whose limit gets a mark; "" for none.
        limit: That limit, in the cost's unit.
    """
    names = list(served)
    most = {name: max(served[name]) or 1.0 for name in names}
    shares = [100 * served[name][at] / most[name] for name in names]
    figure = go.Figure(
        go.Bar(
            orientation="h",
            x=shares,
            y=list(range(len(names))),
            text=[plain(cost_text(costs[name], served[name][at])) for name in names],
            textposition="outside",
            cliponaxis=False,
            hovertext=[plain(tidy(costs[name].title, 80)) for name in names],
            marker={"color": [_colour(name, limited) for name in names]},
            hovertemplate="%{hovertext}: %{text}, %{x:.0f} % of the dearest<extra></extra>",
            name="cost",
        )
    )
    if limited in names:
        place = names.index(limited)
        share = 100 * limit / most[limited]
        figure.add_shape(
            type="line", x0=share, x1=share, y0=place - 0.45, y1=place + 0.45,
            line={"color": LINE_COLOURS[1], "width": 3},
        )  # fmt: skip
    titles = [textwrap.wrap(tidy(costs[name].title, 52), 26) or [name] for name in names]
    lay_out(figure, 70 + ROW * sum(map(len, titles)), top=10)
    figure.update_layout(showlegend=False, bargap=0.25)
    figure.update_xaxes(title_text="% of the dearest that can run", range=[0, 135])
    # by place, for two titles may be alike once they are shortened
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=["<br>".join(map(plain, lines)) for lines in titles],
        autorange="reversed",
        showgrid=False,
        zeroline=False,
    )
    return figure


def _colour(name: str, limited: str) -> str:
    return LINE_COLOURS[0] if name == limited else GREY


def trace_figure(
    demands: Sequence[float],
    served: Sequence[float],
    other: Sequence[float],
    titles: tuple[str, str],
    at: int,
) -> go.Figure:
    """A trace of demands with what was served, and below it what that means.

    Args:
        demands: Of each step.
        served: The demanded quantity of what ran, in the same unit.
        other: What stands in the panel below, of each step.
        titles: Of the two panels, with their units.
        at: The step that is shown now, from 0.
    """
    steps = list(range(1, len(demands) + 1))
    figure = go.Figure()
    lines = (
        (demands, "demanded", LINE_COLOURS[1], "dash", "y"),
        (served, "served", LINE_COLOURS[0], "solid", "y"),
        (other, plain(tidy(titles[1], 60)), LINE_COLOURS[2], "solid", "y2"),
    )
    for values, name, colour, dash, axis in lines:
        figure.add_scatter(
            x=steps,
            y=list(values),
            name=name,
            mode="lines",
            line={"color": colour, "dash": dash, "shape": "hv", "width": 2},
            yaxis=axis,
        )
    figure.add_shape(
        type="line", x0=at + 1, x1=at + 1, y0=0, y1=1, yref="paper",
        line={"color": GREY, "width": 2},
    )  # fmt: skip
    lay_out(figure, 380)
    figure.update_layout(
        yaxis={"title": {"text": plain(tidy(titles[0], 40))}, "domain": [0.5, 1]},
        yaxis2={"title": {"text": plain(tidy(titles[1], 40))}, "domain": [0, 0.4], "anchor": "x"},
    )
    figure.update_xaxes(title_text="Step", anchor="y2", range=[1, max(2, len(demands))])
    return figure
