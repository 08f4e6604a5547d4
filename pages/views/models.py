"""Models: what can be chosen, and the way in for a network of the reader's own."""

import streamlit as st

from pages.models import form, frames, steps
from pages.network.view import network_view
from pages.shared import session, widgets
from pages.shared.budgets import forget_budgets
from pages.shared.text import literal
from qcore.allocation import ModelSpec
from qcore.errors import QcoreError
from qcore.models import cards
from qcore.models.catalog import Models, default_data, judge_of, read_models
from qcore.models.entries import ModelEntry
from qcore.problem import Scores
from store import Store
from store.jobs import add_network

ADDING, OPENED = "m-adding", "m-opened"
"""Session keys: the step that adds a network, and the step whose network was opened."""


def main() -> None:
    """Draw the page."""
    store = session.database()
    _open_added(store)
    name = widgets.model_picker(store)
    models = read_models()
    st.title("Models")
    _networks(store, models)
    own = any(entry.source == "own" for entry in models.values())
    with st.expander("Add a network of your own", icon=":material/add:", expanded=not own):
        _add(store)
    if name not in models:
        st.info(f"{literal(name)} is known from searches only; it cannot be loaded any more.")
        return
    _chosen(store, models[name])


def _networks(store: Store, models: Models) -> None:
    names = [name for name, entry in models.items() if entry.source != "torchvision"]
    specs = {name: session.model_facts(store, name) for name in names}
    floats = {name: _float(store, name) for name in names}
    st.dataframe(
        frames.networks_frame([models[name] for name in names], specs, floats),
        hide_index=True,
        column_config={
            "Weights, million": st.column_config.NumberColumn(format="%.3f"),
            "Float accuracy, % (test)": st.column_config.NumberColumn(format="%.2f"),
            "Test images": st.column_config.NumberColumn(format="localized"),
            "Test samples": st.column_config.NumberColumn(format="localized"),
        },
        alt="Networks that come with bitdial and your own.",
    )
    others = len(models) - len(names)
    st.caption(
        f"And {others} of torchvision's ImageNet classifiers, whose weights are fetched once; "
        "choose any of them in the sidebar."
    )
    for place, reason in models.broken.items():
        st.error(f"{literal(place)} cannot be used: {literal(reason)}", icon=":material/error:")


def _float(store: Store, name: str) -> Scores | None:
    _, test = session.float_scores(store, name, default_data(name))
    return test


def _add(store: Store) -> None:
    try:
        asked = form.network_form()
    except QcoreError as error:
        widgets.error_box(error)
        steps.dismiss(store, ADDING)
        asked = None
    if asked is not None:
        new, upload = asked
        steps.begin(store, ADDING, lambda: add_network.start_adding(store, new, upload))
    look = steps.follow(store, ADDING)
    if look is None or look.report is None:
        return
    added = str(look.report["card"]["name"])
    layers = len(look.report["spec"]["layers"])
    st.success(
        f"{literal(added)} is added: {layers} layers can be quantized.", icon=":material/check:"
    )
    for note in look.report["notes"]:
        st.info(literal(str(note)), icon=":material/info:")


def _open_added(store: Store) -> None:
    """Choose a network in the sidebar once it was added, before the box there is drawn."""
    step = st.session_state.get(ADDING)
    if step is None or st.session_state.get(OPENED) == step:
        return
    added = steps.added(store, step)
    if added:
        st.session_state[OPENED] = step
        st.session_state["model"] = added
        forget_budgets()


def _chosen(store: Store, entry: ModelEntry) -> None:
    name = entry.name
    st.header(literal(entry.title))
    if entry.card is not None and entry.card.inputs:
        heard = "" if entry.card.sound is None else f"; given {entry.card.sound.words}"
        taken = f"{frames.source_words(entry)}; it takes {frames.input_words(entry)}{heard}"
        st.caption(literal(taken))
    else:
        classes = "" if judge_of(name).name != "classes" else f", {entry.classes:,} classes"
        st.caption(
            f"{frames.source_words(entry)}; images of "
            f"{'x'.join(map(str, entry.input_shape))}{classes}; mean "
            f"{_numbers(entry.preprocessing.mean)}, deviation {_numbers(entry.preprocessing.std)}"
        )
    if entry.card is not None:
        steps.judge_step(store, entry.card)
    model = session.model_facts(store, name)
    st.subheader("Layers", divider="gray")
    if model is None:
        st.info(
            "Its layers are not known yet: check it below, or start a search.",
            icon=":material/help:",
        )
    else:
        _layers(model)
        st.subheader("Network", divider="gray")
        network_view(store, model, key=f"m-network-{name}")
    st.subheader("Check", divider="gray")
    st.write("Runs the float network on your data: does it load, fit, and do what it should?")
    data = steps.data_input(name)
    counts = steps.counts_input(name)
    steps.check_step(store, name, data, counts)
    st.subheader("Sensitivity", divider="gray")
    st.write("The damage fewer bits do in each layer: predictions and most searches start from it.")
    steps.sensitivity_step(store, name, data, counts)
    st.subheader("Go on", divider="gray")
    with st.container(horizontal=True):
        query = {"model": name}
        st.page_link(
            "pages/views/explore.py",
            label="Explore",
            icon=":material/tune:",
            query_params=query,
        )
        st.page_link(
            "pages/views/searches.py",
            label="Start a search",
            icon=":material/manage_search:",
            query_params=query,
        )
        if entry.source == "own":
            _remove(name)


def _layers(model: ModelSpec) -> None:
    columns = st.columns(3)
    columns[0].metric("Layers that get bits", len(model.layers))
    columns[1].metric("Weights under a bit-width", f"{100 * model.coverage:.2f} %")
    columns[2].metric("Values left in float", f"{sum(model.left_in_float.values()):,}")
    layers = frames.layers_frame(model)
    numbers = [column for column in layers if layers[column].dtype.kind == "i"]
    st.dataframe(
        layers,
        hide_index=True,
        height=320,
        column_config={
            column: st.column_config.NumberColumn(format="localized") for column in numbers
        },
        alt="Layers that get bits.",
    )
    left = frames.left_frame(model)
    if len(left):
        with st.expander(f"Left in float: {len(left)} parameters, and why"):
            st.dataframe(
                left,
                hide_index=True,
                column_config={
                    "Share of all, %": st.column_config.NumberColumn(format="%.3f"),
                    "Why it stays in float": st.column_config.TextColumn(width="large"),
                },
                alt="Parameters left in float.",
            )
    for sentence in model.warnings:
        st.warning(literal(sentence), icon=":material/warning:")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _remove(name: str) -> None:
    with st.popover("Remove", icon=":material/delete:"):
        st.write(
            f"Forget {literal(name)} and its copy of the weights? What was measured with it stays."
        )
        st.button("Remove for good", type="primary", key="m-remove", on_click=_gone, args=(name,))


def _gone(name: str) -> None:
    try:
        cards.remove_card(name)
    except (QcoreError, OSError) as error:
        st.toast(literal(str(error)), icon=":material/error:")
        return
    st.session_state["model"] = next(iter(read_models()))
    forget_budgets()


main()
