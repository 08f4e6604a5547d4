"""The steps of the Models page that take a while: started in a process, followed, cancelled."""

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from pages.models import frames
from pages.models.judge_form import judge_input
from pages.shared import session, widgets
from pages.shared.data_words import data_note, kinds_for, place_words
from pages.shared.judged import judged, words_for
from pages.shared.opening import progress_words, share_of
from pages.shared.text import literal
from qcore.errors import InvalidParams, QcoreError
from qcore.judges import judge_words
from qcore.models.cards import Card
from qcore.models.catalog import (
    DATASETS,
    data_name,
    default_data,
    judge_of,
    read_models,
    split_data_name,
)
from qcore.sensitivity.kinds import SENSITIVITIES
from store import Store
from store.jobs import add_network, opening

EVERY_S = 0.5

SENSITIVITY_KINDS = {
    name: SENSITIVITIES[name].words for name in sorted(SENSITIVITIES, key=lambda name: name != "kl")
}
"""What each sensitivity is called here."""


def begin(store: Store, slot: str, start: Callable[[], str]) -> None:
    """Start a step and remember it in this browser session; say why where it cannot start."""
    try:
        st.session_state[slot] = start()
    except QcoreError as error:
        dismiss(store, slot)
        widgets.error_box(error)
        return
    st.rerun()


def dismiss(store: Store, slot: str) -> None:
    """Forget how a step of this session ended, as something newer is said; not one that runs."""
    if not busy(slot, store):
        st.session_state.pop(slot, None)


def follow(store: Store, slot: str) -> opening.Look | None:
    """Draw how far a step of this session is; returns how it ended, or None while it has not."""
    step = st.session_state.get(slot)
    if step is None:
        return None
    try:
        look = opening.look(store, step)
    except QcoreError as error:
        st.session_state.pop(slot)
        widgets.error_box(error)
        return None
    if look.state == "running":
        st.fragment(_progress, run_every=EVERY_S)(store, slot)
        return None
    if look.state == "failed":
        st.error(literal(look.words), icon=":material/error:")
    elif look.state == "cancelled":
        st.info("Cancelled; nothing of it was kept.", icon=":material/close:")
    return look


def added(store: Store, step: str) -> str:
    """Name of the network that a step has added; "" while it has not, or where it failed."""
    try:
        report = opening.look(store, step).report
    except QcoreError:
        return ""
    return "" if report is None else str(report["card"]["name"])


@session.database_explained()
def _progress(store: Store, slot: str) -> None:
    step = st.session_state.get(slot)
    if step is None:
        return
    look = opening.look(store, step)
    if look.state != "running":
        st.rerun()
        return
    st.progress(share_of(look), progress_words(look))
    if st.button("Cancel", key=f"{slot}-cancel", icon=":material/close:"):
        opening.cancel(store, step)
        st.rerun()


def busy(slot: str, store: Store) -> bool:
    """True while a step of this session is under way."""
    step = st.session_state.get(slot)
    if step is None:
        return False
    try:
        return opening.look(store, step).state == "running"
    except QcoreError:
        return False


def data_input(name: str) -> str:
    """Let the reader choose the data a network is measured on; returns the data name."""
    card = read_models()[name].card
    inputs = () if card is None else card.inputs
    fitting = kinds_for(read_models()[name].datasets, inputs)
    key, _, place = default_data(name).partition(":")
    chosen = str(
        st.selectbox(
            "Data",
            fitting,
            index=fitting.index(key) if key in fitting and (place or not inputs) else 0,
            format_func=lambda key: DATASETS[key].title,
            key=f"m-data-{name}",
        )
    )
    st.caption(literal(data_note(chosen, inputs, judge_of(name))))
    if not DATASETS[chosen].needs_path:
        return chosen
    label, example = place_words(chosen)
    path = st.text_input(
        label,
        place if chosen == key else "",
        key=f"m-place-{name}-{chosen}",
        placeholder=example,
    )
    return data_name(path, chosen)


def counts_input(name: str) -> tuple[int, int]:
    """Let the reader choose how many samples calibrate and how many are searched on."""
    card = read_models()[name].card
    samples = "samples" if card is not None and card.inputs else words_for(judge_of(name)).samples
    left, right = st.columns(2)
    calibration = left.number_input(
        f"Calibration {samples}", min_value=1, value=1024, step=64, key=f"m-calibration-{name}"
    )
    search = right.number_input(
        f"Search {samples}", min_value=1, value=1024, step=64, key=f"m-search-{name}"
    )
    return int(calibration), int(search)


def judge_step(store: Store, card: Card) -> None:
    """Let the reader change how the answers of a network are compared; tried before it is kept."""
    slot = f"m-judge-step-{card.name}"
    st.write(f"Compared by: {literal(judge_words(card.judge))}. {card.judge.about}")
    with st.expander("Compare its answers otherwise", icon=":material/balance:"):
        try:
            judge = judge_input(f"m-own-{card.name}", card.judge)
        except InvalidParams as error:
            widgets.error_box(error)
            return
        changed = judge is not None and judge != card.judge
        if (
            st.button("Use this", key="m-judge", disabled=not changed or busy(slot, store))
            and judge is not None
        ):
            begin(store, slot, lambda: add_network.start_judging(store, card.name, judge))
        st.caption(
            "What was measured before keeps its own figures, and is not compared with what comes."
        )
    look = follow(store, slot)
    if look is not None and look.report is not None:
        st.success(f"Compared by {literal(str(look.report['judge']))}.", icon=":material/check:")
        for note in look.report["notes"]:
            st.info(literal(str(note)), icon=":material/info:")


def check_step(store: Store, name: str, data: str, counts: tuple[int, int]) -> None:
    """Measure the float network: accuracy, time, and what looks wrong."""
    slot = f"m-check-step-{name}"
    if st.button("Check", key="m-check", icon=":material/fact_check:", disabled=busy(slot, store)):
        begin(store, slot, lambda: _started_check(store, name, data, counts))
    look = follow(store, slot)
    if look is None or look.report is None:
        return
    report = look.report
    labelled = report["test"]["labelled"]
    model = session.model_facts(store, name)
    words = words_for(judged(report.get("judge")), labelled, model)
    columns = st.columns(3)
    if labelled:
        value = words.factor * report["test"]["value"]
        columns[0].metric(f"Float {words.name}, test split", words.value(value))
        columns[0].caption(f"measured: {frames.share_text(report['test'], words)}")
    else:
        columns[0].metric(f"Float {replace(words, labelled=True).name}", "no labels")
        columns[0].caption(f"Bits will be judged by {words.name}.")
    columns[1].metric(f"Time per {words.sample}, float", f"{report['ms']:.2f} ms")
    columns[1].caption(f"measured on {report['device']}, one thread, in batches")
    if words.usual:
        columns[2].metric("Classes", f"{report['classes']:,}")
    else:
        columns[2].metric("Compared by", words.judge.title)
    if model is not None and model.inputs:
        columns[2].caption(literal("; ".join(each.words for each in model.inputs)))
    else:
        columns[2].caption("images of " + "x".join(map(str, report["shape"])))
    st.caption(frames.splits_text(report, words))
    for note in report["notes"]:
        st.warning(literal(str(note)), icon=":material/warning:")
    if not report["notes"]:
        st.success("Nothing looks wrong.", icon=":material/check:")


def _started_check(store: Store, name: str, data: str, counts: tuple[int, int]) -> str:
    split_data_name(data)
    return add_network.start_check(store, name, data, *counts)


def sensitivity_step(store: Store, name: str, data: str, counts: tuple[int, int]) -> None:
    """Compute a sensitivity table: what each layer's bits are predicted to cost."""
    slot = f"m-table-step-{name}"
    left, right = st.columns(2)
    kind = str(
        left.selectbox(
            "Score",
            list(SENSITIVITY_KINDS),
            format_func=lambda kind: SENSITIVITY_KINDS[kind],
            key="m-kind",
        )
    )
    with right:
        widths, wrong = widgets.width_pills("Weight bits", (2, 3, 4, 8), "m-widths")
    pressed = st.button(
        "Compute sensitivity",
        key="m-sensitivity",
        icon=":material/monitoring:",
        disabled=busy(slot, store) or wrong is not None,
    )
    if pressed:
        begin(store, slot, lambda: _started_table(store, name, data, kind, widths, counts))
    look = follow(store, slot)
    if look is None or look.report is None:
        return
    st.success(
        f"Computed on {look.report['n']:,} {words_for(judge_of(name)).samples} in "
        f"{look.report['seconds']:.1f} s. Explore now predicts any allocation of these bits.",
        icon=":material/check:",
    )


def _started_table(
    store: Store,
    name: str,
    data: str,
    kind: str,
    widths: tuple[int, ...],
    counts: tuple[int, int],
) -> str:
    split_data_name(data)
    if not widths:
        raise InvalidParams("Choose at least one weight bit-width.")
    return add_network.start_sensitivity(store, name, data, kind, widths, (32,), *counts)
