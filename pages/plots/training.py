"""Training curves of several runs: loss and accuracy of every epoch, a colour per method. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from pages.plots.style import lay_out, plain
from pages.shared.judged import CLASSIFIER, Words

LOSS, ACCURACY = "loss", "accuracy, %"
TITLES = {LOSS: "Training loss", ACCURACY: "Accuracy while training, %"}
"""Column of a curve to the title of its axis."""


@dataclass(frozen=True)
class Curve:
    """One run's epochs.

    Attributes:
        label: Its method.
        run: Its number.
        seed: Its seed.
        look: "colour" and "dash" of the method.
        epochs: From `diagnostics.epochs_frame`, at least one row.
    """

    label: str
    run: int
    seed: int
    look: Mapping[str, str]
    epochs: pd.DataFrame


def has(curves: Sequence[Curve], column: str) -> bool:
    """Whether any run noted a column, LOSS or ACCURACY."""
    return any(curve.epochs[column].notna().any() for curve in curves)


def curves_figure(curves: Sequence[Curve], column: str, words: Words = CLASSIFIER) -> go.Figure:
    """Thin lines, one a run; runs of a method share its colour and its place in the legend.

    Args:
        curves: At least one run's.
        column: LOSS or ACCURACY.
        words: What scores are called.
    """
    figure = go.Figure()
    named: set[str] = set()
    for curve in curves:
        rows = curve.epochs[curve.epochs[column].notna()]
        if rows.empty:
            continue
        figure.add_scatter(
            x=rows["Epoch"].tolist(),
            y=rows[column].tolist(),
            name=plain(curve.label),
            legendgroup=curve.label,
            showlegend=curve.label not in named,
            # a dot where a line of one epoch would not be seen
            mode="lines+markers" if len(rows) == 1 else "lines",
            line={"color": curve.look["colour"], "dash": curve.look["dash"], "width": 1.2},
            marker={"color": curve.look["colour"], "size": 6},
            customdata=[[plain(str(stage))] for stage in rows["stage"]],
            hovertemplate=(
                f"%{{y:.4g}} in epoch %{{x}}, %{{customdata[0]}}<extra>{plain(curve.label)}, "
                f"run {curve.run}, seed {curve.seed}</extra>"
            ),
        )
        named.add(curve.label)
    lay_out(figure, 340 + 20 * (len(named) // 3))
    figure.update_xaxes(title_text="Epoch, counted through all stages", rangemode="tozero")
    figure.update_yaxes(title_text=words.head(TITLES[column]))
    return figure
