"""How a search went inside: generations, chosen allocations, training epochs. Pure functions.

They read the figures a search sends with its progress, as the store keeps them: whatever search
sends "generation", "round" or "epoch" is drawn, without a line about any search here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from pages.ui.figures import GREY, METHOD_COLOURS, bit_heatmap, lay_out, plain
from pages.ui.frames import bits_frame
from qcore.allocation import BitAllocation, ModelSpec

Figures = Mapping[str, Any]
"""One progress's numbers."""

MEANS = {"mean_bits": "weights", "mean_activation_bits": "activations"}


def generations_frame(kept: Sequence[Figures]) -> pd.DataFrame:
    """One row per generation, numbered through all rounds and restarts.

    Returns:
        Columns: "Generation" (from 1), "best", "median" and "record" (nats, None where nothing was
        within the limits), "sigma" (step size, widths), "axis ratio" (longest over shortest axis
        of the distribution), "start" (True where a descent begins anew).
    """
    rows: list[dict[str, Any]] = []
    for place, entry in enumerate((e for e in kept if "generation" in e), start=1):
        first = entry["generation"] == 0
        restart = entry.get("restart", 0)
        begun = place > 1 and (first or restart != rows[-1]["restart"])
        rows.append(
            {
                "Generation": place,
                **{name: entry.get(name) for name in ("best", "median", "record", "sigma")},
                "axis ratio": entry.get("axis_ratio"),
                "start": begun,
                "restart": restart,
            }
        )
    return pd.DataFrame(rows)


def epochs_frame(kept: Sequence[Figures]) -> pd.DataFrame:
    """One row per training epoch: "Epoch" (counted through), "stage", "loss", "accuracy, %"."""
    rows = [
        {
            "Epoch": place,
            "stage": entry["stage"],
            "loss": entry["loss"],
            "accuracy, %": None if "accuracy" not in entry else 100 * entry["accuracy"],
        }
        for place, entry in enumerate((e for e in kept if "epoch" in e), start=1)
    ]
    return pd.DataFrame(rows)


def generations_figure(frame: pd.DataFrame) -> go.Figure:
    """Best and median of each generation above, step size and axis ratio below, on one x axis."""
    figure = go.Figure()
    lines = (
        ("median", "median", METHOD_COLOURS[4], "dot", "y"),
        ("best", "best", METHOD_COLOURS[0], "solid", "y"),
        ("record", "best so far", METHOD_COLOURS[2], "dash", "y"),
        ("sigma", "step size", METHOD_COLOURS[1], "solid", "y2"),
        ("axis ratio", "axis ratio", METHOD_COLOURS[3], "dash", "y2"),
    )
    for column, name, colour, dash, axis in lines:
        figure.add_scatter(
            x=frame["Generation"].tolist(),
            y=[None if pd.isna(value) else value for value in frame[column]],
            name=name,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2},
            yaxis=axis,
        )
    for place in frame.loc[frame["start"], "Generation"]:
        figure.add_vline(x=place - 0.5, line={"color": GREY, "dash": "dash", "width": 1})
    lay_out(figure, 420)
    figure.update_layout(
        yaxis={"title": {"text": "Value, nats"}, "domain": [0.42, 1], "type": "log"},
        yaxis2={
            "title": {"text": "Widths; ratio"},
            "domain": [0, 0.34],
            "type": "log",
            "anchor": "x",
        },
    )
    figure.update_xaxes(title_text="Generation", anchor="y2")
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


def epochs_figure(frame: pd.DataFrame) -> go.Figure:
    """Training loss, and accuracy where there are labels, of every epoch of every stage."""
    figure = go.Figure()
    for place, (stage, rows) in enumerate(frame.groupby("stage", sort=False)):
        colour = METHOD_COLOURS[place % len(METHOD_COLOURS)]
        common = {"x": rows["Epoch"].tolist(), "mode": "lines+markers", "legendgroup": str(stage)}
        for column, axis, dash in (("loss", "y", "solid"), ("accuracy, %", "y2", "dot")):
            figure.add_scatter(
                y=[None if pd.isna(value) else value for value in rows[column]],
                name=f"{plain(str(stage))}: {column}",
                line={"color": colour, "dash": dash},
                yaxis=axis,
                **common,
            )
    lay_out(figure, 360)
    figure.update_layout(
        yaxis={"title": {"text": "Training loss, nats"}},
        yaxis2={"title": {"text": "Training accuracy, %"}, "overlaying": "y", "side": "right"},
    )
    figure.update_yaxes(showgrid=False)
    figure.update_xaxes(title_text="Epoch")
    return figure
