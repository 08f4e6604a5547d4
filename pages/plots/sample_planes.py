"""One sample that lies in a plane: a picture, a map of classes, a difference. Pure."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from pages.plots.style import GREY, LINE_COLOURS, lay_out, plain
from pages.shared.text import tidy

HEIGHT = 260
MOST_NAMED = 200
"""Classes of a map that are told apart by name."""

SLACK = 0.02
"""How far beyond 0..1 numbers may lie that are still shown as a picture's colours."""


def is_picture(planes: np.ndarray) -> bool:
    """True where planes (planes, height, width) are the pixels of a grey or colour picture."""
    if len(planes) not in (1, 3) or min(planes.shape[1:]) < 2:
        return False
    if planes.dtype == np.uint8:
        return True
    return len(planes) == 3 and bool((planes >= -SLACK).all() and (planes <= 1 + SLACK).all())


def picture_figure(planes: np.ndarray) -> go.Figure:
    """A picture (1 or 3 planes, height, width), uint8 or numbers of 0..1."""
    pixels = planes if planes.dtype == np.uint8 else (planes.clip(0, 1) * 255).round()
    figure = go.Figure()
    if len(planes) == 3:
        figure.add_image(z=np.moveaxis(pixels, 0, 2).astype(np.uint8).tolist())
    else:
        _add(figure, pixels[0], "Greys", (0, 255), "grey %{z} of 255", reverse=True, scale=False)
    return _framed(figure, planes.shape[2])


def number_figure(plane: np.ndarray, low: float, high: float, what: str) -> go.Figure:
    """Numbers of a plane (height, width), from dark to light between low and high."""
    figure = go.Figure()
    _add(figure, plane, "Viridis", (low, high), plain(what) + " %{z:.4g}")
    return _framed(figure, plane.shape[1])


def change_figure(plane: np.ndarray, what: str) -> go.Figure:
    """Signed differences of a plane (height, width): blue is less, orange more, white the same."""
    most = float(np.abs(plane).max()) or 1.0
    figure = go.Figure()
    scale = [[0, LINE_COLOURS[0]], [0.5, "#f7f7f7"], [1, LINE_COLOURS[1]]]
    _add(figure, plane, scale, (-most, most), plain(what) + " %{z:+.4g}")
    return _framed(figure, plane.shape[1])


def class_figure(plane: np.ndarray, names: Sequence[str]) -> go.Figure:
    """Classes of a plane (height, width), one colour each; negative where none counts."""
    figure = go.Figure()
    colours = [GREY, *LINE_COLOURS]
    codes = np.where(plane < 0, 0, 1 + plane % len(LINE_COLOURS))
    steps = [
        [end, colour]
        for at, colour in enumerate(colours)
        for end in (at / len(colours), (at + 1) / len(colours))
    ]
    words = {int(number): _name(int(number), names) for number in np.unique(plane)[:MOST_NAMED]}
    figure.add_heatmap(
        z=codes.tolist(),
        zmin=-0.5,
        zmax=len(colours) - 0.5,
        colorscale=steps,
        showscale=False,
        hovertext=[[words.get(int(n), str(int(n))) for n in row] for row in plane],
        hovertemplate="%{hovertext} at %{x}, %{y}<extra></extra>",
    )
    return _framed(figure, plane.shape[1])


def _name(number: int, names: Sequence[str]) -> str:
    if number < 0:
        return "does not count"
    return plain(tidy(names[number])) if number < len(names) else f"class {number}"


def _add(
    figure: go.Figure,
    plane: np.ndarray,
    colours: object,
    ends: tuple[float, float],
    words: str,
    reverse: bool = False,
    scale: bool = True,
) -> None:
    figure.add_heatmap(
        z=plane.tolist(),
        zmin=ends[0],
        zmax=ends[1],
        colorscale=colours,
        reversescale=reverse,
        showscale=scale,
        # below, so that planes beside one another are of one size
        colorbar={
            "orientation": "h",
            "y": -0.02,
            "yanchor": "top",
            "thickness": 10,
            "outlinecolor": GREY,
            "outlinewidth": 1,
            "nticks": 4,
            "tickformat": ".2~g",
        },
        hovertemplate=words + " at %{x}, %{y}<extra></extra>",
    )


def _framed(figure: go.Figure, width: int) -> go.Figure:
    rows = len(figure.data[0].z)
    lay_out(figure, 150 if rows == 1 else HEIGHT, top=10)
    figure.update_layout(margin={"l": 0, "r": 0, "b": 50})
    figure.update_xaxes(showgrid=False, visible=False, constrain="domain")
    figure.update_yaxes(
        showgrid=False, visible=False, autorange="reversed", constrain="domain", zeroline=False
    )
    # very long or flat planes are stretched, so that their places can be seen
    if 1 / 4 <= rows / width <= 4:
        figure.update_yaxes(scaleanchor="x")
    return figure
