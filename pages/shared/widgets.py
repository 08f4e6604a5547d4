"""Widgets the pages share. Values that a link should carry are bound to the URL."""

from collections.abc import Iterable, Sequence

import streamlit as st

from pages.shared import text
from pages.shared.budgets import forget_budgets
from pages.shared.notes.setup import cost_table_notes
from qcore.allocation import HALF_WIDTHS, WIDTHS_IN_WORDS, in_order, parse_width, width_text
from qcore.errors import InvalidBits, QcoreError
from qcore.models.catalog import read_models
from store import Store, all_runs

MOST_SET_ASIDE = 10


def set_aside(reasons: Iterable[str]) -> None:
    """Say of each stored thing that cannot be read why, where it would have been."""
    found = list(reasons)
    for reason in found[:MOST_SET_ASIDE]:
        st.error(f"{text.literal(reason)} It is left out.", icon=":material/error:")
    if len(found) > MOST_SET_ASIDE:
        more = f"{len(found) - MOST_SET_ASIDE:,} more cannot be read"
        st.error(f"{more}; `python -m store doctor` says why.", icon=":material/error:")


def error_box(error: QcoreError) -> None:
    """Show what went wrong in words; everything else is a bug and keeps its traceback."""
    st.error(text.literal(str(error)), icon=":material/error:")


def notes(sentences: Iterable[str]) -> None:
    """Show what a reader should know of a file, one box a sentence."""
    for sentence in sentences:
        st.info(text.literal(sentence), icon=":material/info:")


OFFERED_WIDTHS = (*range(1, 9), 16, *HALF_WIDTHS)
"""Widths that a click chooses; any other is written."""

OTHERS = "others"
"""What a click on it asks for: a field to write any other widths into."""


def width_pills(
    label: str, chosen: Sequence[int], key: str, inputs: bool = False
) -> tuple[tuple[int, ...], InvalidBits | None]:
    """Let the reader choose several widths, by clicks, and by writing what no click offers.

    Args:
        label: Of the widget.
        chosen: What is chosen at first; whatever is not among OFFERED_WIDTHS is offered too.
        key: Of the widget.
        inputs: Whether they are widths of activations, which have no groups.

    Returns:
        The widths, each once, from the narrowest; and what is wrong with those that were written,
        which is said at the field, or None.
    """
    found: list[int | str] = st.pills(
        label,
        [*in_order({*OFFERED_WIDTHS, *chosen}), OTHERS],
        selection_mode="multi",
        default=list(chosen),
        format_func=_width_words,
        key=key,
        wrap=True,
    )
    clicked = {width for width in found if isinstance(width, int)}
    if OTHERS not in found:
        return in_order(clicked), None
    words = st.text_input(
        f"Other {label[:1].lower()}{label[1:]}",
        key=f"{key}-{OTHERS}",
        placeholder="9, 12",
        max_chars=200,
        help=f"Separated by commas; each {WIDTHS_IN_WORDS}.",
    )
    try:
        parts = [one.strip() for one in words.replace(";", ",").split(",")]
        written = {parse_width(one, inputs) for one in parts if one}
    except InvalidBits as error:
        st.error(text.literal(str(error)), icon=":material/error:")
        return in_order(clicked), error
    return in_order(clicked | written), None


def width_box(
    label: str,
    widths: Sequence[int],
    begin: int,
    key: str,
    others: Sequence[str] = (),
    inputs: bool = False,
) -> int | str:
    """Let the reader choose one width of a list, or write any other.

    Args:
        label: Of the widget.
        widths: What the list offers.
        begin: The one that is chosen at first.
        key: Of the widget.
        others: What else may be chosen, no widths.
        inputs: Whether they are widths of activations, which have no groups.

    Returns:
        The width, or one of the others.

    Raises:
        InvalidBits: what was written is neither.
    """
    found: int | str = st.selectbox(
        label,
        [*widths, *others],
        index=list(widths).index(begin),
        format_func=_width_words,
        accept_new_options=True,
        key=key,
        width=140,
        help=f"{WIDTHS_IN_WORDS}; any of them can be typed.",
    )
    if not isinstance(found, str) or found in others:
        return found
    return parse_width(found, inputs)


def _width_words(option: int | str) -> str:
    return width_text(option) if isinstance(option, int) else option


def model_picker(store: Store) -> str:
    """Let the reader choose a model in the sidebar; bound to the URL key "model".

    Models of stored runs that are no longer listed can still be chosen.
    """
    everywhere = all_runs(store)
    names = list(dict.fromkeys([*read_models(), *(run.spec.model for run in everywhere)]))

    with st.sidebar:
        name = st.selectbox(
            "Model",
            names,
            key="model",
            bind="query-params",
            on_change=forget_budgets,
        )
        active = [run.state for run in everywhere if run.state in text.ACTIVE]
        st.caption(
            f"{active.count('running')} running, {active.count('queued')} queued"
            if active
            else "No search is running."
        )
        cost_table_notes(store.costs)
    return str(name)
