"""A figure as SVG, PDF or PNG for a paper, drawn again by matplotlib: no browser is needed. Pure.

What plotly draws in a browser cannot leave a server without one. These figures are lines, marks,
bars and rectangles, so their data is drawn a second time; text stays text, on white paper.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from qcore.errors import InvalidData

MEDIA = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
"""Format to its media type."""

INCHES = (7.2, 4.4)
PNG_DPI = 200
PX = 0.72
"""Points of a paper that a pixel of a page becomes."""

MARKERS: dict[str, Any] = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "triangle-left": "<",
    "triangle-right": ">",
    "x": "X",
    "cross": "P",
    "star": "*",
    "hexagon": "h",
    "pentagon": "p",
    "hexagram": (6, 1, 0),
}
DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (5, 3)),
    "dot": (0, (1, 2)),
    "dashdot": (0, (5, 2, 1, 2)),
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 2, 1, 2)),
    "5px": (0, (3, 3)),
}
ANCHORS = {"left": "left", "right": "right", "center": "center"}
HEIGHTS = {"top": "top", "bottom": "bottom", "middle": "center"}
KNOWN = ("scatter", "bar")


def drawable(figure: go.Figure) -> bool:
    """Whether a figure is made of lines, marks and bars over one pair of axes."""
    one = all(trace.type in KNOWN and (trace.yaxis or "y") == "y" for trace in figure.data)
    return bool(figure.data) and one


def paper_figure(figure: go.Figure, title: str, form: str) -> bytes:
    """The file's bytes.

    Args:
        figure: As the page draws it; see `drawable`.
        title: What the file says it is; a paper has a caption, so nothing is drawn above the axes.
        form: A key of MEDIA.

    Raises:
        InvalidData: the figure has parts that cannot be drawn again.
    """
    if not drawable(figure):
        kinds = ", ".join(sorted({str(trace.type) for trace in figure.data})) or "nothing"
        raise InvalidData(
            f"A figure of {kinds} cannot be written as {form.upper()}; take it as HTML."
        )
    # a second to load, so not before somebody asks for a file
    import matplotlib
    from matplotlib.figure import Figure

    # text as text in all files: TrueType in PDF, which publishers ask for
    matplotlib.rcParams.update(
        {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "bitdial", "font.size": 9}
    )
    paper = Figure(figsize=INCHES, layout="constrained")
    axes = paper.add_subplot()
    bars = [trace for trace in figure.data if trace.type == "bar"]
    handles = [
        _bars(axes, trace, bars) if trace.type == "bar" else _line(axes, trace)
        for trace in figure.data
    ]
    _axes(axes, figure, bool(bars))
    for shape in figure.layout.shapes:
        _shape(axes, shape)
    for note in figure.layout.annotations:
        _note(axes, note)
    _legend(paper, [pair for pair in zip(handles, figure.data, strict=True) if _named(pair[1])])
    out = io.BytesIO()
    told: dict[str, Any] = {"Title": title} if form != "png" else {"Title": _printable(title)}
    told |= {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})
    paper.savefig(out, format=form, dpi=PNG_DPI, metadata=told)
    return out.getvalue()


def _named(trace: Any) -> bool:
    return trace.showlegend is not False and bool(trace.name)


def _line(axes: Any, trace: Any) -> Any:
    x, y = _numbers(trace.x), _numbers(trace.y)
    mode = trace.mode or "lines"
    colour = _colour(trace.line.color or trace.marker.color or "#444444")
    width = trace.line.width
    steps = "steps-post" if trace.line.shape == "hv" else "default"
    symbol = str(trace.marker.symbol or "circle")
    size = trace.marker.size
    (drawn,) = axes.plot(
        x,
        y,
        color=colour,
        alpha=trace.opacity,
        drawstyle=steps,
        linestyle=DASHES.get(trace.line.dash or "solid", "-") if "lines" in mode else "none",
        linewidth=PX * (2 if width is None else width),
        marker=MARKERS.get(symbol.removesuffix("-open"), "o") if "markers" in mode else None,
        markersize=PX * (float(size) if isinstance(size, (int, float)) else 6),
        markeredgewidth=0.8 if symbol.endswith("-open") else 0,
        fillstyle="none" if symbol.endswith("-open") else "full",
    )
    if trace.fill == "tonexty":
        low = axes.lines[-2]
        step = "post" if steps == "steps-post" else None
        base = low.get_ydata() if len(low.get_ydata()) == len(y) else 0
        axes.fill_between(x, base, y, step=step, color=_colour(trace.fillcolor), linewidth=0)
    if trace.error_y.array is not None:
        _bars_of_error(axes, x, y, trace)
    if "text" in mode and trace.text is not None:
        for at, (a, b) in enumerate(zip(x, y, strict=True)):
            _text(axes.annotate, trace.text[at], (a, b), xytext=(4, -9), size=7, color=colour)
    return drawn


def _bars_of_error(axes: Any, x: Sequence[float], y: Sequence[float], trace: Any) -> None:
    high = _numbers(trace.error_y.array)
    low = high if trace.error_y.arrayminus is None else _numbers(trace.error_y.arrayminus)
    colour = _colour(trace.error_y.color or trace.line.color or "#444444")
    axes.errorbar(x, y, yerr=[low, high], fmt="none", ecolor=colour, elinewidth=0.7, capsize=1.5)


def _bars(axes: Any, trace: Any, all_bars: Sequence[Any]) -> Any:
    width = 0.8 / len(all_bars)
    shift = (all_bars.index(trace) - (len(all_bars) - 1) / 2) * width
    x, y = [place + shift for place in _numbers(trace.x)], _numbers(trace.y)
    colour = _colour(trace.marker.color if isinstance(trace.marker.color, str) else "#0072B2")
    drawn = axes.bar(x, y, width, color=colour)
    if trace.error_y.array is not None:
        _bars_of_error(axes, x, y, trace)
    return drawn


def _axes(axes: Any, figure: go.Figure, bars: bool) -> None:
    for name, told in (("x", figure.layout.xaxis), ("y", figure.layout.yaxis)):
        if told.title.text:
            _text(getattr(axes, f"set_{name}label"), told.title.text)
        if told.type == "log":
            getattr(axes, f"set_{name}scale")("log")
        elif told.range is not None:
            getattr(axes, f"set_{name}lim")(*told.range)
        elif told.rangemode == "tozero":
            low, high = getattr(axes, f"get_{name}lim")()
            getattr(axes, f"set_{name}lim")(min(0, low), max(0, high))
        if told.tickvals is not None and told.ticktext is not None:
            labels = [_words(label) for label in told.ticktext]
            turned = {"rotation": 45, "ha": "right"} if told.tickangle else {}
            places = list(told.tickvals)
            getattr(axes, f"set_{name}ticks")(places, labels, parse_math=False, **turned)
            if bars and name == "x":
                axes.set_xlim(min(places) - 0.6, max(places) + 0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)


def _shape(axes: Any, shape: Any) -> None:
    """A line or a shaded band across the axes."""
    level, upright = shape.xref == "x domain", shape.yref == "y domain"
    style = {"color": _colour(shape.line.color or "#888888"), "zorder": 0.9}
    if shape.type == "rect" and upright:
        axes.axvspan(shape.x0, shape.x1, color=_colour(shape.fillcolor), alpha=shape.opacity or 1)
    elif shape.type == "line":
        style |= {
            "linestyle": DASHES.get(shape.line.dash or "solid", "-"),
            "linewidth": PX * (shape.line.width or 1),
        }
        if level:
            axes.axhline(shape.y0, **style)
        elif upright:
            axes.axvline(shape.x0, **style)


def _note(axes: Any, note: Any) -> None:
    across = "axes fraction" if note.xref == "x domain" else "data"
    along = "axes fraction" if note.yref == "y domain" else "data"
    _text(
        axes.annotate,
        note.text,
        (note.x, note.y),
        xycoords=(across, along),
        ha=ANCHORS.get(note.xanchor, "left"),
        va=HEIGHTS.get(note.yanchor, "bottom"),
        size=7,
        color="#555555",
    )


def _legend(paper: Any, named: Sequence[tuple[Any, Any]]) -> None:
    if len(named) < 2:
        return
    labels = [_words(trace.name) for _, trace in named]
    columns = max(1, min(6, len(labels), 100 // (max(map(len, labels)) + 8)))
    drawn = paper.legend(
        [handle for handle, _ in named],
        # matplotlib leaves out labels that begin with "_": the words come in afterwards
        [f"x{label}" for label in labels],
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=7,
    )
    for text, label in zip(drawn.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(label)


def _text(draw: Any, words: str, *where: Any, **style: Any) -> None:
    """Draw words that are never read as a formula."""
    if draw.__name__ == "annotate":
        style.setdefault("textcoords", "offset points" if "xytext" in style else None)
    draw(_words(words), *where, parse_math=False, **style)


def _numbers(values: Any) -> list[Any]:
    return [] if values is None else [float("nan") if v is None else v for v in values]


_TAG = re.compile(r"<[^<>]*>")


def _words(text: Any) -> str:
    """What plotly shows of a label: its few tags gone, its escapes undone."""
    return _printable(html.unescape(_TAG.sub("", str(text).replace("<br>", "\n"))))


def _printable(words: str) -> str:
    """Signs that the font has; a box for each it lacks."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known: Mapping[int, int] = get_font(findfont(FontProperties())).get_charmap()
    return "".join(c if c == "\n" or ord(c) in known else "\u25a1" for c in words)


_RGBA = re.compile(r"rgba?\(([^)]*)\)")


def _colour(colour: str) -> Any:
    found = _RGBA.fullmatch(colour)
    if found is None:
        return colour
    parts = [float(part) for part in found.group(1).split(",")]
    return (*(part / 255 for part in parts[:3]), *parts[3:])
