"""Workbench: give every layer its bits by hand, see cost and prediction at once, measure."""

from collections.abc import Sequence

import streamlit as st

from pages.shared import session, text, widgets
from pages.shared.runs import live_progress
from pages.workbench import controls, graph, numbers, panels, why
from pages.workbench.bench import Bench, arrive
from pages.workbench.draft import Start, allocation_of, problems
from qcore.allocation import BitAllocation, ModelSpec
from qcore.models.catalog import network_title
from store import Run, Store, all_runs, points_of


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
    bench = arrive(model, lambda link: _find_point(store, mine, model, link))
    title = text.literal(network_title(name))
    st.markdown(
        f"{title} · starting point: {text.literal(bench.now.start.label)}"
        + (f" · measured on {text.literal(setting)}" if setting else "")
    )
    controls.start_chooser(store, model, frame)
    # in containers of their own: what follows would be built anew whenever a line comes or goes
    with st.container():
        controls.toolbar(model, bench)
    with st.container():
        now, start = _usable(bench, model), bench.now.start.allocation
    panels.costs_panel(model, now, start, store.costs)
    table, panel = st.columns([2, 1], gap="medium")
    with table:
        controls.bits_editor(model, bench)
    tables = session.sensitivity_tables(store, model)
    judged = {
        label: why.judged(store, model, compared, label, known) for label, known in tables.items()
    }
    with panel:
        panels.measured_panel(store, model, compared, frame, now, start)
        if tables:
            chosen = why.choose_table(tables, judged)
            panels.predicted_panel(tables[chosen], model, judged[chosen], now, start)
    panels.area_panel(model, now, start)
    with st.container():
        panels.change_panel(model, now, start)
    st.header("Why: what each layer's bits are worth")
    if tables:
        score = "accuracy" if _labelled(store, compared) else "agreement with the float network"
        why.why_panel(store, model, compared, tables[chosen], judged[chosen], now, score)
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
                help="Accuracies on different images are never shown together.",
            )
    return chosen, groups[chosen]


def _find_point(store: Store, mine: Sequence[Run], model: ModelSpec, link: str) -> Start | None:
    run, _, point = link.partition(":")
    known = {str(entry.id): entry.id for entry in mine}
    if run not in known:
        return None
    for stored in points_of(store, [known[run]]):
        if str(stored.id) == point and set(stored.point.allocation) == set(model.names):
            bits = {name: stored.point.allocation[name] for name in model.names}
            return controls.point_start(known[run], stored.id, BitAllocation(bits))
    return None


def _usable(bench: Bench, model: ModelSpec) -> BitAllocation:
    wrong = problems(bench.now, model)
    if wrong:
        st.error(
            f"{text.counted(len(wrong), 'row')} cannot be used; give 1 to 8 bits, or 32 for float: "
            + text.literal("; ".join(wrong[:20]) + ("; ..." if len(wrong) > 20 else ""))
            + ". Costs and results below are of the last bits that could be used.",
            icon=":material/error:",
        )
    for draft in (bench.now, *reversed(bench.history.past)):
        found = allocation_of(draft, model)
        if found is not None:
            return found
    return bench.now.start.allocation


def _labelled(store: Store, compared: Sequence[Run]) -> bool:
    return all(
        stored.point.search.accuracy is not None
        for run in compared
        for stored in session.points(store, run)[:1]
    )


main()
