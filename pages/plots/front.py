"""Pareto fronts of scores against a cost, and how a search got better. Pure functions.

Text colours are left to Streamlit's theme and backgrounds are transparent, so that each figure
reads in light and in dark. Lines of reference use a grey that shows on both.
"""

from itertools import islice

import pandas as pd
import plotly.graph_objects as go

from pages.plots.style import GREY, LINE_COLOURS, faded, lay_out, plain, put, style_of
from pages.shared import frames
from pages.shared.columns import DAMAGE, OBJECTIVE, SEARCH_HIGH, SEARCH_LOW, SEARCH_SCORE, column_of
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.text import bits_text, scale_of
from qcore.costs.formulas import CostModel


def front_figure(
    frame: pd.DataFrame,
    chosen: pd.DataFrame,
    cost: CostModel,
    *,
    limit: float | None = None,
    float_score: float | None = None,
    score: str = SEARCH_SCORE,
    score_title: str = "",
    words: Words = CLASSIFIER,
) -> go.Figure:
    """Scores, or predicted damage, against a cost; a step line per method.

    Args:
        frame: Every point, measured or predicted, never both.
        chosen: The picked point of each method; marked by a ring.
        cost: The cost on the x axis.
        limit: Budget on that cost, in its unit; drawn with the side beyond it shaded.
        float_score: The float network's score as it is shown, drawn as a line of reference.
        score: Column on the y axis; DAMAGE gives hollow marks, for what was not measured.
        score_title: Title of the y axis, with unit; "" takes the score on the search split.
        words: What scores are called.

    Returns:
        Per method a trace of all points (measured only), then its front; then the picks.
    """
    column, predicted = column_of(cost), score == DAMAGE
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
                hovertemplate=_point_words(unit, score, words.symbol),
            )
        figure.add_scatter(**_front_line(str(method), rows, cost, factor, unit, score, words))
    figure.add_scatter(
        x=(chosen[column] / factor).tolist(),
        y=chosen[score].tolist(),
        name="best within the budget",
        mode="markers",
        marker={"symbol": "circle-open", "size": 19, "color": GREY, "line": {"width": 3}},
        hoverinfo="skip",
    )
    _add_references(figure, limit, factor, unit, largest, float_score, words)
    lay_out(figure, 460)
    put(
        figure,
        hovermode="closest",
        xaxis={"title_text": f"{cost.title}, {unit}", "rangemode": "tozero"},
        yaxis={"title_text": score_title or words.on("search")},
    )
    return figure


def _front_line(
    method: str,
    rows: pd.DataFrame,
    cost: CostModel,
    factor: float,
    unit: str,
    score: str,
    words: Words,
) -> dict[str, object]:
    style, predicted = style_of(method), score == DAMAGE
    front = frames.front_of(rows, cost, DAMAGE if predicted else OBJECTIVE)
    line: dict[str, object] = {
        "x": (front[column_of(cost)] / factor).tolist(),
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
        "hovertemplate": _point_words(unit, score, words.symbol),
    }
    if not predicted:
        high = front[SEARCH_HIGH] - front[score]
        low = front[score] - front[SEARCH_LOW]
        line["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": high.tolist(),
            "arrayminus": low.tolist(),
            "thickness": 1,
            "width": 3,
            "color": faded(style["colour"]),
        }
    return line


def _hover(rows: pd.DataFrame) -> list[list[object]]:
    ids = rows["point"].tolist() if "point" in rows else [0] * len(rows)
    words = []  # of 60 layers at most: more would hide the plot
    for method, allocation in zip(rows["method"], rows["allocation"], strict=True):
        shown = islice(allocation.values(), 60)
        pairs = [f"{bits_text(b.weight)}/{bits_text(b.activation)}" for b in shown]
        lines = [" ".join(pairs[at : at + 12]) for at in range(0, len(pairs), 12)]
        words.append(f"{plain(str(method))}<br>weight/activation bits:<br>" + "<br>".join(lines))
    return [[at, text] for at, text in zip(ids, words, strict=True)]


def _point_words(unit: str, score: str, symbol: str) -> str:
    y = "damage %{y:.4g}" if score == DAMAGE else f"%{{y:.2f}} {symbol}"
    return f"{y} at %{{x:.4g}} {unit}<br>%{{customdata[1]}}<extra></extra>"


def _add_references(
    figure: go.Figure,
    limit: float | None,
    factor: float,
    unit: str,
    largest: float,
    float_score: float | None,
    words: Words,
) -> None:
    if float_score is not None:
        figure.add_hline(
            y=float_score,
            line={"color": GREY, "dash": "dash", "width": 1},
            annotation_text=f"float {words.value(float_score)}",
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
            y=rows[SEARCH_SCORE].tolist(),
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
        line={"shape": "hv", "width": 2, "color": LINE_COLOURS[0]},
    )
    lay_out(figure, 320)
    put(
        figure,
        xaxis={"title_text": "Evaluations", "rangemode": "tozero"},
        yaxis={"title_text": score_title},
    )
    return figure
