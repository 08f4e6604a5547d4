"""Explore: drag budgets, see which bits each method would give every layer, take one away."""

from collections.abc import Sequence

import streamlit as st

from pages.explore import canvas, details, reference, rules_shown, runs_shown, start
from pages.explore.basic import draw_measured, draw_predicted
from pages.explore.examples import example_picker
from pages.explore.scene import Scene
from pages.network.view import network_view
from pages.plots import reliability
from pages.shared import session, text, widgets
from pages.shared.notes.left_out import say_left_out
from pages.shared.runs import live_progress
from pages.shared.words import explained
from qcore.allocation import ModelSpec
from qcore.models.catalog import network_title
from qcore.problem import SensitivityTable
from store import Run, Store, all_runs


def main() -> None:
    """Draw the page."""
    store = session.database()
    name = widgets.model_picker(store)
    basic = st.query_params.get("ui") == "basic"
    if runs_shown.left_another(name):
        _forget(basic)
    head = st.container(horizontal=True, vertical_alignment="bottom")
    head.title(text.literal(network_title(name)), width="content")
    with head:
        example_picker(name, all_runs(store))
    model = session.model_facts(store, name)
    mine = all_runs(store, model=name)
    setting, everything = start.pick_setting(mine, runs_shown.linked())
    float_search, float_test = (
        session.floats_of(store, everything[0])
        if everything
        else session.float_scores(store, name, start.first_data(name))
    )
    line = st.container(horizontal=True, vertical_alignment="center")
    with line:
        start.facts(model, float_search, float_test, session.words(store, everything[:1], model))
    # always there, as above what follows nothing may come and go
    with st.container():
        say_left_out(store, session.newest_within(everything), name)
    if model is None or session.frame(store, session.newest_within(everything), model).empty:
        if model is not None:
            start.network_facts(model)
        start.nothing_yet(store, name, mine, model)
        return
    # always there, or what follows would be built anew whenever a search starts or ends
    with st.container():
        if any(run.state in text.ACTIVE for run in mine):
            live_progress(store, mine, lambda run: run.spec.model == name)
    with head:
        source = _source()
        # beside the runs, or the row of its own would push the files off the first screen
        with st.container(horizontal=True, vertical_alignment="center"):
            compared = _compared(everything, store, model)
            budgets = st.container(width="content")
    frame = session.frame(store, compared, model)
    marked = reference.reference(store, model, frame, everything)
    words = session.words(store, compared, model)
    scene = Scene(store, model, compared, frame, marked, words)
    with line:
        start.search_here(store, name, mine, compared)
    if not basic:
        with budgets:
            canvas.typed_budgets(scene)
    if source == "measured":
        score = words.factor * float_search.headline if float_search else None
        if basic:
            draw_measured(scene, score)
        else:
            rows, view, held = canvas.draw_measured(scene, setting, score)
            # of any length: the network below it stays open
            with st.container():
                details.draw_picked(scene, rows, view, held)
    else:
        _predicted(scene, basic)
    rules_shown.draw(scene, basic)
    with st.expander("Network", icon=":material/account_tree:"):
        network_view(store, model, key="explore-network")
    left_out = len(everything) - len(compared)
    whole = f"{text.counted(left_out, 'run')} not shown" if left_out else "all runs shown"
    st.caption(
        f"Measured on {text.literal(setting)}; {whole}.{start.recorded_words(compared)} "
        "Searches and picks go by the search split; the test split is read for reported points.",
        help=explained(
            "divergence",
            "nats",
            "loss against float",
            "lose at most",
            "front",
            "search split",
            "test split",
            by=words,
        ),
    )
    start.network_facts(model)
    _other_controls(name, basic)


def _compared(everything: Sequence[Run], store: Store, model: ModelSpec) -> list[Run]:
    """The runs to show: what the reader chose, or the newest of all where that shows nothing."""
    chosen = session.newest_within(runs_shown.runs_shown(everything))
    if session.frame(store, chosen, model).empty:
        st.toast("The chosen runs have measured nothing yet, so all are shown.", icon="⏳")
        return session.newest_within(everything)
    return chosen


def _forget(basic: bool) -> None:
    """Drop from the address what was set for another model; native controls drop their own."""
    for key in ("runs", "ref", "pt", *(("held",) if basic else canvas.OWN_KEYS)):
        if key in st.query_params:
            del st.query_params[key]


def _source() -> str:
    return str(
        st.segmented_control(
            "Source",
            ["measured", "predicted"],
            default="measured",
            required=True,
            key="src",
            bind="query-params",
            label_visibility="collapsed",
            help="Measured: evaluated on images. Predicted: the exact optimum of a sensitivity "
            "table that was computed earlier; nothing was evaluated.",
        )
    )


def _predicted(scene: Scene, basic: bool) -> None:
    tables = session.sensitivity_tables(scene.store, scene.model)
    if not tables:
        st.info(
            "No sensitivity of this model is stored yet. Greedy, exact and portfolio searches "
            "compute one; run any of them first.",
            icon=":material/query_stats:",
        )
        return
    table = tables[str(st.selectbox("Sensitivity", list(tables), key="table"))]
    if not _believed(scene, table):
        return
    name = f"Exact optimum of {table.kind}"
    if basic:
        draw_predicted(scene, name, table)
    else:
        canvas.draw_predicted(scene, name, table)


def _believed(scene: Scene, table: SensitivityTable) -> bool:
    """Show how well the predictions rank what was measured; False where they may not be used."""
    points = [stored for run in scene.compared for stored in session.points(scene.store, run)]
    found = reliability.reliability(table, scene.model, points, scene.words)
    if reliability.trusted(found):
        st.caption(f"Predictions, not measurements. {reliability.words(found)}")
        return True
    st.warning(
        f"**Predictions of this sensitivity are hidden.** {reliability.words(found)} Choose "
        "another sensitivity or use what was measured.",
        icon=":material/visibility_off:",
    )
    return False


def _other_controls(name: str, basic: bool) -> None:
    query = {"model": name} if basic else {"model": name, "ui": "basic"}
    # what is set on layers goes along
    query |= {"held": held} if (held := st.query_params.get("held", "")) else {}
    label = "Controls to drag" if basic else "Basic controls"
    st.page_link(
        "pages/views/explore.py",
        label=label,
        icon=":material/tune:",
        query_params=query,
        help=None
        if basic
        else "Native sliders and charts: for screen readers, or if the "
        "drawing above does not appear.",
    )


main()
