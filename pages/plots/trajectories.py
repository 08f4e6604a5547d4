"""How bits, steps, ranges and soft weights went while they were learned. Pure functions.

They read the figures a search sends with its progress: "trajectory" rows of a stage that learns its
bits, "soft_accuracy" and "off_level" of one whose weights harden.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from pages.plots.style import GREY, LINE_COLOURS, lay_out, plain
from pages.shared.judged import CLASSIFIER, Words
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel

Figures = Mapping[str, Any]

PARTS = {0: "weights", 1: "inputs"}


def trajectory_frame(kept: Sequence[Figures]) -> pd.DataFrame:
    """One row per noted step, layer and part that has a learned grid.

    Returns:
        Columns: "Step" (of the optimiser), "layer", "part" ("weights" or "inputs"), "bits" (those
        its codes need), "step" (distance of two levels), "range" (largest level).
    """
    rows = []
    for entry in kept:
        for noted in entry.get("trajectory", ()):
            columns = zip(
                entry["layers"], noted["bits"], noted["steps"], noted["ranges"], strict=True
            )
            for layer, bits, steps, ranges in columns:
                rows += [
                    {
                        "Step": noted["step"],
                        "layer": layer,
                        "part": PARTS[part],
                        "bits": bits[part],
                        "step": steps[part],
                        "range": ranges[part],
                    }
                    for part in PARTS
                    if bits[part] is not None
                ]
    return pd.DataFrame(rows, columns=["Step", "layer", "part", "bits", "step", "range"])


def excess_frame(kept: Sequence[Figures]) -> pd.DataFrame:
    """One row per noted step and limit: "Step", "cost", "excess, %" (negative: left over)."""
    rows = [
        {"Step": noted["step"], "cost": cost, "excess, %": 100 * share}
        for entry in kept
        for noted in entry.get("trajectory", ())
        for cost, share in noted["excess"].items()
    ]
    return pd.DataFrame(rows, columns=["Step", "cost", "excess, %"])


def hardening_frame(kept: Sequence[Figures], words: Words = CLASSIFIER) -> pd.DataFrame:
    """One row per epoch in which weights harden.

    Returns:
        Columns: "Epoch", "soft, %" and "hard, %" (accuracy, None without labels), "off level, %"
        (share of low-bit weights further than 0.05 from a level), "beta" (None at hard levels).
    """
    rows = [
        {
            "Epoch": place,
            "soft, %": _times(words.factor, entry.get("soft_accuracy")),
            "hard, %": _times(words.factor, entry.get("hard_accuracy")),
            "off level, %": _times(100, entry["off_level"]),
            "beta": entry.get("beta"),
        }
        for place, entry in enumerate(
            (e for e in kept if "epoch" in e and "off_level" in e), start=1
        )
    ]
    return pd.DataFrame(rows, columns=["Epoch", "soft, %", "hard, %", "off level, %", "beta"])


def bits_figure(frame: pd.DataFrame, part: str) -> go.Figure:
    """Bits of each layer over the steps, as a heatmap.

    Args:
        frame: From `trajectory_frame`, with at least one row of the part.
        part: "weights" or "inputs".
    """
    own = frame[frame["part"] == part]
    layers = list(dict.fromkeys(own["layer"]))
    grid = own.pivot_table(index="layer", columns="Step", values="bits", sort=False).loc[layers]
    figure = go.Figure(
        go.Heatmap(
            x=[str(step) for step in grid.columns],
            y=[plain(layer) for layer in layers],
            z=grid.to_numpy().tolist(),
            hovertemplate="step %{x}, %{y}: %{z} bits<extra></extra>",
            zmin=1,
            zmax=8,
            colorscale="Viridis",
            colorbar={"title": {"text": "bits"}, "thickness": 14},
        )
    )
    lay_out(figure, 130 + 14 * len(layers))
    figure.update_xaxes(title_text="Step", showgrid=False, type="category", nticks=12)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def grids_figure(frame: pd.DataFrame, part: str) -> go.Figure:
    """Range (above) and step (below) of each layer over the steps, on log axes."""
    figure = go.Figure()
    own = frame[frame["part"] == part]
    for place, (layer, rows) in enumerate(own.groupby("layer", sort=False)):
        for column, axis, dash in (("range", "y", "solid"), ("step", "y2", "dot")):
            figure.add_scatter(
                x=rows["Step"].tolist(),
                y=rows[column].tolist(),
                name=plain(str(layer)),
                legendgroup=str(layer),
                showlegend=column == "range",
                mode="lines",
                line={"color": LINE_COLOURS[place % len(LINE_COLOURS)], "dash": dash},
                yaxis=axis,
            )
    lay_out(figure, 460)
    figure.update_layout(
        yaxis={"title": {"text": "Range"}, "domain": [0.54, 1], "type": "log"},
        yaxis2={"title": {"text": "Step"}, "domain": [0, 0.46], "type": "log", "anchor": "x"},
    )
    figure.update_xaxes(title_text="Step of training", anchor="y2")
    return figure


def excess_figure(frame: pd.DataFrame, costs: Mapping[str, CostModel] = COSTS) -> go.Figure:
    """How far each limited cost is over its limit, in percent of it, over the steps."""
    figure = go.Figure()
    for place, (cost, rows) in enumerate(frame.groupby("cost", sort=False)):
        figure.add_scatter(
            x=rows["Step"].tolist(),
            y=rows["excess, %"].tolist(),
            name=costs[str(cost)].title if cost in costs else plain(str(cost)),
            mode="lines",
            line={"color": LINE_COLOURS[place % len(LINE_COLOURS)], "shape": "hv"},
        )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dash", "width": 1})
    lay_out(figure, 320)
    figure.update_xaxes(title_text="Step")
    figure.update_yaxes(title_text="Over the limit, %")
    return figure


def hardening_figure(frame: pd.DataFrame, words: Words = CLASSIFIER) -> go.Figure:
    """Accuracy of soft and of hard weights, and the share of weights not at a level yet."""
    figure = go.Figure()
    lines = (
        ("soft, %", "soft weights", LINE_COLOURS[0], "solid", "y"),
        ("hard, %", "hard weights", LINE_COLOURS[1], "solid", "y"),
        ("off level, %", "not at a level", LINE_COLOURS[2], "dot", "y2"),
    )
    for column, name, colour, dash, axis in lines:
        figure.add_scatter(
            x=frame["Epoch"].tolist(),
            y=_gaps(frame[column]),
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            yaxis=axis,
        )
    lay_out(figure, 340)
    figure.update_layout(
        yaxis={"title": {"text": f"{words.title}, {words.symbol}"}},
        yaxis2={
            "title": {"text": "Weights not at a level, %"},
            "overlaying": "y",
            "side": "right",
            "tickmode": "auto",  # else its ticks are where those of the accuracy are
            "rangemode": "tozero",
            "showgrid": False,
        },
    )
    figure.update_xaxes(title_text="Epoch", dtick=max(1, len(frame) // 10))
    return figure


def drawn(
    kept: Sequence[Figures],
    costs: Mapping[str, CostModel] = COSTS,
    words: Words = CLASSIFIER,
) -> dict[str, tuple[go.Figure, str]]:
    """Tab title to figure and description, for whatever was sent of this kind."""
    found: dict[str, tuple[go.Figure, str]] = {}
    learned, excess = trajectory_frame(kept), excess_frame(kept)
    hardening = hardening_frame(kept, words)
    for part in dict.fromkeys(learned["part"]):
        found[f"Learned bits, {part}"] = (
            bits_figure(learned, part),
            f"Bits that the {part} of each layer need, step by step.",
        )
        found[f"Steps and ranges, {part}"] = (
            grids_figure(learned, part),
            f"Learned range and step of the {part} of each layer.",
        )
    if len(excess):
        found["Limits"] = (
            excess_figure(excess, costs),
            "How far each cost is over its limit while bits are learned.",
        )
    if len(hardening):
        found["Hardening"] = (
            hardening_figure(hardening, words),
            f"{words.title} of soft and hard weights, and the share not yet at a level.",
        )
    return found


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _gaps(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None or pd.isna(value) else value for value in values]
