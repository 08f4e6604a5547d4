"""One run in full: what it is, what can be done with it, what it found and how it searched."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import streamlit as st

from pages.downloads.figure_file import figure_files
from pages.plots import diagnostics, front, trajectories
from pages.plots.style import CHART
from pages.searches import run_dependencies, run_network
from pages.searches.launch_batch import command_line
from pages.searches.rules_form import run_rules
from pages.shared import frames, session, switchable_runs, text, widgets
from pages.shared.card_table import card_of_run, draw_card
from pages.shared.notes.float_note import float_note, warn
from pages.shared.notes.left_out import say_left_out, say_lost_lines
from pages.shared.rules.words import rules_words
from pages.shared.runs import launch, progress_line
from qcore.errors import QcoreError, RunNotFound
from qcore.run_spec import RunSpec, method_label
from qcore.setting import Setting
from qcore.solvers.switchable import METHODS
from store import (
    Run,
    Store,
    delete_run,
    events,
    log_tail,
    request_cancel,
    request_pause,
    resume,
    run,
    stop_now,
)
from store.runs.lease import ON_CORRECTION, ON_DATA


@session.database_explained()
def details(store: Store, at: int) -> None:
    """Draw everything about one run.

    Args:
        store: The database.
        at: Number of the run; one that was deleted meanwhile is said to be.
    """
    try:
        entry = run(store, at)
    except RunNotFound:
        st.info("This run was deleted.")
        return
    st.header(text.literal(entry.name))
    spec = entry.spec
    st.markdown(
        f"**{text.state_words(entry)}** · {method_label(spec.search)} "
        f"({text.params_text(spec.params)}) · {Setting.of(spec).words} · "
        f"{text.bits_set_text(spec)}{_ruled(spec)} · "
        f"budget: {text.limits_text(spec.limits, store.costs)} · "
        f"seed {spec.seed} · {_where(entry)}"
    )
    note = float_note(store, session.model_facts(store, spec.model), spec.images)
    warn(note)
    for event in events(store, at, [ON_DATA]):
        st.info(text.literal(event.text), icon=":material/info:")
    if entry.origin:
        st.info(
            f"Its points were {entry.origin}, not measured here; any of them can be measured "
            "again on Explore.",
            icon=":material/history:",
        )
    if entry.state in text.ACTIVE:
        progress_line(entry)
    _buttons(store, entry)
    say_left_out(store, [entry])
    if entry.state == "failed":
        _failure(entry)
        if note and not spec.anyway and st.button("Search anyway", key="anyway"):
            again = (replace(spec, anyway=True), entry.name)
            if launch(store, [again]):
                st.rerun()
    _history(store, entry)
    _front(store, entry)
    _diagnostics(store, entry)
    run_rules(spec, session.model_facts(store, spec.model))
    with st.expander("How it quantizes"):
        said = session.words(store, [entry], session.model_facts(store, spec.model))
        draw_card(card_of_run(store, spec), said)
        for event in events(store, at, [ON_CORRECTION]):
            st.caption(text.literal(event.text))
    happened = events(store, at)
    with st.expander(f"What happened ({len(happened)})"):
        say_lost_lines(store, entry)
        for event in happened[-200:]:
            st.text(f"{event.at}  {event.kind}  {event.text}")
    log = log_tail(store, entry.id, entry.attempt)
    if log:
        with st.expander("Log of its worker"):
            st.code(log, language="text")
    with st.expander("Run it without the dashboard"):
        st.code(command_line(spec), language="bash", wrap_lines=True)
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
            st.write(
                f"Delete {text.literal(entry.name)} with its {entry.evaluations:,} points for good?"
            )
            if st.button("Delete for good", type="primary", key="delete"):
                _do(delete_run, store, entry)
        if switchable_runs.searchable(entry):
            with st.popover("Search its network again", icon=":material/manage_search:"):
                _search_again(store, entry)


def _search_again(store: Store, entry: Run) -> None:
    """Ask for another front of the network this run has trained."""
    st.write("Nothing is trained, so that a whole front takes seconds.")
    methods = st.multiselect("Searches", METHODS, default=METHODS[:1], key="again-methods")
    bits = st.number_input(
        "Weights at most, bits each on average",
        value=0.0,
        min_value=0.0,
        max_value=32.0,
        step=0.5,
        key="again-bits",
        help="0 is the whole front.",
    )
    if st.button("Search", type="primary", icon=":material/play_arrow:", key="again"):
        model = session.model_facts(store, entry.spec.model)
        weights = sum(layer.weights for layer in model.layers) if model is not None else 0
        limits = {"weight_bytes": weights * bits / 8} if bits and weights else {}
        spec = switchable_runs.searched_spec(entry, methods, limits)
        if launch(store, [(spec, f"Network of run {entry.id} again")]):
            st.rerun()


def _do(ask: Callable[[Store, int], None], store: Store, entry: Run) -> None:
    try:
        ask(store, entry.id)
    except QcoreError as error:
        # the run has moved on since the page was drawn
        widgets.error_box(error)
        return
    st.rerun()


def _ruled(spec: RunSpec) -> str:
    return f"; rules: {text.literal(rules_words(spec.rules, 3), 400)}" if spec.rules else ""


def _where(entry: Run) -> str:
    """Which attempt it is, and where it runs or last ran."""
    if entry.host is None:
        return f"attempt {entry.attempt}"
    machine = entry.host.partition(":")[0]
    device = f", {entry.device}" if entry.device else ""
    return f"attempt {entry.attempt} on {machine}{device}"


def _failure(entry: Run) -> None:
    st.error(
        text.literal(entry.error or "It ended without a message; see its log."),
        icon=":material/error:",
    )
    if entry.traceback:
        with st.expander("Traceback"):
            st.code(entry.traceback, language="text")


def _history(store: Store, entry: Run) -> None:
    model = session.model_facts(store, entry.spec.model)
    stored: Sequence[frames.StoredPoint] = session.points(store, entry)
    if model is None or not stored:
        seen = entry.evaluations
        st.caption(
            f"Candidates were scored on parts of the search split only ({seen:,} evaluations): no "
            "point on all of it was measured yet."
            if seen
            else "No point was measured yet."
        )
        return
    words = session.words(store, [entry], model)
    st.plotly_chart(
        front.history_figure(
            frames.history_frame(stored, entry, model, store.costs),
            words.on("search"),
        ),
        key="history",
        config=CHART,
        alt=f"{words.title} of every evaluation, and the best so far.",
    )


def _front(store: Store, entry: Run) -> None:
    """The run's own front, as it fills."""
    model = session.model_facts(store, entry.spec.model)
    frame = session.frame(store, [entry], model) if model else None
    if model is None or frame is None or frame.empty:
        return
    costs = store.costs
    cost = costs[next((name for name in entry.spec.limits if name in costs), "weight_bytes")]
    words = session.words(store, [entry], model)
    float_search, _ = session.floats_of(store, entry)
    figure = front.front_figure(
        frame,
        frame.iloc[:0],
        cost,
        limit=entry.spec.limits.get(cost.name),
        float_score=words.factor * float_search.headline if float_search else None,
        words=words,
    )
    st.plotly_chart(
        figure,
        key="run-front",
        config=CHART,
        alt=f"{words.title} of this run's points against {cost.title.lower()}.",
    )
    figure_files(figure, f"{entry.name}: {entry.spec.model}", f"front_run-{entry.id}", "run-html")


def _diagnostics(store: Store, entry: Run) -> None:
    """What the search did inside, from the figures it sent with its progress."""
    kept = [e.data for e in events(store, entry.id, kinds=["figures"]) if e.data is not None]
    if not kept:
        return
    model = session.model_facts(store, entry.spec.model)
    said = session.words(store, [entry], model)
    generations = diagnostics.generations_frame(kept)
    epochs = diagnostics.epochs_frame(kept, said)
    drawn: dict[str, tuple[diagnostics.go.Figure | None, str]] = {}
    if len(generations):
        drawn["Generations"] = (
            diagnostics.generations_figure(generations),
            "What every generation was like: values, spread, or how many are on the front.",
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
            diagnostics.epochs_figure(epochs, said),
            f"Training loss and {said.name} of every epoch.",
        )
    drawn.update(trajectories.drawn(kept, store.costs, said))
    shown = {title: row for title, row in drawn.items() if row[0] is not None}
    if shown:  # what a search sends need not be anything to plot
        with st.expander("How it searched", expanded=True):
            tabs = zip(st.tabs(list(shown)), shown.items(), strict=True)
            for tab, (title, (figure, words)) in tabs:
                tab.plotly_chart(figure, key=f"inside-{title}", config=CHART, alt=words)
    run_dependencies.draw(store, entry, kept, model)
    run_network.draw(store, entry, kept, said)
