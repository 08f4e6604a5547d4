"""Figures of the Compare page: Pareto fronts laid over one another, hypervolume over work. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from pages.compare.methods import EFFORT, ELAPSED, Method, Trial, front_rows
from pages.plots.style import GREY, lay_out, plain, put
from pages.shared import frames
from pages.shared.columns import (
    OBJECTIVE,
    SEARCH_HIGH,
    SEARCH_LOSS,
    SEARCH_LOSS_HIGH,
    SEARCH_LOSS_LOW,
    SEARCH_LOW,
    SEARCH_SCORE,
    column_of,
)
from pages.shared.hypervolume import Box, Spread, spread, trace
from pages.shared.judged import Words
from pages.shared.text import bits_text, scale_of
from qcore.costs.formulas import CostModel

MOST_FAINT = 1500
"""Evaluated points drawn faint per method; the fronts are always whole."""

MOST_BARS = 6
"""With more runs than this, intervals are left to hovering: bars would hide the lines."""

PLOT_PX, ROW_PX = 320, 27
"""Height of a hypervolume plot alone, and of each row of its legend."""

ROW_LETTERS = 72
"""Letters that fit beside one another in a legend of half the page, a line's sample being 8."""

AXES = {EFFORT: "Evaluations of the search split", ELAPSED: "Time until the point was known, s"}
"""Column of a trial to the title of its axis, with unit."""


@dataclass(frozen=True, slots=True)
class Height:
    """What the vertical axis of the fronts shows.

    Attributes:
        column: Column of a trial's rows.
        title: Title of the axis, with unit.
        ends: Columns of its 95 % interval; none where there is none.
        logarithmic: Whether the axis is.
        unit: Behind a value in words.
        score_unit: Behind a score, which hovering always tells.
    """

    column: str
    title: str
    ends: tuple[str, str] | None = None
    logarithmic: bool = False
    unit: str = "%"
    score_unit: str = "%"

    def of(self, rows: pd.DataFrame) -> "pd.Series[float]":
        """Its values; on a logarithmic axis at least FINEST, for 0 has no place there."""
        values = rows[self.column].astype(float)
        return values.clip(lower=FINEST) if self.logarithmic else values


FINEST = 1e-6
"""Nats below which divergences are drawn alike: of float and of 8 bits, say."""


POWERS = {"type": "log", "dtick": 1, "exponentformat": "none"}
"""An axis of powers of ten, written out."""


def heights(words: Words, aim: str, tables: Sequence[pd.DataFrame]) -> dict[str, Height]:
    """What the vertical axis can show, the one to begin with first.

    Args:
        words: What figures are called.
        aim: Objective of the runs, "kl" or "loss".
        tables: Rows of all that is drawn; the loss against float is left out where it is not
            known of every one.
    """
    what, score = words.title, words.symbol
    title, logarithmic = (words.divergence, True) if aim == "kl" else ("Loss on labels", False)
    where = " from the float network" if aim == "kl" else ""
    found = {
        title: Height(
            OBJECTIVE,
            f"{title}{where}, {words.unit}",
            None,
            logarithmic,
            words.behind,
            score,
        ),
        f"{what} lost": Height(
            SEARCH_LOSS,
            f"{what} lost against float, search split, {words.lost}",
            (SEARCH_LOSS_LOW, SEARCH_LOSS_HIGH),
            unit=words.lost,
            score_unit=score,
        ),
        what: Height(
            SEARCH_SCORE,
            words.on("search"),
            (SEARCH_LOW, SEARCH_HIGH),
            unit=score,
            score_unit=score,
        ),
    }
    if not all(table[SEARCH_LOSS].notna().all() for table in tables):
        del found[f"{what} lost"]
    return found


def has_bars(methods: Sequence[Method]) -> bool:
    """Whether the fronts of these methods are drawn with their intervals."""
    return sum(len(method.trials) for method in methods if not method.reference) <= MOST_BARS


def fronts_figure(
    methods: Sequence[Method],
    ladder: pd.DataFrame | None,
    cost: CostModel,
    height: Height,
    *,
    float_value: float | None = None,
    limits: Sequence[float] = (),
    logarithmic: bool = False,
) -> go.Figure:
    """Every run's front of its objective against a cost: a step line each, one look per method.

    Args:
        methods: What is compared; reference methods are drawn as the ladder.
        ladder: Points of uniform bits, drawn grey with their bits; None draws none.
        cost: The cost on the x axis.
        height: What the y axis shows; points are on a front by the objective, whatever it shows.
        float_value: The float network's value of it; None draws no line.
        limits: Budgets of the table, in the cost's unit, drawn as thin lines.
        logarithmic: Whether the x axis is.

    Returns:
        Traces whose `customdata` rows begin with the point's number; fronts add the bits in words.
    """
    column = column_of(cost)
    drawn = [method for method in methods if not method.reference]
    tables = [trial.rows for method in drawn for trial in method.trials]
    tables += [ladder] if ladder is not None else []
    largest = max((float(table[column].max()) for table in tables if len(table)), default=1.0)
    factor, unit = scale_of(cost, largest)
    bars = has_bars(methods)
    figure = go.Figure()
    for method in drawn:
        figure.add_scatter(**_faint(method, cost, height, factor, unit))
    if ladder is not None and len(ladder):
        figure.add_scatter(**_ladder(ladder, column, height, factor, unit))
    for method in drawn:
        for place, trial in enumerate(method.trials):
            line = _line(method, trial, cost, height, factor, unit, place == 0)
            figure.add_scatter(**line, **_bars(method, trial, cost, height) if bars else {})
    if float_value is not None:
        figure.add_hline(
            y=float_value,
            line={"color": GREY, "dash": "dash", "width": 1},
            annotation_text=f"float {float_value:.4g} {height.unit}",
            annotation_position="top left",
        )
    for limit in limits:
        figure.add_vline(x=limit / factor, line={"color": GREY, "dash": "dot", "width": 1})
    shown = [plain(method.label) for method in drawn]
    lay_out(figure, 450 + ROW_PX * legend_rows(shown, 2 * ROW_LETTERS))
    # a click chooses a point for the difference; it must not fade all others
    figure.update_traces(unselected={"marker": {"opacity": 1}, "textfont": {"color": GREY}})
    along = {"type": "log"} if logarithmic else {"rangemode": "tozero"}
    put(
        figure,
        hovermode="closest",
        clickmode="event+select",
        xaxis={"title_text": f"{cost.title}, {unit}", **along},
        yaxis={"title_text": height.title, **(POWERS if height.logarithmic else {})},
    )
    return figure


def _faint(
    method: Method, cost: CostModel, height: Height, factor: float, unit: str
) -> dict[str, Any]:
    """What is on no front: a point under a front's mark would catch its clicks."""
    behind = []
    for trial in method.trials:
        front = front_rows(trial, cost)["point"]
        behind.append(trial.rows[~trial.rows["point"].isin(front)])
    rows, column = frames.thin(pd.concat(behind), MOST_FAINT), column_of(cost)
    return {
        "x": (rows[column] / factor).tolist(),
        "y": height.of(rows).tolist(),
        "name": plain(f"{method.label}: all evaluated"),
        "mode": "markers",
        "marker": {"color": method.look["colour"], "symbol": method.look["marker"], "size": 4},
        "opacity": 0.22,
        "legendgroup": method.label,
        "showlegend": False,
        "customdata": [[point] for point in rows["point"]],
        "hovertemplate": f"{_place(height, unit)}<extra></extra>",
    }


def _ladder(
    rows: pd.DataFrame, column: str, height: Height, factor: float, unit: str
) -> dict[str, Any]:
    ordered = rows.drop_duplicates("digest").sort_values(column)
    words = [_uniform_words(allocation) for allocation in ordered["allocation"]]
    return {
        "x": (ordered[column] / factor).tolist(),
        "y": height.of(ordered).tolist(),
        "text": words,
        "textposition": "bottom right",
        "name": "Uniform bits (reference)",
        "mode": "lines+markers+text",
        "line": {"shape": "hv", "color": GREY, "dash": "dot", "width": 1},
        "marker": {"symbol": "square", "size": 8, "color": GREY},
        "customdata": [
            [point, f"uniform {text}"] for point, text in zip(ordered["point"], words, strict=True)
        ],
        "hovertemplate": f"%{{customdata[1]}}: {_place(height, unit)}<extra></extra>",
    }


def _place(height: Height, unit: str) -> str:
    """Where a point lies, as plotly's hovering fills it in."""
    return f"%{{y:.4g}} {height.unit} at %{{x:.4g}} {unit}"


def _uniform_words(allocation: Any) -> str:
    """The bits most layers have: the first and the last may be pinned to others."""
    pairs = [(bits.weight, bits.activation) for bits in allocation.values()]
    weight, activation = max(set(pairs), key=pairs.count)
    return bits_text(weight) if activation == 32 else f"{bits_text(weight)}/{bits_text(activation)}"


def _line(
    method: Method,
    trial: Trial,
    cost: CostModel,
    height: Height,
    factor: float,
    unit: str,
    first: bool,
) -> dict[str, Any]:
    front = front_rows(trial, cost)
    head = f"{method.label}, run {trial.run.id}, seed {trial.run.spec.seed}"
    return {
        "x": (front[column_of(cost)] / factor).tolist(),
        "y": height.of(front).tolist(),
        "name": plain(method.label),
        "mode": "lines+markers",
        "line": {
            "shape": "hv",
            "color": method.look["colour"],
            "dash": method.look["dash"],
            "width": 2 if first else 1.2,
        },
        "marker": {
            "symbol": method.look["marker"],
            "size": 8 if first else 6,
            "color": method.look["colour"],
        },
        "legendgroup": method.label,
        "showlegend": first,
        "customdata": [
            [
                row["point"],
                f"{plain(head)}<br>{_bits_words(row['allocation'])}<br>"
                f"{row[SEARCH_SCORE]:.2f} {height.score_unit}, "
                f"95 %: {row[SEARCH_LOW]:.1f} to {row[SEARCH_HIGH]:.1f}",
            ]
            for row in front.to_dict("records")
        ],
        "hovertemplate": f"{_place(height, unit)}<br>%{{customdata[1]}}<extra></extra>",
    }


def _bars(method: Method, trial: Trial, cost: CostModel, height: Height) -> dict[str, Any]:
    """Intervals of a front's points; none where what is shown has none."""
    if height.ends is None:
        return {}
    front = front_rows(trial, cost)
    low, high = (front[end] for end in height.ends)
    return {
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": (high - front[height.column]).tolist(),
            "arrayminus": (front[height.column] - low).tolist(),
            "thickness": 1,
            "width": 2,
            "color": _clear(method.look["colour"], 0.4),
        }
    }


def _bits_words(allocation: Any) -> str:
    pairs = [f"{bits_text(b.weight)}/{bits_text(b.activation)}" for b in allocation.values()]
    lines = [" ".join(pairs[at : at + 12]) for at in range(0, min(len(pairs), 96), 12)]
    more = [f"and {len(pairs) - 96} more layers"] if len(pairs) > 96 else []
    return "<br>".join(["weight/activation bits:", *lines, *more])


def trial_trace(trial: Trial, box: Box, axis: str) -> tuple[list[float], list[float]]:
    """(places on the axis, hypervolume reached there) of one run; axis is EFFORT or ELAPSED."""
    rows = trial.rows.sort_values(axis, kind="stable")
    costs, values = rows[column_of(box.cost)], rows[OBJECTIVE]
    return rows[axis].tolist(), trace(costs.tolist(), values.tolist(), box)


def method_spread(method: Method, box: Box, axis: str) -> Spread:
    """Hypervolume of a method over its seeds along an axis."""
    return spread([trial_trace(trial, box, axis) for trial in method.trials])


def hypervolume_figure(
    methods: Sequence[Method], box: Box, axis: str, equal_at: float | None = None
) -> go.Figure:
    """Hypervolume over work: median line per method, band from smallest to largest seed.

    Args:
        methods: What is compared; a reference method is a level line, since it searches nothing.
            Those that made no front are left out.
        box: What is counted.
        axis: EFFORT or ELAPSED.
        equal_at: Place on the axis where methods are held against one another, if at one.
    """
    figure = go.Figure()
    highest = 0.0
    methods = [method for method in methods if not method.no_hypervolume(box)]
    if equal_at is not None:
        figure.add_vline(x=equal_at, line={"color": GREY, "dash": "dot", "width": 1})
    for method in methods:
        reached = method_spread(method, box, axis)
        highest = max(highest, *reached.high[-1:], 0.0)
        if method.reference:
            if reached.median:
                figure.add_hline(
                    y=reached.median[-1],
                    line={"color": GREY, "dash": "dot", "width": 1},
                    annotation_text=plain(method.label),
                    annotation_position="bottom right",
                )
            continue
        common: dict[str, Any] = {
            "x": list(reached.at),
            "mode": "lines",
            "legendgroup": method.label,
        }
        # a line of one place cannot be seen
        alone = len(set(reached.at)) == 1
        if len(method.trials) > 1:
            edge = {"shape": "hv", "width": 0, "color": method.look["colour"]}
            figure.add_scatter(
                y=list(reached.low), line=edge, showlegend=False, hoverinfo="skip", **common
            )
            figure.add_scatter(
                y=list(reached.high),
                line=edge,
                fill="tonexty",
                fillcolor=_clear(method.look["colour"]),
                showlegend=False,
                hoverinfo="skip",
                name=plain(f"{method.label}: seeds"),
                **common,
            )
        figure.add_scatter(
            y=list(reached.median),
            name=plain(method.label),
            marker={"symbol": method.look["marker"], "size": 9, "color": method.look["colour"]},
            line={
                "shape": "hv",
                "width": 2,
                "color": method.look["colour"],
                "dash": method.look["dash"],
            },
            hovertemplate="%{y:.4f} at %{x:.4g}<extra>" + plain(method.label) + "</extra>",
            **common | {"mode": "lines+markers" if alone else "lines"},
        )
    rows = legend_rows([plain(m.label) for m in methods if not m.reference])
    lay_out(figure, PLOT_PX + ROW_PX * rows)
    # a line at the very edge of a plot looks cut off
    most = min(1.02, 1.08 * highest or 1.0)
    put(
        figure,
        xaxis={"title_text": AXES[axis], "rangemode": "tozero"},
        yaxis={"title_text": "Hypervolume, share of the box", "range": [0, most]},
    )
    return figure


def legend_rows(names: Sequence[str], letters: int = ROW_LETTERS) -> int:
    """Rows that a legend of these names takes, so that the plot keeps its height under it."""
    rows, used = 1, 0
    for name in names:
        need = len(name) + 8
        if used and used + need > letters:
            rows, used = rows + 1, 0
        used += need
    return rows


def _clear(colour: str, share: float = 0.18) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share})"
