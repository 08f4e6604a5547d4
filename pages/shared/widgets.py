"""Widgets the pages share. Values that a link should carry are bound to the URL."""

from collections.abc import Iterable

import streamlit as st

from pages.shared import text
from pages.shared.budgets import forget_budgets
from pages.shared.setup import cost_table_notes
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
