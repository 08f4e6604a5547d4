"""From all weights at 8 bits to an allocation's bytes: what each part of the network saves."""

import pandas as pd
import plotly.graph_objects as go

from pages.plots.style import GREY, LINE_COLOURS, lay_out, plain, put
from pages.shared.text import scale_of
from qcore.allocation import BitAllocation, LayerBits, ModelSpec
from qcore.costs import COSTS

MOST_PARTS = 14
"""Most bars; of more parts, those that save least are drawn as one."""

_FULL = LayerBits(8, 8)


def savings_frame(model: ModelSpec, allocation: BitAllocation) -> pd.DataFrame:
    """Bytes of weights that each part of the network saves against 8 bits in every layer.

    Returns:
        Columns: "part" (first word of the layers' names), "layers", "saved" (B; negative where it
        takes more), in execution order; the last row may be "other parts".
    """
    cost = COSTS["weight_bytes"].layer_cost
    parts: dict[str, tuple[int, int]] = {}
    for layer in model.layers:
        part = layer.name.partition(".")[0]
        count, saved = parts.get(part, (0, 0))
        gain = cost(layer, _FULL) - cost(layer, allocation[layer.name])
        parts[part] = (count + 1, saved + gain)
    rows = [(part, count, saved) for part, (count, saved) in parts.items()]
    if len(rows) > MOST_PARTS:
        kept = sorted(rows, key=lambda row: -abs(row[2]))[: MOST_PARTS - 1]
        rest = [row for row in rows if row not in kept]
        other = ("other parts", sum(row[1] for row in rest), sum(row[2] for row in rest))
        rows = [*(row for row in rows if row in kept), other]
    return pd.DataFrame(rows, columns=["part", "layers", "saved"])


def waterfall_figure(model: ModelSpec, allocation: BitAllocation) -> go.Figure:
    """A bar from 8 bits everywhere, one step per part of the network, a bar of what is left."""
    saved = savings_frame(model, allocation)
    price = COSTS["weight_bytes"]
    full = price.total(model, BitAllocation.uniform(model.layers, 8, 8))
    factor, unit = scale_of(price, full)
    steps = [full, *(-saved["saved"]), price.total(model, allocation)]
    names = [plain(f"{part[:24]}") for part in saved["part"]]
    # places, not names, are the axis: two parts may be called alike once they are cut short
    figure = go.Figure(
        go.Waterfall(
            x=list(range(len(steps))),
            y=[step / factor for step in steps],
            measure=["absolute", *["relative"] * len(names), "total"],
            text=[f"{step / factor:+,.3g}" if 0 < at < len(steps) - 1 else f"{step / factor:,.3g}"
                  for at, step in enumerate(steps)],
            textposition="outside",
            cliponaxis=False,
            decreasing={"marker": {"color": LINE_COLOURS[2]}},
            increasing={"marker": {"color": LINE_COLOURS[1]}},
            totals={"marker": {"color": LINE_COLOURS[0]}},
            connector={"line": {"color": GREY, "width": 1}},
            hovertemplate=f"%{{y:.4g}} {unit}<extra></extra>",
        )
    )  # fmt: skip
    lay_out(figure, 320)
    labels = ["8 bits everywhere", *names, "these bits"]
    put(
        figure,
        xaxis={
            "tickvals": list(range(len(steps))),
            "ticktext": labels,
            "title_text": "",
        },
        yaxis={"title_text": f"Weights, {unit}", "rangemode": "tozero"},
    )
    return figure
