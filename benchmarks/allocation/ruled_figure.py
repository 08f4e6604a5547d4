"""The picture of what rules cost: fronts above, paired test losses below. Pure but for `write`.

SVG, so that it is sharp at any size and needs no browser; colours and shapes of the dashboard.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.allocation.ruled import FREE, MODELS, SETTINGS, Setting
from pages.plots.style import GREY, LINE_COLOURS

ROOT = Path(__file__).parents[2]
FILES = {False: ROOT / "docs" / "rules.svg", True: ROOT / "docs" / "rules-dark.svg"}
"""Dark or not to the picture's file."""

WIDE, LEFT, GAP = 340, 64, 64
FRONT, LOSS, BETWEEN = 120, 110, 22
BLOCK = FRONT + LOSS + BETWEEN + 74
"""Pixels: columns, at the left, between columns; both plots, between them; a row."""

Scale = Callable[[float], float]


def write(found: Mapping[str, Any]) -> None:
    """Write both pictures."""
    for dark, path in FILES.items():
        path.write_text(picture(found, dark), encoding="utf-8")


def picture(found: Mapping[str, Any], dark: bool) -> str:
    """The picture as SVG text; settings side by side, networks under one another."""
    ink, ground = ("#e8e8e8", "#0e1117") if dark else ("#222222", "#ffffff")
    measured = {row["model"] for row in found["rows"] if "interval" in row}
    models = [model for model in MODELS if model in measured]
    rules = list(dict.fromkeys(f["rule"] for f in found["fronts"]))
    colours = {FREE: GREY, **dict(zip((r for r in rules if r != FREE), LINE_COLOURS, strict=False))}
    width = LEFT + len(SETTINGS) * (WIDE + GAP)
    legend, top = _legend(colours, width)
    height = top + len(models) * BLOCK
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="{ink}">',
        f'<rect width="{width}" height="{height}" fill="{ground}"/>',
        *legend,
    ]
    for row, model in enumerate(models):
        for column, setting in enumerate(SETTINGS):
            corner = LEFT + column * (WIDE + GAP), top + row * BLOCK
            parts += _panel(found, model, setting, colours, corner, column == 0)
    return "\n".join([*parts, "</svg>\n"])


def _legend(colours: Mapping[str, str], width: int) -> tuple[list[str], int]:
    """What colours mean, and where the pictures may begin below."""
    parts, x, y = [], LEFT, 18
    for rule, colour in colours.items():
        long = 34 + 7 * len(rule)
        if x + long > width:
            x, y = LEFT, y + 20
        parts.append(f'<path d="M{x} {y - 4}h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 24}" y="{y}">{escape(rule)}</text>')
        x += long
    return parts, y + 36


def _panel(
    found: Mapping[str, Any],
    model: str,
    setting: Setting,
    colours: Mapping[str, str],
    corner: tuple[int, int],
    first: bool,
) -> list[str]:
    left, top = corner
    x = _scale(setting.bits[0] - 0.35, 8, left, left + WIDE)
    fronts = [f for f in found["fronts"] if (f["model"], f["setting"]) == (model, setting.name)]
    mine = [r for r in found["rows"] if (r["model"], r["setting"]) == (model, setting.name)]
    lost = next((f", points of {r['score']}" for r in mine if "score" in r), "")
    title = f"{model}, {setting.name}{lost}"
    parts = [f'<text x="{left}" y="{top - 8}" font-weight="bold">{escape(title)}</text>']
    parts += _fronts(fronts, colours, x, top, left, first)
    parts += _losses(mine, colours, x, top + FRONT + BETWEEN, left, first)
    bottom = top + FRONT + BETWEEN + LOSS
    for bits in (3, 4, 5, 6, 7, 8):
        parts.append(
            f'<text x="{x(bits):.0f}" y="{bottom + 15}" text-anchor="middle">{bits}</text>'
        )
    words = "mean bits of the budget, in bytes"
    parts.append(
        f'<text x="{left + WIDE / 2}" y="{bottom + 32}" text-anchor="middle">{words}</text>'
    )
    return parts


def _fronts(
    fronts: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    x: Scale,
    top: int,
    left: int,
    first: bool,
) -> list[str]:
    values = [
        d for f in fronts for b, d in zip(f["bits"], f["damage"], strict=True) if d > 0 and b <= 8
    ]
    if not values:
        return []
    least, most = math.log10(max(min(values), max(values) / 1e4)), math.log10(max(values))
    y = _scale(least, most, top + FRONT, top)
    parts = [_frame(left, top, FRONT)]
    powers = range(math.ceil(least), math.floor(most) + 1)
    parts += [_level(left, y(power), f"1e{power}") for power in powers]
    if first:
        parts.append(_upright("predicted", left - 50, top + FRONT / 2))
    for front in fronts:
        wide = 3.5 if front["rule"] == FREE else 1.6
        parts.append(
            f'<path d="{_steps(front, x, y, least, left)}" fill="none" stroke-width="{wide}" '
            f'stroke="{colours[front["rule"]]}"/>'
        )
    return parts


def _steps(front: Mapping[str, Any], x: Scale, y: Scale, least: float, left: int) -> str:
    """A front as steps, from the left edge or its first member to the right edge."""
    path, entered = "", ""
    for bits, damage in sorted(zip(front["bits"], front["damage"], strict=True)):
        height = y(max(least, math.log10(damage)) if damage > 0 else least)
        if x(bits) < left:  # what lies before the edge is where the front comes in
            entered = f"M{left} {height:.1f}"
        elif x(bits) <= left + WIDE + 1:
            path = path or entered or f"M{x(bits):.1f} {height:.1f}"
            path += f"H{x(bits):.1f}V{height:.1f}"
    return f"{path or entered or f'M{left} {y(least)}'}H{left + WIDE}"


def _losses(
    rows: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    x: Scale,
    top: int,
    left: int,
    first: bool,
) -> list[str]:
    measured = [row for row in rows if "interval" in row]
    parts = [_frame(left, top, LOSS)]
    if not measured:
        words = f'<text x="{left + 12}" y="{top + LOSS / 2}">not measured yet</text>'
        return [*parts, words]
    low = min(-0.2, *(row["interval"][0] for row in measured))
    high = max(0.2, *(row["interval"][1] for row in measured))
    y = _scale(low, high, top + LOSS - 4, top + 4)
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if (high - low) / s <= 6)
    marks = range(math.ceil(low / step), math.floor(high / step) + 1)
    parts += [_level(left, y(n * step), f"{n * step:+.3g}" if n else "0") for n in marks]
    if first:
        parts.append(_upright("points lost", left - 50, top + LOSS / 2))
    rules = [rule for rule in colours if rule != FREE]
    for row in measured:
        at = x(row["bits"]) + 6 * (rules.index(row["rule"]) - (len(rules) - 1) / 2)
        colour, tie = colours[row["rule"]], row["verdict"] == "tie"
        if not row["same"]:
            low, high = (y(value) for value in row["interval"])
            line = f"M{at:.1f} {low:.1f}V{high:.1f}"
            parts.append(f'<path d="{line}" stroke="{colour}" opacity="0.6"/>')
        fill = f'fill="none" stroke="{colour}"' if tie else f'fill="{colour}"'
        parts.append(f'<circle cx="{at:.1f}" cy="{y(row["points"]):.1f}" r="3" {fill}/>')
    return parts


def _frame(left: int, top: int, high: int) -> str:
    return f'<path d="M{left} {top}V{top + high}H{left + WIDE}" fill="none" stroke="{GREY}"/>'


def _level(left: int, y: float, words: str) -> str:
    line = f'<path d="M{left} {y:.1f}h{WIDE}" stroke="{GREY}" opacity="0.25"/>'
    return f'{line}<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{words}</text>'


def _upright(words: str, x: float, y: float) -> str:
    turn = f"rotate(-90 {x} {y})"
    return f'<text x="{x}" y="{y}" text-anchor="middle" transform="{turn}">{words}</text>'


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: start + (end - start) * (value - low) / span
