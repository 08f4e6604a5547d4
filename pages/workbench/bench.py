"""The draft of one browser tab: kept per model in the session, tied to the table and the link.

Each tab has its own, so two tabs never overwrite each other's edits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import streamlit as st

from pages.workbench.draft import Draft, Start, begin, bits_of_link, edited, link_text
from pages.workbench.history import History
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec

HERE = "wb-part"
"""Key of a widget that is drawn on every view of the page: absent means the reader just came."""


@dataclass(frozen=True)
class Bench:
    """What a tab is editing.

    Attributes:
        history: The draft, and what can be undone and redone.
        base: The draft the table on the page was given; what was typed lies over it.
        table: Number of that table: with a new one, what was typed over the last is forgotten.
        link: (point, bits) as last written into the address.
        touched: True when a button has just changed the draft.
    """

    history: History[Draft]
    base: Draft
    table: int = 0
    link: tuple[str, str] = ("", "")
    touched: bool = False

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
    """8 bits in every layer, activations in float: where editing begins by default."""
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


def taken_edits(bench: Bench, model: ModelSpec) -> Bench:
    """The bench with what was typed into its table since the last look."""
    edits = st.session_state.get(editor_key(model, bench))
    if not edits:
        return bench
    history = bench.history.push(edited(bench.base, edits))
    return bench if history is bench.history else replace(bench, history=history, touched=True)


def arrive(model: ModelSpec, find_point: Callable[[str], Start | None]) -> Bench:
    """Give the tab's bench: made on the first visit, brought up to date with table and link.

    A link that leads to another point or other bits is a step that can be undone; one that leads
    nowhere is told and left aside.

    Args:
        model: What is edited.
        find_point: "RUN:POINT" to the measured point, or None where there is none of this model.
    """
    key = state_key(model)
    made = first_draft(model)
    bench: Bench = st.session_state.get(key) or Bench(History(made), made)
    known = key in st.session_state
    came = HERE not in st.session_state
    if came and editor_key(model, bench) not in st.session_state:
        # the table was left with the page: what was typed is in the draft already
        bench = replace(bench, base=bench.now, table=bench.table + 1)
    bench = taken_edits(bench, model)
    asked = (st.query_params.get("pt", ""), st.query_params.get("bits", ""))
    if any(asked) and asked != bench.link and not bench.touched:
        draft = _linked(asked, model, find_point, bench)
        if draft is not None:
            history = bench.history.push(draft) if known else History(draft)
            bench = replace(bench, history=history, base=draft, table=bench.table + 1)
    bench = replace(bench, touched=False, link=_write_link(bench.now))
    st.session_state[key] = bench
    return bench


def _linked(
    asked: tuple[str, str],
    model: ModelSpec,
    find_point: Callable[[str], Start | None],
    bench: Bench,
) -> Draft | None:
    point, bits = asked
    draft: Draft | None = None
    if point:
        start = find_point(point)
        if start is None:
            st.toast("The point of this link is not of this model, or was deleted.", icon="⚠️")
        else:
            draft = begin(start, model)
    if bits:
        found = bits_of_link(bits, model)
        if found is None:
            st.toast("The bits of this link are not for this model.", icon="⚠️")
        else:
            origin = draft or replace(bench.now, rows=begin(bench.now.start, model).rows)
            rows = begin(Start("", found), model).rows
            draft = Draft(rows, origin.start)
    return draft


def _write_link(draft: Draft) -> tuple[str, str]:
    link = (draft.start.point, link_text(draft))
    for name, value in zip(("pt", "bits"), link, strict=True):
        if value:
            st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]
    return link
