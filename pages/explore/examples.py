"""The networks a first visit can begin with: one of images, one of vibrations, one of texts."""

from collections.abc import Sequence

import streamlit as st

from pages.shared.budgets import forget_budgets
from qcore.models.catalog import DATASETS, EXAMPLES, default_data
from store import Run


def example_picker(name: str, everywhere: Sequence[Run]) -> None:
    """Offer the examples until something was measured here; the sidebar lists every network.

    Args:
        name: The network that is shown.
        everywhere: All runs of the database.
    """
    if name not in EXAMPLES or any(not run.origin for run in everywhere):
        return
    key = f"example-{name}"
    st.segmented_control(
        "Example",
        EXAMPLES,
        default=name,
        required=True,
        format_func=_data_title,
        key=key,
        on_change=_choose,
        args=(key,),
        label_visibility="collapsed",
        help="Three networks to begin with: an image classifier, an anomaly detector of machine "
        "vibrations, and a language model. Every other one is in the sidebar and on the Models "
        "page.",
    )


def _data_title(name: str) -> str:
    return DATASETS[default_data(name)].title.partition(" (")[0]


def _choose(key: str) -> None:
    st.session_state["model"] = st.session_state[key]
    forget_budgets()
