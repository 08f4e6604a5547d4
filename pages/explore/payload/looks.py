"""What the budget explorer draws and says with: marks, dashes, clean names, fixed words. Pure."""

import base64
import math
import re
from typing import Any

import numpy as np

from pages.plots.style import GREY, style_of

LONGEST_METHOD = 40
LONGEST_LAYER = 120
LONGEST_SHORT = 40
LONGEST_TAG = 13

AREAS = {
    "bytes": {
        "area": "bytes",
        "title": "Where the bytes are",
        "x": "Share of weights, %",
        "y": "Weight bits",
        "words": "Each layer as a block: width is its share of weights, height its bits.",
    },
    "ops": {
        "area": "bit operations",
        "title": "Where the compute is",
        "x": "Share of multiply-accumulates, %",
        "y": "Weight bits \u00d7 activation bits",
        "words": "Each layer as a block: width is its share of compute, height its bits.",
    },
}
"""What the area-true plot can show: its title, axes, and what a screen reader is told."""

HINTS = (
    "Drag a budget: every method shows the best bits it found within it.",
    "Point at anything to see it in all three plots; click a point of the front for its details.",
    "Below, take the chosen bits away as a file, measure them again or edit them by hand.",
)

_DASHES = {
    "solid": [],
    "dash": [8, 5],
    "dot": [2, 4],
    "dashdot": [8, 4, 2, 4],
    "longdash": [13, 5],
    "longdashdot": [13, 4, 2, 4],
    "5px": [5, 5],
}
_SHAPES = {
    "circle": (24, 0, 1.0),
    "square": (4, 1, 1.2),
    "diamond": (4, 0, 1.3),
    "triangle-up": (3, 0, 1.3),
    "triangle-down": (3, 1, 1.3),
    "hexagon": (6, 0, 1.1),
    "pentagon": (5, 0, 1.15),
    "triangle-left": (3, 1.5, 1.3),
    "triangle-right": (3, 0.5, 1.3),
    "star": (5, 0, 1.4),
    "hexagram": (6, 0, 1.3),
    "x": (4, 1, 1.3),
    "cross": (4, 0, 1.3),
}
"""Corners, half steps turned and size of each marker."""

_POINTED = ("star", "hexagram", "x", "cross")
_UNPRINTABLE = re.compile("[\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(name: str, most: int) -> str:
    """A name of any length and script, as a canvas and a tooltip can bear it."""
    letters = _UNPRINTABLE.sub(" ", name)
    return letters if len(letters) <= most else letters[: most - 1] + "…"


def look_of(method: str) -> dict[str, Any]:
    """How a method is drawn: the look it has on every page, as a canvas needs it."""
    style = style_of(method)
    return {
        "label": method,
        "title": clean(method, LONGEST_METHOD),
        "colour": style["colour"],
        "path": marker_path(style["marker"]),
        "dash": _DASHES[style["dash"]],
        # the same bits everywhere are what the others are compared with
        "uniform": style["colour"] == GREY,
    }


def parts_of(floats: bool) -> dict[str, Any]:
    """What the two rows of a method in the heatmap are; `floats` where activations stay float."""
    both = "weights; activations in float" if floats else "weights / activations"
    return {"floats": floats, "parts": both}


def marker_path(marker: str) -> str:
    """A marker of radius about 1 around the origin, as the path of an SVG."""
    corners, turned, size = _SHAPES[marker]
    steps = 2 * corners if marker in _POINTED else corners
    start = turned * math.pi / corners - math.pi / 2
    places = []
    for step in range(steps):
        far = size * (0.42 if steps > corners and step % 2 else 1)
        angle = start + 2 * math.pi * step / steps
        places.append(f"{far * math.cos(angle):.3f} {far * math.sin(angle):.3f}")
    return f"M{'L'.join(places)}Z"


def packed(values: Any, kind: str) -> dict[str, str]:
    """Numbers as {kind: base64}; `kind` is "f8", "f4", "u4", "i4" or "u1", little-endian."""
    array = np.ascontiguousarray(values, f"<{kind}")
    return {kind: base64.b64encode(array.tobytes()).decode()}
