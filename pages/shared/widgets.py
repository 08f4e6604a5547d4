"""Widgets the pages share. Values that a link should carry are bound to the URL."""

from collections.abc import Iterable, Sequence

import streamlit as st

from pages.shared import text
from pages.shared.budgets import forget_budgets
from pages.shared.setup import cost_table_notes
from qcore.allocation import HALF_WIDTHS, width_text
from qcore.errors import QcoreError
from qcore.models.catalog import read_models
from store import Store, all_runs


def error_box(error: QcoreError) -> None:
    """Show what went wrong in words; everything else is a bug and keeps its traceback."""
    st.error(text.literal(str(error)), icon=":material/error:")


def notes(sentences: Iterable[str]) -> None:
    """Show what a reader should know of a file, one box a sentence."""
    for sentence in sentences:
        st.info(text.literal(sentence), icon=":material/info:")


OFFERED_WIDTHS = (*range(1, 9), 16, *HALF_WIDTHS)
"""Widths that forms offer; 9 to 15 bits join where what is repeated had them."""


def width_pills(label: str, chosen: Sequence[int], key: str) -> tuple[int, ...]:
    """Let the reader choose several widths.

    Args:
        label: Of the widget.
        chosen: What is chosen at first; whatever is not among OFFERED_WIDTHS is offered too.
        key: Of the widget.

    Returns:
        The widths in the order they were chosen.
    """
    found = st.pills(
        label,
        sorted({*OFFERED_WIDTHS, *chosen}),
        selection_mode="multi",
        default=list(chosen),
        format_func=width_text,
        key=key,
    )
    return tuple(found)


def model_picker(store: Store) -> str:
    """Let the reader choose a model in the sidebar; bound to the URL key "model".

    Models of stored runs that are no longer listed can still be chosen.
    """
    everywhere = all_runs(store)
    names = list(dict.fromkeys([*read_models(), *(run.spec.model for run in everywhere)]))

    with st.sidebar:
        name = st.selectbox(
            "Model",
            names,
            key="model",
            bind="query-params",
            on_change=forget_budgets,
        )
        active = [run.state for run in everywhere if run.state in text.ACTIVE]
        st.caption(
            f"{active.count('running')} running, {active.count('queued')} queued"
            if active
            else "No search is running."
        )
        cost_table_notes(store.costs)
    return str(name)
