"""The same bits in every layer, before anything was measured: what they cost is known already."""

import pandas as pd
import streamlit as st

from pages.ui import figures, frames, text
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.costs import COSTS, applicable

LADDER = (2, 3, 4, 8)
"""Weight bits of the steps; the first search measures just these, with activations in float."""

PRICED = ("weight_bytes", "model_bytes", "bit_ops")


def ladder_frame(model: ModelSpec) -> pd.DataFrame:
    """One row a step: "method" (how it is called) and its allocation."""
    rows = [
        (f"{bits} bits", BitAllocation.uniform(model.layers, bits, FLOAT_BITS)) for bits in LADDER
    ]
    return pd.DataFrame(rows, columns=["method", "allocation"])


def costs_frame(model: ModelSpec) -> pd.DataFrame:
    """What each step costs, to the byte and the operation."""
    return pd.DataFrame(
        [
            {
                "Every weight": row["method"],
                **{
                    f"{COSTS[name].title} (exact)": text.exact_cost_text(
                        name, COSTS[name].total(model, row["allocation"])
                    )
                    for name in PRICED
                    if name in applicable(model)
                },
            }
            for row in ladder_frame(model).to_dict("records")
        ]
    )


def draw(model: ModelSpec) -> None:
    """Draw the ladder's bits and costs, and say that none of it was measured."""
    st.markdown("**The same bits in every layer: the ladder to beat**")
    st.plotly_chart(
        figures.bit_heatmap(frames.bits_frame(ladder_frame(model), model)),
        key="ladder",
        config={"displaylogo": False, "toImageButtonOptions": {"format": "svg"}},
        alt="2, 3, 4 and 8 weight bits in every layer, activations in float.",
    )
    st.dataframe(
        costs_frame(model),
        hide_index=True,
        alt="Bytes and bit-operations of 2, 3, 4 and 8 bits in every layer.",
    )
    st.caption(
        "Costs are exact: they follow from the layers' shapes, with activations in float (fp). "
        "**Not measured yet:** what each step costs in accuracy; the first search measures that."
    )
