"""The draft of one browser tab: kept per model in the session, tied to the table and the link.

Each tab has its own, so two tabs never overwrite each other's edits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from pages.shared.held import held_of_text
from pages.workbench.draft import (
    Draft,
    Start,
    allocation_of,
    begin,
    bits_of_link,
    edited,
    link_text,
)
from pages.workbench.history import History
from pages.workbench.payload import read_edit, told_draft
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec

HERE = "wb-part"
"""Key of a widget that is drawn on every view of the page: absent means the reader just came."""

LINK = "wb-link"
"""Session key of what the page wrote last into the address, for whichever model."""


@dataclass(frozen=True)
class Bench:
    """What a tab is editing.

    Attributes:
        history: The draft, and what can be undone and redone.
        base: The draft the table on the page was given; what was typed lies over it.
        table: Number of that table: with a new one, what was typed over the last is forgotten.
        link: (point, bits) as last written into the address.
        touched: True when a button has just changed the draft.
        heard: Number of the last edit that was taken over from the picture of the bits.
    """

    history: History[Draft]
    base: Draft
    table: int = 0
    link: tuple[str, str] = ("", "")
    touched: bool = False
    heard: int = 0

    @property
    def now(self) -> Draft:
        """The draft that holds."""
        return self.history.now


def state_key(model: ModelSpec) -> str:
    """Session key of a model's bench."""
    return f"bench-{model.name}-{model.digest}"


def editor_key(model: ModelSpec, bench: Bench) -> str:
    """Key of the table being edited."""
    return f"wb-editor-{model.digest}-{bench.table}"


def first_draft(model: ModelSpec) -> Draft:
    """8 bits in every layer, activations in float: where editing begins if nothing was measured."""
    return uniform_draft(model, 8, FLOAT_BITS)


def uniform_draft(model: ModelSpec, weight: int, activation: int) -> Draft:
    """The same bits in every layer."""
    words = "float" if activation == FLOAT_BITS else f"{activation}-bit"
    weights = "float" if weight == FLOAT_BITS else f"{weight}-bit"
    label = f"{weights} weights and {words} activations everywhere"
    return begin(Start(label, BitAllocation.uniform(model.layers, weight, activation)), model)


def change(model: ModelSpec, step: Callable[[History[Draft]], History[Draft]]) -> None:
    """Take a step that did not come from the table, and give the table what follows."""
    key = state_key(model)
    bench: Bench = taken_edits(st.session_state[key], model)
    history = step(bench.history)
    st.session_state[key] = replace(
        bench, history=history, base=history.now, table=bench.table + 1, touched=True
    )


def hear(model: ModelSpec, message: Any) -> None:
    """Take over what was edited in the picture of the bits.

    Args:
        model: What is edited.
        message: What the browser told; nonsense is left aside.
    """
    found = read_edit(message, model)
    if found is None:
        return
    number, rows = found
    key = state_key(model)
    bench: Bench = st.session_state[key]
    shown = usable(bench, model)
    change(model, lambda history: history.push(told_draft(history.now, shown, rows)))
    st.session_state[key] = replace(st.session_state[key], heard=number)


def usable(bench: Bench, model: ModelSpec) -> BitAllocation:
    """The bits that can be drawn and priced: the draft's, or the last that made sense."""
    for draft in (bench.now, *reversed(bench.history.past)):
        found = allocation_of(draft, model)
        if found is not None:
            return found
    return bench.now.start.allocation


def taken_edits(bench: Bench, model: ModelSpec) -> Bench:
    """The bench with what was typed into its table since the last look."""
    edits = st.session_state.get(editor_key(model, bench))
    if not edits:
        return bench
    history = bench.history.push(edited(bench.base, edits))
    return bench if history is bench.history else replace(bench, history=history, touched=True)


def arrive(
    model: ModelSpec,
    find_point: Callable[[str], Start | None],
    find_first: Callable[[], Start | None],
) -> Bench:
    """Give the tab's bench: made on the first visit, brought up to date with table and link.

    A link that leads to another point or other bits is a step that can be undone; one that leads
    nowhere is told and left aside.

    Args:
        model: What is edited.
        find_point: "RUN:POINT" to the measured point, or None where there is none of this model.
        find_first: Where a first visit begins that no link leads elsewhere; None begins at 8 bits.
    """
    key = state_key(model)
    known = key in st.session_state
    if known:
        bench: Bench = st.session_state[key]
    else:
        start = find_first()
        made = first_draft(model) if start is None else begin(start, model)
        bench = Bench(History(made), made)
    came = HERE not in st.session_state
    if came and editor_key(model, bench) not in st.session_state:
        # the table was left with the page: what was typed is in the draft already
        bench = replace(bench, base=bench.now, table=bench.table + 1)
    bench = taken_edits(bench, model)
    asked = (st.query_params.get("pt", ""), st.query_params.get("bits", ""))
    # what the page itself wrote last, perhaps for another model, leads nowhere new
    written = (bench.link, st.session_state.get(LINK))
    if any(asked) and asked not in written and not bench.touched:
        draft = _linked(asked, model, find_point, bench if known else None)
        if draft is not None:
            history = bench.history.push(draft) if known else History(draft)
            bench = replace(bench, history=history, base=draft, table=bench.table + 1)
    bench = replace(bench, touched=False, link=_write_link(bench.now))
    st.session_state[key] = bench
    st.session_state[LINK] = bench.link
    return bench


def _linked(
    asked: tuple[str, str],
    model: ModelSpec,
    find_point: Callable[[str], Start | None],
    bench: Bench | None,
) -> Draft | None:
    point, bits = asked
    draft: Draft | None = None
    if point:
        start = find_point(point)
        if start is None:
            st.toast("The point of this link is not of this model, or was deleted.", icon="⚠️")
        else:
            draft = begin(start, model, _locks(model))
    if bits:
        found = bits_of_link(bits, model)
        if found is None:
            st.toast("The bits of this link are not for this model.", icon="⚠️")
        else:
            own = Start("the bits of a link", found)
            start = draft.start if draft else bench.now.start if bench else own
            draft = Draft(begin(own, model).rows, start)
    return draft


def _locks(model: ModelSpec) -> tuple[bool, ...]:
    """The layers that a link has locked; told once."""
    held = held_of_text(st.query_params.pop("held", ""), model)
    locked = {layer for (layer, _), widths in held.allowed().items() if len(widths) == 1}
    return tuple(name in locked for name in model.names)


def _write_link(draft: Draft) -> tuple[str, str]:
    link = (draft.start.point, link_text(draft))
    for name, value in zip(("pt", "bits"), link, strict=True):
        if value:
            st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]
    return link
