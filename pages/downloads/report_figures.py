"""The report's pictures as inline SVG: bits, area-true size, front, difference. Pure functions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import groupby

import pandas as pd

from pages.plots.style import (
    CELL_TEXT_LAYERS,
    GREY,
    bit_colour,
    digit_colour,
    shown_colours,
    style_of,
)
from pages.shared import frames
from pages.shared.columns import SEARCH_SCORE, column_of
from pages.shared.text import bits_text, cost_text, scale_of, significant
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec, stored_bits, width_words
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel

Place = Callable[[float, float], tuple[float, float]]
"""(cost, percent) to (x, y) in the picture."""

WIDTH = 900
LEFT, RIGHT = 150, 10
MOST_POINTS = 600
NAME_LENGTH = 22


def cut(name: str, most: int = NAME_LENGTH) -> str:
    """A name that fits: its end, where layers differ."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def bits_picture(model: ModelSpec, rows: Sequence[tuple[str, BitAllocation]]) -> str:
    """Bits of every layer: a row for weights and one for activations of each allocation."""
    count = len(model.layers)
    step, high = (WIDTH - LEFT - RIGHT) / count, 22
    parts, y = [], 0.0
    used: set[int] = set()
    for label, allocation in rows:
        for part in ("weights", "activations"):
            widths = [
                allocation[name].weight if part == "weights" else allocation[name].activation
                for name in model.names
            ]
            parts.append(words(f"{label}: {part}", 0, y + 15))
            parts.append(_cells(widths, y, step, high))
            used |= set(widths)
            y += high + 1
        y += 6
    if count <= 60:
        for at, name in enumerate(model.names):
            x = LEFT + (at + 0.5) * step
            turn = f"rotate(-45 {x:.1f} {y + 12:.1f})"
            parts.append(words(cut(name), x, y + 12, text_anchor="end", transform=turn))
        y += 110
    parts.append(words("Layer, in execution order", WIDTH / 2, y + 16, text_anchor="middle"))
    y += 24
    return picture("".join(parts) + _legend(y, used), WIDTH, y + 24, "Bits of every layer")


def _cells(widths: Sequence[int], y: float, step: float, high: float) -> str:
    shown, at = [], 0
    digits = len(widths) <= CELL_TEXT_LAYERS
    for width, same in groupby(widths):
        length = len(list(same))
        # one rectangle for neighbours of one width keeps long networks small
        for start, span in [(at + n, 1) for n in range(length)] if digits else [(at, length)]:
            x, wide = LEFT + start * step, span * step
            shown.append(_cell(width, x, y, wide - (0.6 if digits else 0), high))
            if digits and step >= 8:
                shown.append(_digit(width, x + wide / 2, y + 15))
        at += length
    return "".join(shown)


def _cell(width: int, x: float, y: float, wide: float, high: float) -> str:
    edge = GREY if width == FLOAT_BITS else None
    return element("rect", x=x, y=y, width=wide, height=high, fill=bit_colour(width), stroke=edge)


def _digit(width: int, x: float, y: float) -> str:
    colour = digit_colour(width)
    return words(bits_text(width), x, y, fill=colour, text_anchor="middle", font_size=11)


def _legend(y: float, used: Iterable[int]) -> str:
    parts = [words("bits", LEFT, y + 13)]
    for at, width in enumerate(shown_colours(used)):
        x = LEFT + 40 + 32 * at
        parts += [_cell(width, x, y, 28, 18), _digit(width, x + 14, y + 13)]
    return "".join(parts)


def area_picture(model: ModelSpec, allocation: BitAllocation) -> str:
    """Width is a layer's share of the weights, height its bits, so the area is its bytes."""
    total = sum(layer.weights for layer in model.layers) or 1
    room, tall = WIDTH - 60 - RIGHT, 220
    top = max([8, *(stored_bits(b.weight) for b in allocation.values() if b.weight != FLOAT_BITS)])
    parts, x = [], 60.0
    for layer in model.layers:
        bits = allocation[layer.name].weight
        wide = room * layer.weights / total
        high = tall * min(stored_bits(bits), top) / top
        parts.append(_cell(bits, x, tall + 10 - high, max(0.3, wide - 0.5), high))
        if wide >= 46:
            name = cut(layer.name, int(wide / 7))
            colour = digit_colour(bits)
            price = COSTS["weight_bytes"]
            size = cost_text(price, price.layer_cost(layer, allocation[layer.name]))
            for row, line in enumerate((name, width_words(bits), size)):
                if high > 20 + 14 * row:
                    parts.append(words(line, x + 4, tall + 26 - high + 14 * row, fill=colour))
        x += wide
    for bits in range(0, top + 1, 2):
        y = tall + 10 - tall * bits / top
        parts.append(words(str(bits), 52, y + 4, text_anchor="end"))
    parts.append(
        words("Bits per weight", 0, 0, transform=f"translate(14 {tall / 2 + 60:.0f}) rotate(-90)")
    )
    axis = f"Layers in execution order; width = share of {total:,} weights, area = bytes"
    parts.append(words(axis, WIDTH / 2, tall + 32, text_anchor="middle"))
    return picture("".join(parts), WIDTH, tall + 42, "Where the bytes of the weights are")


def front_picture(
    frame: pd.DataFrame, here: tuple[float, float] | None, cost: CostModel, what: str
) -> str:
    """Step-line front of every method against a cost, all points faint, this one ringed.

    Args:
        frame: `points_frame`, of one setting.
        here: (cost, score as it is shown) of the reported configuration on the same split, or None.
        cost: Cost on the x axis.
        what: Title of the y axis, with unit.
    """
    column, score = column_of(cost), SEARCH_SCORE
    largest = float(max([frame[column].max(), *([here[0]] if here else [])]))
    factor, unit = scale_of(cost, largest)
    lows = [float(frame[score].min()), *([here[1]] if here else [])]
    highs = [float(frame[score].max()), *([here[1]] if here else [])]
    low, high = min(lows) - 1, min(100.0, max(highs) + 1)
    tall, left = 320, 60

    def place(value: float, percent: float) -> tuple[float, float]:
        x = left + (WIDTH - left - RIGHT) * value / (1.05 * largest or 1)
        return x, 10 + tall * (high - percent) / max(1e-9, high - low)

    parts = [_axes(low, high, largest / factor, place, factor)]
    y_legend = tall + 64
    for at, (method, rows) in enumerate(frame.groupby("method", sort=False)):
        style = style_of(str(method))
        for value, percent in frames.thin(rows, MOST_POINTS // 4)[[column, score]].to_numpy():
            x, y = place(float(value), float(percent))
            parts.append(element("circle", cx=x, cy=y, r=2, fill=style["colour"], opacity=0.35))
        parts.append(_front(frames.front_of(rows, cost), column, style, place))
        x, y = left + 220 * (at % 4), y_legend + 18 * (at // 4)
        parts.append(element("rect", x=x, y=y - 9, width=14, height=10, fill=style["colour"]))
        parts.append(words(cut(str(method), 28), x + 20, y))
    if here:
        x, y = place(*here)
        ring = {"fill": "none", "stroke": "currentColor", "stroke_width": 2.5}
        parts.append(element("circle", cx=x, cy=y, r=9, **ring))
    axis = f"{cost.title}, {unit}"
    parts.append(words(axis, WIDTH / 2, tall + 44, text_anchor="middle"))
    parts.append(words(what, 0, 0, transform=f"translate(14 {tall / 2 + 100:.0f}) rotate(-90)"))
    rows_of_legend = -(-frame["method"].nunique() // 4)
    return picture("".join(parts), WIDTH, y_legend + 18 * rows_of_legend, f"{what} against {axis}")


def _front(front: pd.DataFrame, column: str, style: Mapping[str, str], place: Place) -> str:
    points: list[str] = []
    marks, last = [], None
    for value, percent in front[[column, SEARCH_SCORE]].to_numpy():
        x, y = place(float(value), float(percent))
        if last is not None:
            points.append(f"{x:.1f},{last:.1f}")
        points.append(f"{x:.1f},{y:.1f}")
        marks.append(element("circle", cx=x, cy=y, r=4, fill=style["colour"]))
        last = y
    dash = {"solid": None, "dot": "2 3"}.get(style["dash"], "7 4")
    line = {"fill": "none", "stroke": style["colour"], "stroke_width": 2}
    return element("polyline", points=" ".join(points), stroke_dasharray=dash, **line) + "".join(
        marks
    )


def _axes(low: float, high: float, largest: float, place: Place, factor: float) -> str:
    parts = []
    for tick in range(6):
        percent = low + (high - low) * tick / 5
        x, y = place(0.0, percent)
        line = {"stroke": GREY, "stroke_width": 0.5}
        parts.append(element("line", x1=x, x2=WIDTH - RIGHT, y1=y, y2=y, **line))
        parts.append(words(f"{percent:.1f}", x - 6, y + 4, text_anchor="end"))
        value = largest * tick / 5
        x, y = place(value * factor, low)
        parts.append(words(significant(value), x, y + 18, text_anchor="middle"))
    return "".join(parts)


def change_picture(
    model: ModelSpec, before: BitAllocation, after: BitAllocation, label: str
) -> str:
    """Signed change of weight bits of each layer that changed, from one allocation to another."""
    changed = [
        (name, after[name].weight - before[name].weight)
        for name in model.names
        if after[name].weight != before[name].weight
    ]
    title = f"Change of weight bits against {label}"
    if not changed:
        return picture(words("Every layer has the same bits.", 0, 16), WIDTH, 24, title)
    step, middle = (WIDTH - 60 - RIGHT) / len(changed), 90
    parts = [element("line", x1=60, x2=WIDTH - RIGHT, y1=middle, y2=middle, stroke=GREY)]
    for at, (name, delta) in enumerate(changed):
        x, high = 60 + at * step, 10.0 * min(7, abs(delta))
        colour = "#D55E00" if delta > 0 else "#0072B2"
        y = middle - high if delta > 0 else middle
        parts.append(element("rect", x=x, y=y, width=max(0.5, step - 1), height=high, fill=colour))
        if step >= 14:
            y_text = middle - high - 4 if delta > 0 else middle + high + 13
            parts.append(words(f"{delta:+d}", x + step / 2, y_text, text_anchor="middle"))
        if len(changed) <= 60:
            turn = f"rotate(-45 {x + step / 2:.1f} 172)"
            parts.append(words(cut(name), x + step / 2, 172, text_anchor="end", transform=turn))
    parts.append(words("Bits, change", 0, 0, transform="translate(14 130) rotate(-90)"))
    parts.append(words("Layers that differ", WIDTH / 2, 284, text_anchor="middle"))
    return picture("".join(parts), WIDTH, 294, title)


def element(name: str, content: str = "", /, **attributes: object) -> str:
    """One element. Attribute values are escaped; content must be elements or `escape`d text.

    Underscores in attribute names become hyphens, `class_` becomes "class".
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def number(value: object) -> str:
    """A value as an attribute: floats with at most two decimals."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)


def words(text: str, x: float, y: float, **attributes: object) -> str:
    """Text at a place; the page's text colour unless `fill` says otherwise."""
    shown = {"fill": "currentColor", "font_size": 12, **attributes}
    return element("text", escape(text), x=float(x), y=float(y), **shown)


def picture(content: str, width: float, height: float, title: str) -> str:
    """A whole picture with a title for screen readers; scales down to its container."""
    return element(
        "svg",
        element("title", escape(title)) + content,
        viewBox=f"0 0 {number(float(width))} {number(float(height))}",
        width=float(width),
        height=float(height),
        role="img",
        style="max-width:100%;height:auto",
    )
