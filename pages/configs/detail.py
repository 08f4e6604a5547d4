"""One kept configuration: what it is, what can be done with it, and its files."""

from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st

from pages.configs.frames import Kept, came_from, check_words, measured, verdict
from pages.configs.import_form import compare, measure, others
from pages.downloads.downloads import beside, draw, offers, with_network
from pages.shared import session, text, widgets
from pages.shared.card_table import draw_card
from pages.shared.judged import words_of_config
from pages.shared.rules.shown import draw_rules
from pages.shared.rules.words import kept_words, told_rules
from pages.shared.runs import measures
from pages.shared.samples.panel import samples_panel
from qcore.costs import COSTS, mean_weight_bits
from qcore.costs.smaller import smaller_text
from qcore.errors import QcoreError
from qcore.formats.config import BitConfig
from qcore.pictures.record import unshown
from qcore.quantization_card import card_of_config
from store import Run, Store, config_text, delete_config, save_config, update_config
from store.jobs import opening as steps
from store.jobs.verify import start, verifiable

DELETED, VERIFYING, CRASHED = "configs-deleted", "configs-verifying", "configs-crashed"
"""Session keys: the configuration that was deleted last; number to process of what is verified;
the last words of a process that ended without a verdict."""

Colour = Literal["green", "red", "gray"]
BADGES: dict[str, tuple[Colour, str]] = {
    "verified": ("green", ":material/verified:"),
    "failed": ("red", ":material/error:"),
    "not verified": ("gray", ":material/help:"),
}


def details(store: Store, entry: Kept, kept: Sequence[Kept], mine: Sequence[Run]) -> None:
    """Draw one configuration.

    Args:
        store: The database.
        entry: Which.
        kept: All of them, to compare with.
        mine: Runs of its network, newest first.
    """
    saved, config = entry.saved, entry.config
    st.header(text.literal(saved.name))
    if config is None:
        st.error(
            f"Its file cannot be read: {text.literal(str(entry.problem))}", icon=":material/error:"
        )
        _delete(store, entry)
        return
    _facts(entry, config)
    _buttons(store, entry, config, mine)
    _verifying(store, entry)
    _measured_since(store, entry, config, mine)
    words = [str(saved.id)]
    samples_panel(store, f"config-{saved.id}", lambda: saved.text, words, unshown(config))
    _files(store, entry, config)
    with st.expander("How it is quantized"):
        draw_card(card_of_config(config), words_of_config(config))
    _rules(config)
    with st.expander("Name, tags and note"):
        _edit(store, entry)
    with st.expander("Difference from another"):
        rest = [other for other in kept if other.saved.id != saved.id]
        compare(config.model, config.allocation, others(config.model, rest), f"against-{saved.id}")
    with st.expander("Bits and costs of each layer"):
        st.dataframe(
            session.frames.layers_frame(config.allocation, config.model),
            hide_index=True,
            alt="Bits, bytes and compute of every layer.",
        )


def _facts(entry: Kept, config: BitConfig) -> None:
    saved = entry.saved
    word = verdict(saved)
    colour, icon = BADGES[word]
    st.badge(word, color=colour, icon=icon)
    size = COSTS["weight_bytes"].total(config.model, config.allocation)
    parts = [
        text.literal(config.model.name),
        f"{mean_weight_bits(config.model, config.allocation):.2f} bits per weight",
        text.cost_text(COSTS["weight_bytes"], size),
        smaller_text(COSTS["weight_bytes"], config.model, size),
        f"measured {measured(config)}" if measured(config) else "bits alone, not measured yet",
    ]
    st.markdown(" · ".join(part for part in parts if part))
    told = [came_from(saved), f"kept {text.ago(saved.at)}", check_words(saved)]
    st.caption(text.literal(". ".join(part for part in told if part)))
    if saved.note:
        st.text(saved.note)


def _rules(config: BitConfig) -> None:
    """The rules it was found under, and whether its bits keep them; nothing without rules."""
    try:
        rules, resolved = told_rules(config.provenance, config.model)
    except QcoreError as error:
        st.warning(f"The rules in its file cannot be read: {text.literal(str(error))}")
        return
    if not rules:
        return
    with st.expander("Device rules"):
        draw_rules(rules, resolved)
        if resolved is not None:
            st.markdown(kept_words(resolved, config.allocation))


def _buttons(store: Store, entry: Kept, config: BitConfig, mine: Sequence[Run]) -> None:
    saved = entry.saved
    reason = verifiable(config)
    with st.container(horizontal=True):
        if st.button(
            "Verify",
            key="verify",
            icon=":material/verified:",
            disabled=reason is not None or saved.id in _running(),
            help=f"Cannot be verified: {reason}"
            if reason
            else "Loads it into a new process, measures it on all test "
            f"{words_of_config(config).samples} again and compares.",
        ):
            _try(lambda: _running().update({saved.id: start(store, saved.id)}))
        pending = any(measures(run, config.allocation) for run in mine)
        if st.button("Measure", key="measure", icon=":material/speed:", disabled=pending) and (
            measure(store, config.model, config.allocation, mine)
        ):
            st.rerun()
        if st.button("Duplicate", key="duplicate", icon=":material/content_copy:"):
            source = dict(saved.source)
            name = f"{saved.name[:190]} (copy)"
            _try(lambda: save_config(store, name, saved.text, saved.note, saved.tags, source))
        _delete(store, entry)
    if pending:
        st.caption("These bits are being measured; see Searches.")


def _delete(store: Store, entry: Kept) -> None:
    if st.button("Delete", key="delete", icon=":material/delete:"):

        def act() -> None:
            delete_config(store, entry.saved.id)
            st.session_state[DELETED] = entry.saved

        _try(act)


def undo(store: Store) -> None:
    """Offer to bring back what was deleted last in this browser tab."""
    gone = st.session_state.get(DELETED)
    if gone is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Deleted {text.literal(gone.name)}.")
        if st.button("Undo", key="undo", icon=":material/undo:"):

            def act() -> None:
                source = dict(gone.source)
                number = save_config(store, gone.name, gone.text, gone.note, gone.tags, source)
                if gone.check is not None:
                    update_config(store, number, check=gone.check)
                del st.session_state[DELETED]

            _try(act)


def _try(act: Callable[[], object]) -> None:
    """Do it and draw the page anew; say in words what hindered it."""
    try:
        act()
    except QcoreError as error:
        # another tab may have deleted it
        widgets.error_box(error)
        return
    st.rerun()


def _running() -> dict[int, str]:
    found: dict[int, str] = st.session_state.setdefault(VERIFYING, {})
    return found


def _verifying(store: Store, entry: Kept) -> None:
    """Follow a verification of this browser tab until its process has ended."""
    if entry.saved.id not in _running():
        return

    @st.fragment(run_every=1.0)
    @session.database_explained()
    def follow() -> None:
        step = _running().get(entry.saved.id)
        if step is None:
            return
        told = steps.told(store, step)
        if told is not None and told.state == "running":
            st.caption("Measuring it again in a new process; you may leave this page.")
            return
        del _running()[entry.saved.id]
        # passed or not, the verdict is stored with it
        if told is not None and told.state == "failed":
            st.session_state[CRASHED] = told.words
        st.rerun()

    follow()


def _measured_since(store: Store, entry: Kept, config: BitConfig, mine: Sequence[Run]) -> None:
    """Bits alone become a whole configuration once a run has measured them."""
    if config.state:
        return
    found = next(
        (
            stored
            for run in session.newest_within(mine)
            for stored in session.points(store, run)
            if stored.has_config and stored.point.allocation == config.allocation
        ),
        None,
    )
    if found is None:
        return
    st.info(f"Run {found.run_id} has measured these bits.", icon=":material/lightbulb:")
    if st.button("Keep the measured one too", key="keep-measured"):
        content = config_text(store, found.id) or entry.saved.text
        source = {"run": found.run_id, "point": found.id}
        name = f"{entry.saved.name[:185]} (measured)"
        _try(lambda: save_config(store, name, content, source=source))


def _files(store: Store, entry: Kept, config: BitConfig) -> None:
    saved = entry.saved
    inputs = sum(layer.inputs for layer in config.model.layers) or 1
    activation = sum(
        layer.inputs * config.allocation[layer.name].activation for layer in config.model.layers
    )
    stem = text.file_stem(
        config.model.name[:60],
        mean_weight_bits(config.model, config.allocation),
        activation / inputs,
        str(config.provenance.get("search", "given"))[:40],
        saved.id,
    )
    offered = offers(
        config,
        stem,
        lambda: beside(store, config),
        name=saved.name,
        note=saved.note,
        check=check_words(saved),
    )
    draw(offered + with_network(config, saved.text, stem), f"config-{saved.id}")


def _edit(store: Store, entry: Kept) -> None:
    """Change what is the user's; of two tabs each writes only what was changed in it."""
    saved, key = entry.saved, f"edit-began-{entry.saved.id}"
    # what another tab saves meanwhile must not empty this one's form
    began = st.session_state.setdefault(key, saved)
    if (began.name, began.tags, began.note) != (saved.name, saved.tags, saved.note):
        st.caption("It was changed elsewhere since this form was filled.")
    with st.form(f"edit-{saved.id}", border=False):
        name = st.text_input("Name", began.name, max_chars=200)
        tags = st.text_input("Tags, separated by commas", ", ".join(began.tags))
        note = st.text_area("Note", began.note)
        if st.form_submit_button("Save", icon=":material/save:"):
            listed = tuple(
                dict.fromkeys(tag.strip()[:60] for tag in tags.split(",") if tag.strip())
            )

            def act() -> None:
                update_config(
                    store,
                    saved.id,
                    name=name if name != began.name else None,
                    tags=listed if listed != began.tags else None,
                    note=note if note != began.note else None,
                )
                del st.session_state[key]

            _try(act)
