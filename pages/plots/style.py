"""How every figure looks: one colour per bit-width, a hue per family, a shape per method. Pure.

Text colours are left to Streamlit's theme and backgrounds are transparent, so that each figure
reads in light and in dark. Lines of reference use a grey that shows on both.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.basedatatypes import BasePlotlyType

from qcore.allocation import (
    BFLOAT16,
    FLOAT16,
    FLOAT_BITS,
    in_order,
)
from qcore.searches import SEARCHES
from qcore.widths import without_groups

BIT_COLOURS = {
    1: "#440154",
    2: "#46327e",
    3: "#365c8d",
    4: "#277f8e",
    5: "#1fa187",
    6: "#4ac16d",
    7: "#a0da39",
    8: "#fde725",
    9: "#fdea3c",
    10: "#feec54",
    11: "#feee6b",
    12: "#fef182",
    13: "#fef49a",
    14: "#fef6b1",
    15: "#fff8c9",
    16: "#fffbe0",
    BFLOAT16: "#e6d3ff",
    FLOAT16: "#bfe3ff",
    FLOAT_BITS: "#ffffff",
}
"""One colour per bit-width on every page: viridis, paling beyond 8 bits, lilac and blue for the
floats of 16 bits, and white for float."""

USUAL_WIDTHS = (*range(1, 9), FLOAT_BITS)
"""Widths that every ruler and legend has; others join where somebody uses them."""

DARK_DIGITS_FROM = 5
"""Bit-widths from here on are light cells and carry black digits, the others white ones."""

CHART = {
    "displaylogo": False,
    "displayModeBar": "hover",
    "toImageButtonOptions": {"format": "svg"},
}
"""Settings of every plotly chart: its buttons show on hovering, and its camera saves an SVG."""

BUTTONS_PX = 40
"""Right of the axes, for the chart's buttons: there they hide neither a legend nor a cell."""

LINE_COLOURS = (
    # Okabe and Ito
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    # and two of Tol's, that show on light and on dark too
    "#AA4499",
    "#999933",
)
"""Colours of lines that are not methods: layers, costs, quantities."""

FAMILY_COLOURS = {
    "one-shot": ("#009E73", "#5C8A14", "#2E8B57", "#7C8712", "#2FA34B"),
    "search": ("#0072B2", "#3A93DB", "#5468D4", "#2B7BE0", "#8661D1"),
    "trained": ("#C2407C", "#B37A00", "#E0483E", "#B5562B", "#C24AA8", "#D55E00"),
}
"""Family of a search to tones of its hue: greens, blues, warm ones; 3 to 1 on light and on dark."""

UNKNOWN_COLOURS = ("#8A7A5C",)
"""A method that this release does not know: no family's hue."""

METHOD_MARKERS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "x",
    "cross",
    "triangle-down",
    "star",
    "hexagon",
    "pentagon",
    "triangle-left",
    "triangle-right",
    "hexagram",
)
"""One shape a method."""

METHOD_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "5px")
"""Counts of tones, shapes and dashes have no common divisor: one comes again, a look does not."""
GREY = "#888888"
CELL_TEXT_LAYERS = 110
"""Beyond this many layers a cell is too narrow for its digit; hovering still tells."""


def style_of(method: str) -> dict[str, str]:
    """Colour, marker and dash of a method: the same on every page, whatever else is shown.

    The hue says its family, the shape which method it is.

    Args:
        method: Title of a search, and after a comma what else was done.

    Returns:
        "colour" (#rrggbb), "marker" and "dash", as plotly names them.
    """
    base, _, variant = method.partition(",")
    if base == SEARCHES["uniform"].title:
        return {"colour": GREY, "marker": "square", "dash": "dot"}
    search = next((search for search in SEARCHES.values() if search.title == base), None)
    place = None if search is None else search.look
    if place is None:
        place = sum(map(ord, base))
    tones = UNKNOWN_COLOURS if search is None else FAMILY_COLOURS[search.family]
    shift = 0 if not variant else 1
    return {
        "colour": tones[place % len(tones)],
        "marker": METHOD_MARKERS[(place + shift) % len(METHOD_MARKERS)],
        "dash": METHOD_DASHES[(place + shift) % len(METHOD_DASHES)],
    }


def shown_colours(widths: Iterable[int]) -> dict[int, str]:
    """Widths that a legend lists, narrowest first, with their colours: the usual ones and these."""
    shown = {*USUAL_WIDTHS, *widths}
    return {width: bit_colour(width) for width in in_order(shown)}


def steps_of(colours: Mapping[int, str]) -> list[tuple[float, str]]:
    """A colour scale of even steps, one for each width in its order."""
    count = len(colours)
    return [
        stop
        for code, colour in enumerate(colours.values())
        for stop in ((code / count, colour), ((code + 1) / count, colour))
    ]


def bit_colour(bits: int) -> str:
    """The colour of any width; groups do not change it."""
    return BIT_COLOURS[without_groups(bits)]


def digit_colour(bits: int) -> str:
    """Black or white: what a digit on the cell of a bit-width is written in."""
    return "#000000" if without_groups(bits) >= DARK_DIGITS_FROM else "#ffffff"


def icon() -> str:
    """The browser tab's icon as SVG: one bar per bit-width, taller with more bits.

    Drawn here because Streamlit would fetch a named icon from another host.
    """
    bars = "".join(
        f'<rect x="{4 * bits - 4}" y="{32 - 4 * bits}" width="4" height="{4 * bits}" '
        f'fill="{BIT_COLOURS[bits]}"/>'
        for bits in range(1, 9)
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{bars}</svg>'


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def plain(text: str) -> str:
    """Escape a label: plotly reads a small set of tags, and a layer's name must never be one."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def put(figure: go.Figure, **values: Any) -> None:
    """Set parts of a figure's layout: what `figure.update_layout` does, in a fifth of its time.

    Of `xaxis` and `yaxis`, those of a figure with one pair of axes, as `update_xaxes` does.

    Args:
        figure: The figure.
        values: Name of a part to its value; of parts with parts of their own, to those that change.
    """
    _put(figure.layout, values)


def _put(part: BasePlotlyType, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping):
            _put(part[name], value)
        else:
            part[name] = value


def lay_out(figure: go.Figure, height: int, top: int = 30) -> None:
    """What figures with axes share: size in pixels, the legend above, the theme's colours.

    Not a template of plotly's: Streamlit writes its own margins and an opaque background into it.

    Args:
        figure: The figure.
        height: Its height in pixels.
        top: Pixels above its axes.
    """
    put(
        figure,
        height=height,
        margin={"l": 10, "r": BUTTONS_PX, "t": top, "b": 10},
        modebar={"orientation": "v", "bgcolor": "rgba(0,0,0,0)"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.03, "x": 0},
    )


def faded(colour: str) -> str:
    """A colour half seen through, for the intervals of its marks."""
    red, green, blue = _rgb(colour)
    return f"rgba({red},{green},{blue},0.45)"
