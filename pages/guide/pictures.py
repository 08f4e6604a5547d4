"""The Guide's small figures. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from pages.guide.lessons import Snapped, coarse, front_places
from pages.plots.style import GREY, LINE_COLOURS, lay_out, plain
from pages.shared.text import tidy
from qcore.problem import wilson_interval

HEIGHT = 280
BLUE, ORANGE = LINE_COLOURS[:2]


def histogram_figure(weights: np.ndarray, grid: Snapped) -> go.Figure:
    """How many weights lie where, and the values that are left of them."""
    counts, edges = np.histogram(weights, bins=80)
    figure = go.Figure()
    figure.add_bar(
        x=((edges[1:] + edges[:-1]) / 2).tolist(),
        y=counts.tolist(),
        name="before",
        marker={"color": GREY},
        opacity=0.6,
        hovertemplate="%{y} weights near %{x:.3f}<extra></extra>",
    )
    codes, kept = np.unique(grid.codes, return_counts=True)
    stems: dict[str, list[float | None]] = {"x": [], "y": []}
    for code, count in zip(codes, kept, strict=True):
        stems["x"] += [float(grid.step * code), float(grid.step * code), None]
        stems["y"] += [0.0, float(count), None]
    figure.add_scatter(
        **stems,
        mode="lines+markers",
        name="after",
        line={"color": BLUE, "width": 2},
        marker={"size": 5},
        hovertemplate="%{y} weights become %{x:.3f}<extra></extra>",
    )
    lay_out(figure, HEIGHT)
    figure.update_layout(bargap=0)
    figure.update_xaxes(title_text="Value of a weight")
    figure.update_yaxes(title_text="Weights", type="log", dtick=1)
    return figure


def greys_figure(image: np.ndarray, widths: Sequence[int]) -> go.Figure:
    """One picture (uint8, height x width) beside itself with fewer and fewer bits a pixel."""
    figure = go.Figure()
    across = image.shape[1] + 2
    for place, bits in enumerate(widths):
        figure.add_heatmap(
            z=coarse(image, bits).tolist(),
            x0=place * across,
            dx=1,
            zmin=0,
            zmax=255,
            colorscale="Greys",
            reversescale=True,
            showscale=False,
            hovertemplate=f"{bits} bits: grey %{{z}} of 255<extra></extra>",
        )
    lay_out(figure, HEIGHT)
    figure.update_xaxes(
        tickvals=[place * across + image.shape[1] / 2 for place in range(len(widths))],
        ticktext=[f"{bits} bits" for bits in widths],
        showgrid=False,
        constrain="domain",
    )
    figure.update_yaxes(
        autorange="reversed", scaleanchor="x", visible=False, constrain="domain", showgrid=False
    )
    return figure


def layers_figure(shares: Mapping[str, tuple[float, float]]) -> go.Figure:
    """Of each layer: its share of the weights beside its share of the damage."""
    figure = go.Figure()
    for place, (name, colour) in enumerate((("of the weights", GREY), ("of the damage", ORANGE))):
        figure.add_bar(
            x=list(range(len(shares))),
            y=[pair[place] for pair in shares.values()],
            name=name,
            marker={"color": colour},
            hovertemplate=f"%{{y:.1f}} % {name}<extra></extra>",
        )
    lay_out(figure, HEIGHT + 60)
    figure.update_xaxes(
        tickvals=list(range(len(shares))),
        ticktext=[plain(tidy(layer, 22)) for layer in shares],
        tickangle=-45,
    )
    figure.update_yaxes(title_text="Share, %")
    return figure


def answers_figure(classes: Sequence[str], before: np.ndarray, after: np.ndarray) -> go.Figure:
    """How sure a network is of each class, in float and quantized."""
    figure = go.Figure()
    for name, shares, colour in (("float", before, GREY), ("quantized", after, BLUE)):
        figure.add_bar(
            x=list(classes), y=(100 * shares).tolist(), name=name, marker={"color": colour}
        )
    lay_out(figure, HEIGHT)
    figure.update_yaxes(title_text="Sure of it, %")
    return figure


def front_figure(size: np.ndarray, loss: np.ndarray) -> go.Figure:
    """Points, and the front that the best of them make."""
    front = front_places(size, loss)
    behind = np.setdiff1d(np.arange(len(size)), front)
    figure = go.Figure()
    figure.add_scatter(
        x=size[behind].tolist(),
        y=loss[behind].tolist(),
        mode="markers",
        name="another is smaller and loses less",
        marker={"color": GREY, "size": 6},
        opacity=0.6,
    )
    figure.add_scatter(
        x=size[front].tolist(),
        y=loss[front].tolist(),
        mode="lines+markers",
        name="front",
        line={"shape": "hv", "color": BLUE},
        marker={"size": 9},
    )
    lay_out(figure, HEIGHT)
    figure.update_xaxes(title_text="Size, KiB")
    figure.update_yaxes(title_text="Loss, points", rangemode="tozero")
    return figure


def chance_figure(share: float, images: Sequence[int]) -> go.Figure:
    """The 95 % interval of one accuracy, measured on more and more images."""
    ends = [wilson_interval(share, n) for n in images]
    figure = go.Figure()
    figure.add_scatter(
        x=[f"{n:,}" for n in images],
        y=[100 * share] * len(images),
        mode="markers",
        marker={"color": BLUE, "size": 9},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [100 * (high - share) for _, high in ends],
            "arrayminus": [100 * (share - low) for low, _ in ends],
            "color": BLUE,
        },
        hovertemplate="%{y:.1f} % on %{x} images<extra></extra>",
    )
    lay_out(figure, HEIGHT)
    figure.update_xaxes(title_text="Images", type="category")
    figure.update_yaxes(title_text="Accuracy, %")
    return figure
