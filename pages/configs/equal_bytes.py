"""What a GGUF file chose, beside the exact optimum at the bytes that the file takes."""

import streamlit as st

from pages.shared import predictions, session
from pages.shared.columns import DAMAGE
from pages.shared.text import literal
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs.user_tables import Costs
from qcore.errors import InvalidAllocation
from qcore.formats.gguf.header import Head
from qcore.formats.gguf.match import stored
from qcore.formats.gguf.price import GGUF_BYTES, stored_bytes
from qcore.problem import SensitivityTable
from store import Store

OPTIMUM = "exact optimum at the file's bytes"


def optimum_at(
    head: Head, model: ModelSpec, table: SensitivityTable, costs: Costs
) -> tuple[BitAllocation, float, int] | None:
    """The bits of least predicted damage whose GGUF types take at most what a file takes.

    Args:
        head: Of the file.
        model: Whose layers it holds.
        table: A stored sensitivity of the model.
        costs: The costs there are.

    Returns:
        Bits, predicted damage in the table's unit, bytes by GGUF's types; None where not even the
        fewest bits of the table fit.
    """
    limit = stored_bytes(stored(head, model), model)
    priced = {**costs, GGUF_BYTES.name: GGUF_BYTES}
    found = predictions.predicted_pick("", table, model, {GGUF_BYTES.name: limit}, priced)
    if found.empty:
        return None
    bits: BitAllocation = found["allocation"].iloc[0]
    return bits, float(found[DAMAGE].iloc[0]), GGUF_BYTES.total(model, bits)


def damage_of(table: SensitivityTable, bits: BitAllocation) -> float | None:
    """Predicted damage of bits, or None where the table does not know some of them."""
    try:
        return sum(table.score(name, each) for name, each in bits.items())
    except InvalidAllocation:
        return None


def equal_bytes(
    store: Store, model: ModelSpec, head: Head, bits: BitAllocation
) -> BitAllocation | None:
    """Draw the comparison under a stored sensitivity; gives the optimum where there is one."""
    st.subheader("At the same bytes")
    tables = session.sensitivity_tables(store, model)
    if not tables:
        st.caption(
            "No sensitivity of this network is stored yet. Start the search Exact on the Searches "
            "page with the widths 2, 3, 4, 5, 6 and 8: then the exact optimum at the file's bytes "
            "stands here."
        )
        return None
    words = st.selectbox("Predicted by", list(tables), key="import-table", width=420)
    table = tables[words]
    found = optimum_at(head, model, table, store.costs)
    limit = stored_bytes(stored(head, model), model)
    if found is None:
        st.caption(
            f"The fewest bits that this sensitivity knows take more than the {limit:,} B of the "
            "file. Search with fewer bits."
        )
        return None
    best, damage, taken = found
    mine = damage_of(table, bits)
    told = (
        f"{mine:.4g} {literal(table.unit)}"
        if mine is not None
        else "not known: it lacks its widths"
    )
    st.markdown(
        f"Predicted damage, not measured: the file's bits {told}, the exact optimum "
        f"**{damage:.4g} {literal(table.unit)}**. By GGUF's types the file takes {limit:,} B for "
        f"these layers, the optimum {taken:,} B."
    )
    st.caption(
        "Both are predicted with bitdial's own codes, one scale for each output channel; GGUF's "
        "scales in blocks are finer. Measure both to know."
    )
    return best
