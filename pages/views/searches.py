"""Searches: launch them, watch them, stop them, and see what each one did."""

from collections.abc import Callable, Sequence

import streamlit as st

from pages.ui import diagnostics, figures, frames, session, text, trajectories, widgets
from pages.ui.launch_form import launch_form
from qcore.errors import QcoreError, RunNotFound
from store import (
    Run,
    Store,
    delete_run,
    events,
    request_cancel,
    request_pause,
    resume,
    run,
    runs,
    stop_now,
)

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
        f"seed {spec.seed} · {_where(entry)}"
    )
    if entry.state in text.ACTIVE:
        widgets.progress_line(entry)
    _buttons(store, entry)
    if entry.state == "failed":
        _failure(entry)
    _history(store, entry)
    _diagnostics(store, entry)
    happened = events(store, at)
    with st.expander(f"What happened ({len(happened)} entries)"):
        for event in happened[-200:]:
            st.text(f"{event.at}  {event.kind}  {event.text}")
    with st.expander("Run it without the dashboard"):
        st.json(spec.to_json(), expanded=False)


def _buttons(store: Store, entry: Run) -> None:
    """What can be done with a run in its state; every wish is one write, workers obey it."""
    offers: dict[str, tuple[str, Callable[[Store, int], None], bool]] = {}
    if entry.state in text.ACTIVE:
        offers["Pause"] = (":material/pause:", request_pause, not text.is_stopping(entry))
    if entry.state == "running":
        can_stop = entry.want not in ("stop", "cancel")
        offers["Stop now"] = (":material/stop:", stop_now, can_stop)
    if entry.state == "paused":
        offers["Resume"] = (":material/play_arrow:", resume, True)
    if entry.state == "failed":
        offers["Try again"] = (":material/replay:", resume, True)
    if entry.state in (*text.ACTIVE, "paused"):
        offers["Cancel"] = (":material/close:", request_cancel, not entry.cancelling)
    with st.container(horizontal=True):
        for label, (icon, ask, can) in offers.items():
            key = label.lower().replace(" ", "-")
            if st.button(label, disabled=not can, key=key, icon=icon):
                _do(ask, store, entry)
        with st.popover("Delete", disabled=entry.state in text.ACTIVE, icon=":material/delete:"):
            st.write(f"Delete {entry.name} with its {entry.evaluations:,} points for good?")
            if st.button("Delete for good", type="primary", key="delete"):
                _do(delete_run, store, entry)


def _do(ask: Callable[[Store, int], None], store: Store, entry: Run) -> None:
    try:
        ask(store, entry.id)
    except QcoreError as error:
        # the run has moved on since the page was drawn
        widgets.error_box(error)
        return
    st.rerun()


def _where(entry: Run) -> str:
    """Which attempt it is, and where it runs or last ran."""
    if entry.host is None:
        return f"attempt {entry.attempt}"
    machine = entry.host.partition(":")[0]
    device = f", {entry.device}" if entry.device else ""
    return f"attempt {entry.attempt} on {machine}{device}"


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


def _diagnostics(store: Store, entry: Run) -> None:
    """What the search did inside, from the figures it sent with its progress."""
    kept = [e.data for e in events(store, entry.id, kinds=["figures"]) if e.data is not None]
    if not kept:
        return
    model = session.model_facts(store, entry.spec.model)
    generations, epochs = diagnostics.generations_frame(kept), diagnostics.epochs_frame(kept)
    drawn: dict[str, tuple[diagnostics.go.Figure | None, str]] = {}
    if len(generations):
        drawn["Generations"] = (
            diagnostics.generations_figure(generations),
            "Best and median value, step size and axis ratio of every generation.",
        )
        for name, part in diagnostics.MEANS.items():
            if any(entry.get(name) for entry in kept):
                drawn[f"Mean bits, {part}"] = (
                    diagnostics.means_figure(kept, name),
                    f"Mean bits of the {part} of each layer in every generation.",
                )
    if model is not None:
        drawn["Rounds"] = (
            diagnostics.rounds_figure(kept, model),
            "The bits of each layer that every round chose.",
        )
    if len(epochs):
        drawn["Training"] = (
            diagnostics.epochs_figure(epochs),
            "Training loss and accuracy of every epoch.",
        )
    drawn.update(trajectories.drawn(kept))
    shown = {title: row for title, row in drawn.items() if row[0] is not None}
    with st.expander("How it searched", expanded=True):
        for tab, (title, (figure, words)) in zip(st.tabs(list(shown)), shown.items(), strict=True):
            tab.plotly_chart(figure, key=f"inside-{title}", config=CHART, alt=words)


main()
