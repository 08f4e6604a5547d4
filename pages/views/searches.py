"""Searches: launch them, watch them, stop them, and see what each one did."""

from collections.abc import Sequence

import streamlit as st

from pages.ui import figures, frames, session, text, widgets
from pages.ui.launch_form import launch_form
from qcore.errors import QcoreError, RunNotFound
from store import Run, Store, delete_run, events, request_cancel, run, runs

CHART = {"toImageButtonOptions": {"format": "svg"}, "displaylogo": False}


def main() -> None:
    """Draw the page."""
    store = session.database()
    name = widgets.model_picker(store)
    st.title("Searches")
    known = runs(store)
    with st.expander("New search", expanded=not known, icon=":material/add:"):
        launch_form(store, name)
    if not known:
        st.info("No search was started yet. Set one up above.", icon=":material/manage_search:")
        return
    active = any(entry.state in text.ACTIVE for entry in known)
    st.fragment(_table, run_every=1.0 if active else None)(store, active)
    ids = [entry.id for entry in sorted(known, key=lambda entry: -entry.id)]
    # a link carries what the box shows, so it shows numbers
    chosen = st.selectbox("Details of run", ids, key="run", bind="query-params", width=200)
    live = next(entry for entry in known if entry.id == chosen).state in text.ACTIVE
    st.fragment(_details, run_every=1.0 if live else None)(store, int(chosen))


@session.database_explained()
def _table(store: Store, was_active: bool) -> None:
    now = sorted(runs(store), key=lambda entry: -entry.id)
    if was_active and not any(entry.state in text.ACTIVE for entry in now):
        # all have ended: draw the page once more, without timers
        st.rerun()
    st.dataframe(
        frames.runs_frame(now, {entry.id: _best(store, entry) for entry in now}),
        hide_index=True,
        column_config={
            "Progress, %": st.column_config.ProgressColumn(
                "Progress, %", min_value=0, max_value=100, format="%.0f", width="small"
            ),
            "Best within budget, %": st.column_config.NumberColumn(format="%.2f"),
        },
        alt="All searches with their state, progress and best result.",
    )
    shown = list(dict.fromkeys(entry.state for entry in now))
    st.caption("States: " + "; ".join(text.STATES[state] for state in shown) + ".")


def _best(store: Store, entry: Run) -> "frames.Scores | None":
    model = session.model_facts(store, entry.spec.model)
    return session.best_scores(store, entry, model) if model else None


@session.database_explained()
def _details(store: Store, at: int) -> None:
    try:
        entry = run(store, at)
    except RunNotFound:
        st.info("This run was deleted.")
        return
    st.subheader(entry.name)
    spec = entry.spec
    st.markdown(
        f"**{text.state_words(entry)}** · {frames.method_label(spec.search)} "
        f"({text.params_text(spec.params)}) · {frames.setting_of(entry)} · "
        f"{text.bits_set_text(spec)} · budget: {text.limits_text(spec.limits)} · "
        f"seed {spec.seed} · attempt {entry.attempt}"
    )
    if entry.state in text.ACTIVE:
        widgets.progress_line(entry)
    _buttons(store, entry)
    if entry.state == "failed":
        _failure(entry)
    _history(store, entry)
    happened = events(store, at)
    with st.expander(f"What happened ({len(happened)} entries)"):
        for event in happened[-200:]:
            st.text(f"{event.at}  {event.kind}  {event.text}")
    with st.expander("Run it without the dashboard"):
        st.json(spec.to_json(), expanded=False)


def _buttons(store: Store, entry: Run) -> None:
    left, right, _ = st.columns([1, 1, 4])
    active = entry.state in text.ACTIVE
    try:
        stoppable = active and not text.is_cancelling(entry)
        if left.button("Cancel", disabled=not stoppable, key="cancel", icon=":material/stop:"):
            request_cancel(store, entry.id)
            st.toast(f"{entry.name}: {text.CANCELLING}.")
            st.rerun()
        with right.popover("Delete", disabled=active, icon=":material/delete:"):
            st.write(f"Delete {entry.name} with its {entry.evaluations:,} points for good?")
            if st.button("Delete for good", type="primary", key="delete"):
                delete_run(store, entry.id)
                st.rerun()
    except QcoreError as error:
        widgets.error_box(error)


def _failure(entry: Run) -> None:
    st.error(entry.error or "It ended without a message; see its log.", icon=":material/error:")
    if entry.traceback:
        with st.expander("Traceback"):
            st.code(entry.traceback, language="text")


def _history(store: Store, entry: Run) -> None:
    model = session.model_facts(store, entry.spec.model)
    stored: Sequence[frames.StoredPoint] = session.points(store, entry)
    if model is None or not stored:
        st.caption("No point was measured yet.")
        return
    labelled = stored[0].point.search.accuracy is not None
    what = "Accuracy" if labelled else "Agreement with the float network"
    st.plotly_chart(
        figures.history_figure(
            frames.history_frame(stored, entry, model), f"{what} on the search split, %"
        ),
        key="history",
        config=CHART,
        alt=f"{what} of every evaluation, and the best so far.",
    )


main()
