"""The network on the Workbench: bits and locks of a layer can be changed in the picture too."""

from dataclasses import replace

import streamlit as st

from pages.network.view import Change, network_view
from pages.workbench.bench import Bench, change
from pages.workbench.draft import Draft
from qcore.allocation import BitAllocation, ModelSpec
from store import Store


def network_panel(store: Store, model: ModelSpec, bench: Bench, now: BitAllocation) -> None:
    """Draw the network with the draft's bits; what is changed there is a step like any other.

    Args:
        store: Gives stored sensitivities and input ranges.
        model: What is edited.
        bench: The draft, and its locks.
        now: Its bits, or the last that could be used.
    """

    def take(told: Change) -> None:
        change(model, lambda history: history.push(changed(history.now, told)))

    with st.expander("Network", icon=":material/account_tree:"):
        network_view(
            store,
            model,
            now,
            title="this draft",
            editable=True,
            locked=[row.locked for row in bench.now.rows],
            on_change=take,
            key="wb-graph",
        )


def changed(draft: Draft, told: Change) -> Draft:
    """The draft after one layer was changed."""
    rows = list(draft.rows)
    bits = told.bits
    rows[told.layer] = replace(
        rows[told.layer], weight=bits.weight, activation=bits.activation, locked=told.locked
    )
    return replace(draft, rows=tuple(rows))
