"""What changes from one allocation to another: bits, bytes and compute, layer by layer. Pure."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from pages.plots.style import CELL_TEXT_LAYERS, GREY, lay_out, plain, put
from pages.shared.text import bits_text
from qcore.allocation import BitAllocation, ModelSpec, stored_bits
from qcore.costs import COSTS, costs_of
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidAllocation
from qcore.problem import SensitivityTable

WEIGHT_DELTA, ACTIVATION_DELTA = "Weight bits, change", "Activation bits, change"
BYTES_DELTA, OPS_DELTA = "Weights, B, change", "Compute, bit-ops, change"

FEWER, SAME, MORE = "#0072B2", "#f7f7f7", "#D55E00"
"""Colours of fewer bits, no change and more bits; blue and orange differ for every eye."""

STRONGEST = 6
"""A change of this many bits has the full colour; more, such as to float, has it too."""


def diff_frame(model: ModelSpec, a: BitAllocation, b: BitAllocation) -> pd.DataFrame:
    """One row per layer, in execution order: what b changes of a.

    Returns:
        Columns: "Layer", "position" (1-based), "Kind", "Weight bits" and "Activation bits" (as
        "4 → 3", or "4" where equal), WEIGHT_DELTA and ACTIVATION_DELTA (bits of b minus bits of a;
        float counts as 32), BYTES_DELTA, OPS_DELTA, "changed".

    Raises:
        InvalidAllocation: either does not name exactly the model's layers.
    """
    for allocation in (a, b):
        allocation.check_names(model.layers)
    rows = []
    for position, layer in enumerate(model.layers, start=1):
        old, new = a[layer.name], b[layer.name]
        price = {
            name: COSTS[name].layer_cost(layer, new) - COSTS[name].layer_cost(layer, old)
            for name in ("weight_bytes", "bit_ops")
        }
        rows.append(
            {
                "Layer": layer.name,
                "position": position,
                "Kind": layer.kind,
                "Weight bits": _change(old.weight, new.weight),
                "Activation bits": _change(old.activation, new.activation),
                WEIGHT_DELTA: stored_bits(new.weight) - stored_bits(old.weight),
                ACTIVATION_DELTA: stored_bits(new.activation) - stored_bits(old.activation),
                BYTES_DELTA: price["weight_bytes"],
                OPS_DELTA: price["bit_ops"],
                "changed": old != new,
            }
        )
    return pd.DataFrame(rows)


ARROW = " \u2192 "
"""Between the bits that a layer had and those it has."""


def _change(old: int, new: int) -> str:
    return bits_text(old) if old == new else f"{bits_text(old)}{ARROW}{bits_text(new)}"


def _signed(value: int, told: str) -> str:
    """A cell's words: widths that take as many bits, as fp16 and 16 do, are not equal for that."""
    return f"{value:+d}" if value else "\u00b10" if ARROW in told else "="


def diff_totals(
    model: ModelSpec,
    a: BitAllocation,
    b: BitAllocation,
    costs: Mapping[str, CostModel] = COSTS,
) -> dict[str, tuple[int, int]]:
    """Cost name to (cost of a, cost of b), in the cost's unit, of every cost that both have.

    Raises:
        InvalidAllocation: either does not name exactly the model's layers.
    """
    old, new = costs_of(model, a, costs), costs_of(model, b, costs)
    return {name: (old[name], new[name]) for name in old if name in new}


def predicted_damage(table: SensitivityTable, allocation: BitAllocation) -> float | None:
    """Sum of a table's sensitivities, in its unit; None where it does not cover these bits."""
    try:
        return sum(table.score(name, bits) for name, bits in allocation.items())
    except InvalidAllocation:
        return None


def diff_figure(frame: pd.DataFrame, everything: bool = False) -> go.Figure:
    """Signed change of bits of each layer: a row for weights, a row for activations.

    Args:
        frame: What `diff_frame` returns.
        everything: Draw equal layers too; they are left out otherwise.
    """
    rows = frame if everything else frame[frame["changed"]]
    parts = [("weights", WEIGHT_DELTA, "Weight bits")]
    if (frame[ACTIVATION_DELTA] != 0).any():
        parts.append(("activations", ACTIVATION_DELTA, "Activation bits"))
    places = list(range(1, len(rows) + 1))
    figure = go.Figure()
    figure.add_heatmap(
        x=places,
        y=[name for name, _, _ in parts],
        z=[[max(-STRONGEST, min(STRONGEST, v)) for v in rows[delta]] for _, delta, _ in parts],
        hovertext=[
            [_words(row, name, words) for row in rows.to_dict("records")]
            for name, _, words in parts
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        colorscale=[[0, FEWER], [0.5, SAME], [1, MORE]],
        zmin=-STRONGEST,
        zmax=STRONGEST,
        xgap=1,
        ygap=1,
        colorbar={
            "title": {"text": "bits, change"},
            "tickvals": [-STRONGEST, 0, STRONGEST],
            "ticktext": [f"-{STRONGEST}", "0", f"+{STRONGEST}"],
            "thickness": 14,
            "outlinecolor": GREY,
            "outlinewidth": 1,
        },
    )
    if len(rows) <= CELL_TEXT_LAYERS:
        # only the full blue is dark enough for white digits
        for dark in (False, True):
            cells = [
                (place, name, _signed(value, told))
                for name, delta, words in parts
                for place, value, told in zip(places, rows[delta], rows[words], strict=True)
                if (value > -STRONGEST) is dark
            ]
            figure.add_scatter(
                x=[cell[0] for cell in cells],
                y=[cell[1] for cell in cells],
                text=[cell[2] for cell in cells],
                mode="text",
                textfont={"color": "#000000" if dark else "#ffffff", "size": 12},
                hoverinfo="skip",
                showlegend=False,
                name="digits",
            )
    longest = max(map(len, rows["Layer"]), default=0)
    lay_out(figure, 150 + 34 * len(parts) + round(4.6 * min(longest, 40)))
    every = len(rows) // 60 + 1
    left_out = "" if everything or len(rows) == len(frame) else "; equal layers left out"
    put(
        figure,
        xaxis={
            "title_text": "Layer, in execution order" + left_out,
            "tickvals": places[::every],
            "ticktext": [plain(short(name)) for name in rows["Layer"].tolist()[::every]],
            "tickangle": -45,
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"autorange": "reversed", "showgrid": False, "zeroline": False},
    )
    return figure


def _words(row: Mapping[str, object], part: str, column: str) -> str:
    return (
        f"<b>{plain(short(str(row['Layer'])))}</b> ({row['Kind']}, layer {row['position']})"
        f"<br>{part}: {row[column]} bits"
        f"<br>{row[BYTES_DELTA]:+,} B of weights, {row[OPS_DELTA]:+,} bit-ops"
    )


def short(name: str, most: int = 40) -> str:
    """A name for an axis: its end, where layers differ, if it is longer than `most` characters."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
