"""Figures from tables; no data is fetched and nothing is drawn on a page here. Pure functions.

Text colours are left to Streamlit's theme and backgrounds are transparent, so that each figure
reads in light and in dark. Lines of reference use a grey that shows on both.
"""

from collections.abc import Mapping
from itertools import islice

import pandas as pd
import plotly.graph_objects as go

from pages.ui import frames
from pages.ui.text import bits_text, scale_of
from qcore.allocation import FLOAT_BITS
from qcore.costs import COSTS
from qcore.searches import SEARCHES

BIT_COLOURS = {
    1: "#440154",
    2: "#46327e",
    3: "#365c8d",
    4: "#277f8e",
    5: "#1fa187",
    6: "#4ac16d",
    7: "#a0da39",
    8: "#fde725",
    FLOAT_BITS: "#ffffff",
}
"""One colour per bit-width on every page: viridis, and white for float."""

DARK_DIGITS_FROM = 5
"""Bit-widths from here on are light cells and carry black digits, the others white ones."""

METHOD_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),  # Okabe and Ito
    *("#AA4499", "#999933"),  # and two of Tol's, that show on light and on dark too
)
METHOD_MARKERS = (
    *("circle", "square", "diamond", "triangle-up", "x", "cross"),
    *("triangle-down", "star", "hexagon"),
)
METHOD_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "5px")
"""Their numbers have no common divisor: colours come again, looks do not."""
GREY = "#888888"
CELL_TEXT_LAYERS = 110
"""Beyond this many layers a cell is too narrow for its digit; hovering still tells."""


def style_of(method: str) -> dict[str, str]:
    """Colour, marker and dash of a method: the same on every page, whatever else is shown."""
    titles = [search.title for search in SEARCHES.values() if search.name != "uniform"]
    base, _, variant = method.partition(",")
    if base == SEARCHES["uniform"].title:
        return {"colour": GREY, "marker": "square", "dash": "dot"}
    place = titles.index(base) if base in titles else sum(map(ord, base))
    shift = 0 if not variant else 1
    return {
        "colour": METHOD_COLOURS[place % len(METHOD_COLOURS)],
        "marker": METHOD_MARKERS[(place + shift) % len(METHOD_MARKERS)],
        "dash": METHOD_DASHES[(place + shift) % len(METHOD_DASHES)],
    }


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


def bit_heatmap(bits: pd.DataFrame) -> go.Figure:
    """Bits of every layer: two rows, weights and activations, per method.

    Args:
        bits: What `frames.bits_frame` returns.

    Returns:
        One heatmap trace per method; x is the layer's place in execution order.
    """
    figure = go.Figure()
    ticks: list[float] = []
    labels: list[str] = []
    methods = list(dict.fromkeys(bits["method"]))
    layers = list(dict.fromkeys(bits["layer"]))
    codes = {width: code for code, width in enumerate(BIT_COLOURS, start=1)}
    for place, method in enumerate(methods):
        rows = bits[bits["method"] == method]
        parts = [rows[rows["part"] == part] for part in ("weights", "activations")]
        at = [place * 2.35, place * 2.35 + 1]
        ticks += at
        labels += [f"{method}: weights", f"{method}: activations"]
        figure.add_heatmap(
            name=method,
            x=list(range(1, len(layers) + 1)),
            y=at,
            z=[[codes[width] for width in part["bits"]] for part in parts],
            text=[[bits_text(width) for width in part["bits"]] for part in parts],
            hovertext=[[_cell_words(row) for row in part.to_dict("records")] for part in parts],
            hovertemplate="%{hovertext}<extra>" + plain(method) + "</extra>",
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
        )
        figure.add_shape(
            type="rect",
            x0=0.5,
            x1=len(layers) + 0.5,
            y0=at[0] - 0.5,
            y1=at[1] + 0.5,
            line={"color": GREY, "width": 1},
        )
        if len(layers) <= CELL_TEXT_LAYERS:
            _add_digits(figure, parts, at)
    count = len(BIT_COLOURS)
    steps = [
        stop
        for code, colour in enumerate(BIT_COLOURS.values())
        for stop in ((code / count, colour), ((code + 1) / count, colour))
    ]
    every = max(1, len(layers) // 60 + 1)
    figure.update_layout(
        height=_heatmap_height(len(methods), max(map(len, layers), default=0)),
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        coloraxis={
            "colorscale": steps,
            "cmin": 0.5,
            "cmax": count + 0.5,
            "colorbar": {
                "title": {"text": "bits"},
                "tickvals": list(codes.values()),
                "ticktext": [bits_text(width) for width in codes],
                "outlinewidth": 1,
                "outlinecolor": GREY,
                "thickness": 14,
                "lenmode": "pixels",
                "len": 190,
                "y": 1,
                "yanchor": "top",
            },
        },
    )
    figure.update_xaxes(
        title_text="Layer, in execution order",
        tickvals=list(range(1, len(layers) + 1, every)),
        ticktext=[plain(name) for name in layers[::every]],
        tickangle=-45,
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(
        tickvals=ticks,
        ticktext=[plain(label) for label in labels],
        autorange="reversed",
        showgrid=False,
        zeroline=False,
    )
    return figure


def _heatmap_height(methods: int, longest: int) -> int:
    # 30 pixels a row, and room for the longest layer name at 45 degrees
    return max(230, round(30 * 2.35 * methods) + 70 + round(4.6 * min(longest, 40)))


def _add_digits(figure: go.Figure, parts: list[pd.DataFrame], at: list[float]) -> None:
    for colour, dark in (("#ffffff", False), ("#000000", True)):
        cells = [
            (position, y, bits_text(width))
            for part, y in zip(parts, at, strict=True)
            for position, width in zip(part["position"], part["bits"], strict=True)
            if (width >= DARK_DIGITS_FROM) is dark
        ]
        figure.add_scatter(
            x=[cell[0] for cell in cells],
            y=[cell[1] for cell in cells],
            text=[cell[2] for cell in cells],
            mode="text",
            textfont={"color": colour, "size": 12},
            hoverinfo="skip",
            name="digits",
        )


def _cell_words(row: Mapping[str, object]) -> str:
    what = "weights" if row["part"] == "weights" else "input activations"
    width = "float" if row["bits"] == FLOAT_BITS else f"{row['bits']} bits"
    return (
        f"<b>{plain(str(row['layer']))}</b> ({row['kind']}, layer {row['position']})"
        f"<br>{what}: {width}, {row['Bytes, B']:,} B"
        f"<br>{row['Weights, elements']:,} weights, {row['MACs per sample']:,} MACs per sample"
    )


def plain(text: str) -> str:
    """Escape a label: plotly reads a small set of tags, and a layer's name must never be one."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def lay_out(figure: go.Figure, height: int) -> None:
    """What figures with axes share: `height` in pixels, the legend above, the theme's colours."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.03, "x": 0},
    )


def front_figure(
    frame: pd.DataFrame,
    chosen: pd.DataFrame,
    cost: str,
    *,
    limit: float | None = None,
    float_score: float | None = None,
    score: str = frames.SEARCH_SCORE,
    score_title: str = "Accuracy on the search split, %",
) -> go.Figure:
    """Accuracy, or predicted damage, against a cost; a step line per method.

    Args:
        frame: Every point, measured or predicted, never both.
        chosen: The picked point of each method; marked by a ring.
        cost: Name of the cost on the x axis.
        limit: Budget on that cost, in its unit; drawn with the side beyond it shaded.
        float_score: The float network's score in percent, drawn as a line of reference.
        score: Column on the y axis; DAMAGE gives hollow marks, for what was not measured.
        score_title: Title of the y axis, with unit.

    Returns:
        Per method a trace of all points (measured only), then its front; then the picks.
    """
    column, predicted = frames.COST_COLUMNS[cost], score == frames.DAMAGE
    largest = float(max(frame[column].max(), limit or 0)) if len(frame) else float(limit or 1)
    factor, unit = scale_of(cost, largest)
    figure = go.Figure()
    for method, rows in frame.groupby("method", sort=False):
        style = style_of(str(method))
        if not predicted:
            faint = frames.thin(rows)
            figure.add_scatter(
                x=(faint[column] / factor).tolist(),
                y=faint[score].tolist(),
                name=plain(f"{method}: all evaluated"),
                mode="markers",
                marker={"color": style["colour"], "symbol": style["marker"], "size": 5},
                opacity=0.35,
                legendgroup=str(method),
                showlegend=False,
                customdata=_hover(faint),
                hovertemplate=_point_words(unit, score),
            )
        figure.add_scatter(**_front_line(str(method), rows, cost, factor, unit, score))
    figure.add_scatter(
        x=(chosen[column] / factor).tolist(),
        y=chosen[score].tolist(),
        name="best within the budget",
        mode="markers",
        marker={"symbol": "circle-open", "size": 19, "color": GREY, "line": {"width": 3}},
        hoverinfo="skip",
    )
    _add_references(figure, limit, factor, unit, largest, float_score)
    lay_out(figure, 460)
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title_text=f"{COSTS[cost].title}, {unit}", rangemode="tozero")
    figure.update_yaxes(title_text=score_title)
    return figure


def _front_line(
    method: str, rows: pd.DataFrame, cost: str, factor: float, unit: str, score: str
) -> dict[str, object]:
    style, predicted = style_of(method), score == frames.DAMAGE
    front = frames.front_of(rows, cost, score)
    line: dict[str, object] = {
        "x": (front[frames.COST_COLUMNS[cost]] / factor).tolist(),
        "y": front[score].tolist(),
        "name": plain(f"{method}, predicted" if predicted else method),
        "mode": "lines+markers",
        "line": {
            "shape": "hv",
            "color": style["colour"],
            "dash": "solid" if predicted else style["dash"],
            "width": 2,
        },
        "marker": {
            "symbol": style["marker"] + ("-open" if predicted else ""),
            "size": 5 if predicted else 9,
            "color": style["colour"],
        },
        "legendgroup": method,
        "customdata": _hover(front),
        "hovertemplate": _point_words(unit, score),
    }
    if not predicted:
        high = front[frames.SEARCH_HIGH] - front[score]
        low = front[score] - front[frames.SEARCH_LOW]
        line["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": high.tolist(),
            "arrayminus": low.tolist(),
            "thickness": 1,
            "width": 3,
            "color": _faint(style["colour"]),
        }
    return line


def _faint(colour: str) -> str:
    red, green, blue = _rgb(colour)
    return f"rgba({red},{green},{blue},0.45)"


def _hover(rows: pd.DataFrame) -> list[list[object]]:
    ids = rows["point"].tolist() if "point" in rows else [0] * len(rows)
    words = []  # of 60 layers at most: more would hide the plot
    for method, allocation in zip(rows["method"], rows["allocation"], strict=True):
        shown = islice(allocation.values(), 60)
        pairs = [f"{bits_text(b.weight)}/{bits_text(b.activation)}" for b in shown]
        lines = [" ".join(pairs[at : at + 12]) for at in range(0, len(pairs), 12)]
        words.append(f"{plain(str(method))}<br>weight/activation bits:<br>" + "<br>".join(lines))
    return [[at, text] for at, text in zip(ids, words, strict=True)]


def _point_words(unit: str, score: str) -> str:
    y = "damage %{y:.4g}" if score == frames.DAMAGE else "%{y:.2f} %"
    return f"{y} at %{{x:.4g}} {unit}<br>%{{customdata[1]}}<extra></extra>"


def _add_references(
    figure: go.Figure,
    limit: float | None,
    factor: float,
    unit: str,
    largest: float,
    float_score: float | None,
) -> None:
    if float_score is not None:
        figure.add_hline(
            y=float_score,
            line={"color": GREY, "dash": "dash", "width": 1},
            annotation_text=f"float {float_score:.1f} %",
            annotation_position="top left",
        )
    if limit is not None:
        figure.add_vrect(
            x0=limit / factor,
            x1=1.05 * largest / factor,
            fillcolor=GREY,
            opacity=0.18,
            line_width=0,
        )
        figure.add_vline(
            x=limit / factor,
            line={"color": GREY, "dash": "dash", "width": 2},
            annotation_text=f"budget {limit / factor:,.4g} {unit}",
            annotation_position="top left" if limit > 0.7 * largest else "top right",
        )


def history_figure(history: pd.DataFrame, score_title: str) -> go.Figure:
    """Best score within the budget against evaluations; every evaluation faint behind it."""
    figure = go.Figure()
    for inside, name, symbol in ((True, "evaluated", "circle"), (False, "over budget", "x")):
        rows = history[history["Within budget"] == inside]
        figure.add_scatter(
            x=rows["Evaluation"].tolist(),
            y=rows[frames.SEARCH_SCORE].tolist(),
            name=name,
            mode="markers",
            opacity=0.45,
            marker={"size": 6, "symbol": symbol, "color": GREY},
        )
    figure.add_scatter(
        x=history["Evaluation"].tolist(),
        y=history["Best so far, %"].tolist(),
        name="best so far within the budget",
        mode="lines",
        line={"shape": "hv", "width": 2, "color": METHOD_COLOURS[0]},
    )
    lay_out(figure, 320)
    figure.update_xaxes(title_text="Evaluations", rangemode="tozero")
    figure.update_yaxes(title_text=score_title)
    return figure
