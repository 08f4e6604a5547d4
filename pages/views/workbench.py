"""Workbench: drag every layer's bits, see cost and prediction at once, measure."""

from collections.abc import Sequence

import streamlit as st

from pages.shared import session, text, widgets
from pages.shared.notes.left_out import say_left_out
from pages.shared.runs import live_progress
from pages.shared.samples.panel import samples_panel
from pages.workbench import controls, graph, numbers, panels, picture, why
from pages.workbench.bench import Bench, arrive, usable
from pages.workbench.draft import Start, problems
from pages.workbench.opening import best_point, default_budget
from qcore.allocation import WIDTHS_IN_WORDS, BitAllocation, ModelSpec
from qcore.run_spec import method_label
from store import Run, Store, StoredPoint, all_runs, config_text, points_of


def main() -> None:
    """Draw the page."""
    store = session.database()
    name = widgets.model_picker(store)
    st.title("Workbench")
    model = session.model_facts(store, name)
    if model is None:
        _never_prepared(name)
        return
    mine = all_runs(store, model=name)
    setting, everything = _setting(mine)
    compared = session.newest_within(everything)
    frame = session.frame(store, compared, model) if compared else None
    bench = arrive(
        model,
        lambda link: _find_point(store, mine, model, link),
        lambda: _best_start(store, model, compared),
    )
    source = f"{text.literal(name)}, from **{text.literal(bench.now.start.label)}**"
    controls.toolbar(store, model, bench, frame, source)
    # containers that are always there: what follows them stays what it is, and open
    with st.container():
        say_left_out(store, compared, name)
        _say_problems(bench, model)
    now, start = usable(bench, model), bench.now.start.allocation
    ready = panels.measured_line(store, model, compared, frame, now, start)
    tables = session.sensitivity_tables(store, model)
    judged = {
        label: why.judged(store, model, compared, label, known) for label, known in tables.items()
    }
    order = why.best_first(tables, judged)
    chosen = st.session_state.get(why.CHOSEN)
    chosen = chosen if chosen in tables else next(iter(order), "")
    picture.bit_picture(store, model, bench, now, compared, tables.get(chosen), judged.get(chosen))
    with st.container():
        if setting:
            st.caption(f"Measured on {text.literal(setting)}.")
        if ready is not None:
            panels.take_away(store, model, ready)
            point = int(ready["config_point"])
            words = ["--point", str(point)]
            samples_panel(store, f"point-{point}", lambda: config_text(store, point), words)
    with st.expander("Table of all layers", icon=":material/table_rows:", key="wb-rows"):
        controls.bits_editor(model, bench)
    panels.costs_panel(model, now, start, store.costs)
    panels.area_panel(model, now, start)
    with st.container():
        panels.change_panel(model, now, start)
    st.header("Why: what each layer's bits are worth")
    if tables:
        chosen = why.choose_table(order)
        why.why_panel(store, model, compared, tables[chosen], judged[chosen], now)
    else:
        st.write("No sensitivity of this model is stored yet.")
    panels.sensitivity_button(store, model, compared, now, main=not tables)
    graph.network_panel(store, model, bench, now)
    watched = [run for run in mine if _is_ours(run)]
    if any(run.state in text.ACTIVE for run in watched):
        live_progress(store, watched, lambda run: run.spec.model == name and _is_ours(run))


def _is_ours(run: Run) -> bool:
    return bool(run.spec.params.get("allocations")) or numbers.is_sensitivity(run.spec)


def _never_prepared(name: str) -> None:
    st.header("This model's layers are not known yet")
    st.write(
        f"{text.literal(name)} was never prepared on this machine: its layers are found by the "
        "first search. Start any search of it, then come back and edit its bits."
    )
    st.page_link(
        "pages/views/searches.py", label="Set up a search", icon=":material/manage_search:"
    )


def _setting(mine: Sequence[Run]) -> tuple[str, list[Run]]:
    groups = numbers.groups(mine)
    if not groups:
        return "", []
    chosen = next(iter(groups))
    if len(groups) > 1:
        with st.sidebar:
            chosen = st.selectbox(
                "Measured on",
                list(groups),
                key="on",
                bind="query-params",
                help="Scores on different samples are never shown together."
                if any(run.spec.judge for run in mine)
                else "Accuracies on different images are never shown together.",
            )
    return chosen, groups[chosen]


def _find_point(store: Store, mine: Sequence[Run], model: ModelSpec, link: str) -> Start | None:
    run, _, point = link.partition(":")
    known = {str(entry.id): entry for entry in mine}
    if run not in known:
        return None
    for stored in points_of(store, [known[run].id]):
        if str(stored.id) == point and set(stored.point.allocation) == set(model.names):
            return _start_of(model, known[run], stored)
    return None


def _start_of(model: ModelSpec, run: Run, stored: StoredPoint) -> Start:
    method = method_label(run.spec.search, stored.point.stage)
    bits = BitAllocation({name: stored.point.allocation[name] for name in model.names})
    return controls.point_start(model, method, run.id, stored.id, bits)


def _best_start(store: Store, model: ModelSpec, compared: Sequence[Run]) -> Start | None:
    """The best that was measured within the budget that Explore begins with."""
    points = (stored for run in compared for stored in session.points(store, run))
    found = best_point(points, model, default_budget(model))
    if found is None:
        return None
    return _start_of(model, next(run for run in compared if run.id == found.run_id), found)


def _say_problems(bench: Bench, model: ModelSpec) -> None:
    wrong = problems(bench.now, model)
    if wrong:
        st.error(
            f"{text.counted(len(wrong), 'row')} cannot be used; give {WIDTHS_IN_WORDS}: "
            + text.literal("; ".join(wrong[:20]) + ("; ..." if len(wrong) > 20 else ""))
            + ". Costs and results below are of the last bits that could be used.",
            icon=":material/error:",
        )


main()
