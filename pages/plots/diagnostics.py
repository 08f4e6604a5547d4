"""How a search went inside: generations, chosen allocations, training epochs. Pure functions.

They read the figures a search sends with its progress, as the store keeps them: whatever search
sends "generation", "round" or "epoch" is drawn, without a line about any search here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from pages.plots.heatmap import bit_heatmap
from pages.plots.style import GREY, LINE_COLOURS, lay_out, plain
from pages.shared.frames import bits_frame
from pages.shared.judged import CLASSIFIER, Words
from qcore.allocation import BitAllocation, ModelSpec

Figures = Mapping[str, Any]
"""One progress's numbers."""

MEANS = {"mean_bits": "weights", "mean_activation_bits": "activations"}


GENERATION_FIGURES = {
    "best": "best",
    "median": "median",
    "record": "record",
    "sigma": "sigma",
    "axis ratio": "axis_ratio",
    "front": "front",
}
"""Column of `generations_frame` to the figure it holds."""


RAMP = "layer by layer, %"
"""Column of `epochs_frame`."""


def generations_frame(kept: Sequence[Figures]) -> pd.DataFrame:
    """One row per generation, numbered through all rounds and restarts.

    Returns:
        Columns: "Generation" (from 1), "best", "median" and "record" (nats, None where nothing was
        within the limits), "sigma" (step size, widths), "axis ratio" (longest over shortest axis
        of the distribution), "front" (allocations on it), each None where a search has no such
        figure, and "start" (True where a descent begins anew).
    """
    rows: list[dict[str, Any]] = []
    for place, entry in enumerate((e for e in kept if "generation" in e), start=1):
        first = entry["generation"] == 0
        restart = entry.get("restart", 0)
        begun = place > 1 and (first or restart != rows[-1]["restart"])
        rows.append(
            {
                "Generation": place,
                **{column: entry.get(name) for column, name in GENERATION_FIGURES.items()},
                "start": begun,
                "restart": restart,
            }
        )
    return pd.DataFrame(rows)


def epochs_frame(kept: Sequence[Figures], words: Words = CLASSIFIER) -> pd.DataFrame:
    """One row per training epoch.

    Returns:
        Columns: "Epoch" (counted through all stages), "stage", "loss" (nats), "accuracy, %" (None
        without labels), "layer by layer, %" (chance, when the epoch ends, that a step draws
        the bits of each layer alone; None where bits are not drawn). Of another judge the score
        stands in place of the accuracy, in its own unit.
    """
    rows = [
        {
            "Epoch": place,
            "stage": entry["stage"],
            "loss": entry["loss"],
            "accuracy, %": None if "accuracy" not in entry else words.factor * entry["accuracy"],
            RAMP: None if "layer_by_layer" not in entry else 100 * entry["layer_by_layer"],
        }
        for place, entry in enumerate((e for e in kept if "epoch" in e), start=1)
    ]
    return pd.DataFrame(rows)


PANELS = (
    (
        {"title": {"text": "Value, nats"}, "type": "log"},
        (
            ("median", "median", LINE_COLOURS[4], "dot"),
            ("best", "best", LINE_COLOURS[0], "solid"),
            ("record", "best so far", LINE_COLOURS[2], "dash"),
        ),
    ),
    (
        {"title": {"text": "Widths; ratio"}, "type": "log"},
        (
            ("sigma", "step size", LINE_COLOURS[1], "solid"),
            ("axis ratio", "axis ratio", LINE_COLOURS[3], "dash"),
        ),
    ),
    (
        {"title": {"text": "Allocations"}, "rangemode": "tozero"},
        (("front", "on the front", LINE_COLOURS[0], "solid"),),
    ),
)
"""Of each panel of `generations_figure`, its y axis and lines: column, name, colour, dash."""

PANEL_GAP = 0.08


def generations_figure(frame: pd.DataFrame) -> go.Figure | None:
    """What a search's generations were like: one panel above another, on one x axis.

    Only what the search has sent gets a line, and only panels with lines are there; None where
    there are none.
    """
    panels = [
        (axis, [line for line in lines if frame[line[0]].notna().any()]) for axis, lines in PANELS
    ]
    panels = [(axis, lines) for axis, lines in panels if lines]
    if not panels:
        return None
    figure = go.Figure()
    share = (1 + PANEL_GAP) / len(panels)
    axes = {}
    for place, (axis, lines) in enumerate(panels):
        name = f"y{place + 1}" if place else "y"
        top = 1 - place * share
        axes[name.replace("y", "yaxis")] = {
            **axis,
            "domain": [max(0, top - share + PANEL_GAP), top],
        }
        for column, title, colour, dash in lines:
            figure.add_scatter(
                x=frame["Generation"].tolist(),
                y=[None if pd.isna(value) else value for value in frame[column]],
                name=title,
                mode="lines" if len(frame) > 1 else "markers",
                line={"color": colour, "dash": dash, "width": 2},
                yaxis=name,
            )
    for place in frame.loc[frame["start"], "Generation"]:
        figure.add_vline(x=place - 0.5, line={"color": GREY, "dash": "dash", "width": 1})
    lay_out(figure, 120 + 150 * len(panels))
    # plotly leaves out a legend of one line
    figure.update_layout(**axes, showlegend=True)
    figure.update_xaxes(title_text="Generation", anchor=f"y{len(panels)}" if panels[1:] else "y")
    return figure


def means_figure(kept: Sequence[Figures], part: str) -> go.Figure:
    """Mean bits of each layer over the generations.

    Args:
        kept: Figures with generations.
        part: "mean_bits" or "mean_activation_bits".
    """
    columns = [entry[part] for entry in kept if entry.get(part)]
    layers = list(columns[0]) if columns else []
    figure = go.Figure(
        go.Heatmap(
            x=list(range(1, len(columns) + 1)),
            y=list(range(1, len(layers) + 1)),
            z=[[column[layer] for column in columns] for layer in layers],
            text=[[layer] * len(columns) for layer in layers],
            hovertemplate="generation %{x}, %{text}: %{z:.2f} bits<extra></extra>",
            zmin=1,
            zmax=8,
            colorscale="Viridis",
            colorbar={"title": {"text": "bits"}, "thickness": 14},
        )
    )
    lay_out(figure, 130 + 14 * len(layers))
    figure.update_xaxes(title_text="Generation", showgrid=False)
    figure.update_yaxes(
        tickvals=list(range(1, len(layers) + 1)),
        ticktext=[plain(layer) for layer in layers],
        autorange="reversed",
        showgrid=False,
    )
    return figure


def rounds_figure(kept: Sequence[Figures], model: ModelSpec) -> go.Figure | None:
    """The allocation each round chose, one pair of rows a round; None where there is none."""
    found = [
        (f"Round {entry['round']}", BitAllocation.from_json(entry["allocation"]))
        for entry in kept
        if "round" in entry and "allocation" in entry
    ]
    rows = [row for row in found if set(row[1]) == set(model.names)]
    if not rows:
        return None
    return bit_heatmap(bits_frame(pd.DataFrame(rows, columns=["method", "allocation"]), model))


def epochs_figure(frame: pd.DataFrame, words: Words = CLASSIFIER) -> go.Figure:
    """Training loss, and accuracy where there are labels, of every epoch of every stage.

    Where a search draws bits, a panel below says how often each layer's are drawn alone.
    """
    figure = go.Figure()
    for place, (stage, rows) in enumerate(frame.groupby("stage", sort=False)):
        colour = LINE_COLOURS[place % len(LINE_COLOURS)]
        common = {"x": rows["Epoch"].tolist(), "mode": "lines+markers", "legendgroup": str(stage)}
        for column, axis, dash in (("loss", "y", "solid"), ("accuracy, %", "y2", "dot")):
            figure.add_scatter(
                y=[None if pd.isna(value) else value for value in rows[column]],
                name=f"{plain(str(stage))}: {words.head(column)}",
                line={"color": colour, "dash": dash},
                yaxis=axis,
                **common,
            )
    ramp = frame[RAMP].notna().any()
    if ramp:
        figure.add_scatter(
            x=frame["Epoch"].tolist(),
            y=[None if pd.isna(value) else value for value in frame[RAMP]],
            name=RAMP,
            mode="lines+markers",
            line={"color": GREY, "dash": "dash"},
            yaxis="y3",
        )
    lay_out(figure, 500 if ramp else 360)
    top = [0.4, 1] if ramp else [0, 1]
    figure.update_layout(
        yaxis={"title": {"text": f"Training loss, {words.unit}"}, "domain": top},
        yaxis2={
            "title": {"text": f"Training {words.name}, {words.symbol}"},
            "overlaying": "y",
            "side": "right",
            "tickmode": "auto",  # else its ticks are where those of the loss are
        },
        xaxis={"anchor": "y3" if ramp else "y", "dtick": max(1, len(frame) // 10)},
    )
    if ramp:
        figure.update_layout(
            yaxis3={"title": {"text": "Drawn by layer, %"}, "domain": [0, 0.28], "range": [-5, 105]}
        )
    figure.update_yaxes(showgrid=False)
    figure.update_xaxes(title_text="Epoch")
    return figure
