"""The network that a run has trained to switch: what it takes, what its bits cost, and the file."""

from collections.abc import Sequence

import streamlit as st

from pages.plots import switchable
from pages.shared import session, switchable_runs
from pages.shared.judged import Words
from pages.shared.run_facts import left_stage
from qcore.errors import StoreError
from store import Run, Store, has_stage, trained_stage
from store.jobs import planes


def draw(store: Store, entry: Run, kept: Sequence[switchable.Figures], named: Words) -> None:
    """Draw it; nothing where the run trained no such network and measured no random bits.

    Args:
        store: The database.
        entry: The run.
        kept: Figures it sent with its progress.
        named: What its scores are called.
    """
    sizes, words = switchable.sizes_frame(kept), switchable.sampled_words(kept, named)
    if sizes.empty and not words:
        return
    with st.expander("The network that switches", expanded=True):
        if words:
            st.write(words)
        if not sizes.empty:
            st.dataframe(
                sizes,
                hide_index=True,
                column_config={
                    title: st.column_config.NumberColumn(format="localized")
                    for title in switchable.COLUMNS.values()
                },
            )
            st.caption(switchable.NOTE)
        if left_stage(entry) and entry.state == "done":
            st.page_link(
                "pages/views/run_time.py",
                label="At run time: let a demand move its switches",
                icon=":material/speed:",
                query_params={"model": entry.spec.model, "run": str(entry.id)},
            )
        _file(store, entry)


def _file(store: Store, entry: Run) -> None:
    """The trained network as a download, and how to run it."""
    model = session.model_facts(store, entry.spec.model)
    if model is None or entry.id not in switchable_runs.trained_runs([entry]):
        return
    stage = left_stage(entry)
    if not has_stage(store, entry.id, stage):
        st.caption("The file of its weights is not on this machine.")
        return
    with st.container(horizontal=True):
        st.download_button(
            "The network",
            data=lambda: _weights(store, entry.id, stage),
            file_name=switchable_runs.file_name(entry),
            mime="application/octet-stream",
            key="take-network",
            help="Weights, scales and all norms, for the lines below.",
            on_click="ignore",
            icon=":material/download:",
        )
        if planes.nests(entry):
            st.download_button(
                "As bit planes",
                data=lambda: planes.made_elsewhere(store, entry.id),
                file_name=switchable_runs.planes_name(entry),
                mime="application/octet-stream",
                key="take-planes",
                help="The codes of all widths once, leading bits first: a file that may be cut off "
                "behind any width. Written when it is asked for, in some seconds.",
                on_click="ignore",
                icon=":material/layers:",
            )
    st.code(switchable_runs.snippet(entry, model), language="python")


def _weights(store: Store, run_id: int, stage: str) -> bytes:
    data = trained_stage(store, run_id, stage)
    if data is None:
        raise StoreError(f"The file of stage {stage!r} of run {run_id} is damaged.")
    return data
