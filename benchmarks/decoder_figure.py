"""The picture of a language model's bits: perplexity above float against bits with scales.

SVG in the dashboard's colours, sharp at any size. Pure but for `write`.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pages.plots.style import GREY, LINE_COLOURS

ROOT = Path(__file__).parents[1]
FILES = {False: ROOT / "docs" / "decoder.svg", True: ROOT / "docs" / "decoder-dark.svg"}
"""Dark or not to the picture's file."""

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 380, 70, 40, 20, 50
TICKS = (0.1, 0.3, 1, 3, 10, 30, 100, 300)
LEAST = 0.1
"""Of the logarithmic axis, %; what lies below is drawn there."""


def write(found: Mapping[str, Any]) -> None:
    """Write both pictures."""
    for dark, path in FILES.items():
        path.write_text(picture(found, dark), encoding="utf-8")


def picture(found: Mapping[str, Any], dark: bool) -> str:
    """The picture as SVG text: one line a method, an interval at each point."""
    ink, ground = ("#e8e8e8", "#0e1117") if dark else ("#222222", "#ffffff")
    rows = found["rows"]
    most = max(row["above_float"]["interval"][1] for row in rows)
    low, high = math.floor(min(row["bits"] for row in rows)), max(row["bits"] for row in rows) + 0.3

    def x(bits: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (bits - low) / (high - low)

    def y(percent: float) -> float:
        share = math.log(max(percent, LEAST) / LEAST) / math.log(1.3 * most / LEAST)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12" fill="{ink}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{ground}"/>',
    ]
    for tick in (tick for tick in TICKS if tick < 1.3 * most):
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" '
            f'stroke="{GREY}" stroke-opacity="0.3"/>',
            f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g} %</text>',
        ]
    for bits in range(low, math.ceil(high)):
        parts.append(
            f'<text x="{x(bits):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{bits}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts += [
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">bits per weight, scales and '
        "norms included</text>",
        f'<text x="{LEFT}" y="{TOP - 22}">perplexity above the float network '
        f"({found['float_perplexity']:.1f}), 95 % intervals, "
        f"{found['passages']} passages</text>",
    ]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    colours = dict(zip(methods, (GREY, LINE_COLOURS[0]), strict=False))
    for at, method in enumerate(methods):
        mine = sorted((r for r in rows if r["method"] == method), key=lambda row: row["bits"])
        parts += _line(mine, x, y, colours[method])
        side = WIDTH - RIGHT - 150
        parts += [
            f'<circle cx="{side}" cy="{TOP + 4 + 18 * at}" r="4" fill="{colours[method]}"/>',
            f'<text x="{side + 10}" y="{TOP + 8 + 18 * at}">{method}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _line(rows: Sequence[Mapping[str, Any]], x: Any, y: Any, colour: str) -> list[str]:
    places = [(x(row["bits"]), y(row["above_float"]["percent"])) for row in rows]
    drawn = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    parts = [f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
    for row, (a, b) in zip(rows, places, strict=True):
        low, high = (y(end) for end in row["above_float"]["interval"])
        parts += [
            f'<line x1="{a:.1f}" x2="{a:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}" '
            'stroke-width="1.5"/>',
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{colour}"/>',
        ]
    return parts
