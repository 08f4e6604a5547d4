"""Which layers' bits matter: every allocation as a line over the layers, and bars. Pure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pages.plots.style import GREY, LINE_COLOURS, lay_out, plain
from pages.shared.text import bits_text, tidy
from qcore.allocation import in_order

MOST_AXES = 26
"""Layers drawn as axes; more would leave no room for a line between two."""

MOST_LINES = 2000
"""Allocations drawn; of more, evenly many along the divergence."""

BAND = 0.5
"""Height of a width's band on a layer's axis, where two widths are 1 apart."""

CLOSENESS = ((0.0, "#9A9A9A"), (0.5, "#56B4E9"), (1.0, "#D55E00"))
"""Colours from the largest divergence to the smallest; plotly draws the latter on top."""

PART_COLOURS = {"weights": LINE_COLOURS[0], "inputs": LINE_COLOURS[1]}


def lines_figure(
    bits: np.ndarray,
    layers: Sequence[str],
    size: np.ndarray,
    divergence: np.ndarray,
    size_title: str,
) -> go.Figure:
    """Parallel coordinates: size, the bits of each layer, divergence; axes can be brushed.

    Lines through one width would hide one another: they lie in a band, by their divergence.

    Args:
        bits: (points, layers) bits of one part; 32 is float.
        layers: Names of the layers drawn, at most MOST_AXES.
        size: (points,) a cost, in the unit its title names.
        divergence: (points,) nats, above 0; colours the lines.
        size_title: What the first axis shows, with its unit.
    """
    shown = thinned(divergence, MOST_LINES)
    widths = in_order(np.unique(bits).tolist())
    # float is one step beyond, not 24 bits away
    step = {width: at for at, width in enumerate(widths)}
    place = np.vectorize(step.__getitem__, otypes=[int])(bits[shown])
    place = place + BAND * (np.linspace(0, 1, len(shown)) - 0.5)[:, None]
    closeness = -np.log10(divergence[shown])
    ticks = _decades(closeness)
    names = [f"1e{-exponent:.0f}" for exponent in ticks]
    axes = [{"label": plain(size_title), "values": size[shown].tolist()}]
    axes += [
        {
            "label": plain(tidy(name, 14)),
            "values": place[:, at].tolist(),
            "range": [-0.4, len(widths) - 0.6],
            "tickvals": list(range(len(widths))),
            "ticktext": [bits_text(width) for width in widths],
        }
        for at, name in enumerate(layers)
    ]
    axes.append(
        {"label": "nats", "values": closeness.tolist(), "tickvals": ticks, "ticktext": names},
    )
    figure = go.Figure(
        go.Parcoords(
            dimensions=axes,
            labelangle=-30,
            labelside="top",
            line={
                "color": closeness.tolist(),
                "colorscale": CLOSENESS,
                "showscale": True,
                "colorbar": {
                    "title": {"text": "Divergence, nats"},
                    "thickness": 14,
                    "tickvals": ticks,
                    "ticktext": names,
                },
            },
            unselected={"line": {"color": GREY, "opacity": 0.06}},
        )
    )
    lay_out(figure, 420)
    figure.update_layout(margin={"t": 110, "l": 70, "b": 30})
    return figure


def thinned(divergence: np.ndarray, most: int) -> np.ndarray:
    """Places of at most so many points, evenly along the divergence, the smallest last."""
    order = np.argsort(-divergence, kind="stable")
    if len(order) <= most:
        return order
    return order[np.linspace(0, len(order) - 1, most).round().astype(int)]


def _decades(logs: np.ndarray) -> list[float]:
    """Whole powers of ten within some logarithms; their ends where there is none."""
    found = np.arange(np.ceil(logs.min()), np.floor(logs.max()) + 1)
    return [float(value) for value in (found if len(found) else [logs.min()])]


def importance_figure(rows: pd.DataFrame, layers: Sequence[str]) -> go.Figure:
    """A bar with its interval per layer, those of weights and of inputs beside one another.

    Args:
        rows: From `importance`; what is of other layers is left out.
        layers: Names of the layers, in the order they are drawn.
    """
    figure = go.Figure()
    rows = rows[rows["layer"].isin(list(layers))]
    for part, own in rows.groupby("part", sort=False):
        places = [list(layers).index(name) for name in own["layer"]]
        figure.add_bar(
            x=places,
            y=own["share"].tolist(),
            name=str(part),
            marker={"color": PART_COLOURS[str(part)]},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (own["high"] - own["share"]).tolist(),
                "arrayminus": (own["share"] - own["low"]).tolist(),
                "thickness": 1,
                "width": 3,
                "color": GREY,
            },
            customdata=[
                [plain(tidy(name, 80)), f"{low:.1f} to {high:.1f}"]
                for name, low, high in zip(own["layer"], own["low"], own["high"], strict=True)
            ],
            hovertemplate=(
                f"%{{customdata[0]}}, {part}: %{{y:.1f}} % (%{{customdata[1]}})<extra></extra>"
            ),
        )
    figure.add_hline(y=0, line={"color": GREY, "width": 1})
    lay_out(figure, 300 + 4 * min(40, max(map(len, layers), default=0)))
    figure.update_xaxes(
        tickvals=list(range(len(layers))),
        ticktext=[plain(tidy(name, 24)) for name in layers],
        tickangle=-45,
        showgrid=False,
    )
    figure.update_yaxes(title_text="Share of the variance, %")
    return figure
