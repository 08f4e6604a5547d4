"""Allocations along a Pareto front: one row each, cheapest first, one column per layer. Pure.

Rows go from cheap to dear, so a front whose allocations grow out of one another shows as stairs,
and a layer that keeps its bits as a column of one colour.
"""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from pages.plots.difference import short
from pages.plots.style import GREY, digit_colour, lay_out, plain, shown_colours, steps_of
from pages.shared.columns import SEARCH_SCORE, column_of
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.text import bits_text, scale_of, significant
from qcore.allocation import BitAllocation, ModelSpec, width_words
from qcore.costs.formulas import CostModel

MOST_ROWS = 40
"""A longer front is thinned evenly, its ends kept."""

CELLS_WITH_DIGITS = 40
"""Up to this many layers half a page has room for a digit in each cell; else there is a scale."""


def allocations_frame(
    front: pd.DataFrame, cost: CostModel, most: int = MOST_ROWS, words: Words = CLASSIFIER
) -> pd.DataFrame:
    """Rows of a front, as `allocations_figure` draws them.

    Args:
        front: Rows by rising cost, as `frames.front_of` returns them.
        cost: That cost.
        most: Most rows; at least 2.
        words: What scores are called.

    Returns:
        Columns: "allocation", "label" (cost and score), "point"; cheapest first.
    """
    count = len(front)
    step = max(1, -(-(count - 1) // (most - 1)))
    kept = sorted({*range(0, count, step), count - 1}) if count else []
    rows = front.iloc[kept]
    column = column_of(cost)
    factor, unit = scale_of(cost, float(rows[column].max()) if count else 1.0)
    labels = [
        f"{significant(value / factor)} {unit}, {words.value(score)}"
        for value, score in zip(rows[column], rows[SEARCH_SCORE], strict=True)
    ]
    return pd.DataFrame(
        {
            "allocation": rows["allocation"].tolist(),
            "label": labels,
            "point": rows["point"].tolist(),
        }
    )


def allocations_figure(
    listed: pd.DataFrame,
    model: ModelSpec,
    cost: CostModel,
    part: str = "weights",
    name: str = "accuracy",
) -> go.Figure:
    """Bits of every layer (across) of every allocation of a front (down, rising cost).

    Args:
        listed: What `allocations_frame` returns.
        model: Its layers, in execution order.
        cost: The cost the rows rise by; titles the vertical axis.
        part: "weights" or "activations".
        name: What scores are called.
    """
    names = list(model.names)
    table = [_bits(allocation, names, part) for allocation in listed["allocation"]]
    colours = shown_colours(width for row in table for width in row)
    codes = {width: code for code, width in enumerate(colours, start=1)}
    places, rows = list(range(1, len(names) + 1)), list(range(1, len(table) + 1))
    figure = go.Figure()
    figure.add_heatmap(
        x=places,
        y=rows,
        z=[[codes[width] for width in row] for row in table],
        hovertext=[
            [
                f"<b>{plain(short(name))}</b><br>{part}: {_words(width)}<br>at {plain(label)}"
                for name, width in zip(names, row, strict=True)
            ]
            for row, label in zip(table, listed["label"], strict=True)
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        colorscale=steps_of(colours),
        zmin=0.5,
        zmax=len(codes) + 0.5,
        showscale=len(names) > CELLS_WITH_DIGITS,
        colorbar={
            "title": {"text": "bits"},
            "tickvals": list(codes.values()),
            "ticktext": [bits_text(width) for width in codes],
            "thickness": 12,
            "outlinecolor": GREY,
            "outlinewidth": 1,
        },
        xgap=1,
        ygap=1,
        name=part,
    )
    if len(names) <= CELLS_WITH_DIGITS:
        _add_digits(figure, table)
    longest = max(map(len, names), default=0)
    lay_out(figure, 110 + 20 * len(rows) + round(4.6 * min(longest, 40)))
    every = len(names) // 40 + 1
    figure.update_xaxes(
        title_text="Layer, in execution order",
        tickvals=places[::every],
        ticktext=[plain(short(name)) for name in names[::every]],
        tickangle=-45,
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(
        title_text=f"{cost.title}, {name}",
        tickvals=rows,
        ticktext=[plain(label) for label in listed["label"]],
        autorange="reversed",
        showgrid=False,
        zeroline=False,
    )
    return figure


def _bits(allocation: BitAllocation, names: Sequence[str], part: str) -> list[int]:
    if part == "weights":
        return [allocation[name].weight for name in names]
    return [allocation[name].activation for name in names]


def _words(width: int) -> str:
    return width_words(width)


def _add_digits(figure: go.Figure, table: Sequence[Sequence[int]]) -> None:
    for colour in ("#ffffff", "#000000"):
        cells = [
            (place, row, bits_text(width))
            for row, widths in enumerate(table, start=1)
            for place, width in enumerate(widths, start=1)
            if digit_colour(width) == colour
        ]
        figure.add_scatter(
            x=[cell[0] for cell in cells],
            y=[cell[1] for cell in cells],
            text=[cell[2] for cell in cells],
            mode="text",
            # a word needs more room than a digit
            textfont={"color": colour, "size": [11 if len(cell[2]) == 1 else 7 for cell in cells]},
            hoverinfo="skip",
            showlegend=False,
            name="digits",
        )
