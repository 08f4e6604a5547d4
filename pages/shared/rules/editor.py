"""The editor of rules: a file, a table and a text that say the same, and what each rule matches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.component import heard_while_typed
from pages.shared.rules import entries as written
from pages.shared.rules.findings import Finding, Findings, find
from pages.shared.rules.words import LEFT, left_rows, named
from pages.shared.text import counted, literal
from qcore.allocation import ModelSpec
from qcore.errors import QcoreError
from qcore.rules.file import rule_entries
from qcore.rules.proposals import proposals
from qcore.rules.rule import TIES, Rule

MOST_SAID = 60
"""Rules whose layers are told one by one."""

EXAMPLE = """rules:
  - {layers: role:first, lock: 8}
  - {layers: "kind:conv*", weights: [4, 8]}
  - {layers: "*.{q,k,v}_proj", tie: both}"""


@dataclass(frozen=True, slots=True)
class Draft:
    """Rules while they are edited.

    Attributes:
        entries: The rules.
        text: The text that says them.
        base: The entries that the table was drawn with; what is typed there is laid over them.
        version: Counts tables, as one that is drawn with other entries is another one.
        unread: Why the text says no rules at all; "" where it does.
    """

    entries: written.Entries
    text: str
    base: written.Entries
    version: int = 0
    unread: str = ""


def of_entries(entries: Sequence[Any], version: int = 0) -> Draft:
    """A draft of these rules."""
    return Draft(tuple(entries), written.text_of(entries), tuple(entries), version)


def typed(draft: Draft, words: str, where: str = "The rules") -> Draft:
    """The draft after its text was written anew; the table follows where it can be read."""
    try:
        entries = rule_entries(words, where) if words.strip() else ()
    except QcoreError as error:
        return replace(draft, text=words, unread=str(error))
    return Draft(entries, words, entries, draft.version + 1)


def laid_over(draft: Draft, edits: Any) -> Draft:
    """The draft after what was typed into its table; the text follows."""
    entries, anew = written.edited(draft.base, edits or {})
    if entries == draft.entries and not anew:
        return draft
    text = written.text_of(entries)
    if anew:
        return Draft(entries, text, entries, draft.version + 1)
    return Draft(entries, text, draft.base, draft.version)


def rules_editor(
    key: str,
    model: ModelSpec | None,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    pin_first_last: int | None = None,
    begin: str = "",
) -> Findings:
    """Draw the editor.

    Args:
        key: Makes its widgets' keys unique; rules are kept under it while the tab is open.
        model: The model that rules are checked against; None where its layers are not known.
        weight_bits: Weight widths where no rule says otherwise.
        activation_bits: The same of activations.
        pin_first_last: Bits of the first and last layer, or None.
        begin: Text of the rules it begins with.

    Returns:
        The rules and what they come to.
    """
    _take_up(key, begin)
    _given(key, model)
    draft = _draft(key)
    found = find(draft.entries, model, weight_bits, activation_bits, pin_first_last)
    _table(key, draft)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.text_area(
            "The same as text, YAML or JSON",
            key=_text_key(key),
            placeholder=EXAMPLE,
            height=200,
        )
    with right:
        _file(key, draft, found)
        heard_while_typed(_text_key(key))
    if draft.unread:
        st.error(literal(draft.unread), icon=":material/error:")
        return Findings(found.each, (), None, draft.unread)
    said(found, model)
    return found


def said(found: Findings, model: ModelSpec | None) -> None:
    """Say of each rule which layers it is for or why it cannot be, and what all of them leave."""
    for at, one in enumerate(found.each[:MOST_SAID], start=1):
        _line(at, one, model is not None)
    if len(found.each) > MOST_SAID:
        st.caption(f"{counted(len(found.each) - MOST_SAID, 'more rule')} not told one by one.")
        late = next((i for i, one in enumerate(found.each) if one.wrong and i >= MOST_SAID), None)
        if late is not None:
            _line(late + 1, found.each[late], model is not None)
    if model is None and found.each:
        st.caption(
            "The layers of this network are not known yet: which of them the rules match is "
            "checked when it is loaded."
        )
    if found.resolved is not None and found.rules:
        st.caption("What is left for each layer:")
        rows = pd.DataFrame(left_rows(found.resolved), columns=LEFT)
        st.dataframe(
            rows if (rows["Tied with"] != "").any() else rows.drop(columns="Tied with"),
            hide_index=True,
            height=min(38 + 35 * len(rows), 290),
            column_config={"Layer": st.column_config.TextColumn(pinned=True)},
            alt="Widths that weights and activations of each layer may have, and ties.",
        )


def _line(at: int, one: Finding, known: bool) -> None:
    head = f"**{at}. {literal(one.pattern) or 'no layers'}**"
    matches = f"{counted(len(one.layers), 'layer')}: {literal(named(one.layers))}"
    if one.wrong:
        which = f" ({matches})" if one.layers else ""
        st.error(f"{head}{which}: {literal(one.wrong)}", icon=":material/error:")
        return
    lost = f" A later rule decides {literal(named(one.overruled))}." if one.overruled else ""
    known_words = f" {matches}." if known else ""
    st.markdown(f"{head}: {literal(one.words)}.{known_words}{lost}")


def _table(key: str, draft: Draft) -> None:
    column = st.column_config
    widths = "As 4, 8; empty leaves them as they are."
    pair = "4, or 4/8 for weights and activations, or -/8."
    st.data_editor(
        written.frame_of(draft.base),
        key=_table_key(key, draft),
        num_rows="dynamic",
        hide_index=True,
        height=min(38 + 35 * (len(draft.base) + 1), 300),
        column_config={
            written.ORDER: column.NumberColumn(
                step=1, min_value=0, width=70, help="Type another number to move a rule."
            ),
            written.LAYERS: column.TextColumn(
                width=230,
                help="conv1; layer1.*; *.{q,k,v}_proj; kind:linear; role:first; stage:2. "
                "& joins conditions, ! turns one round, a comma is or.",
            ),
            "Weights": column.TextColumn(width=100, help=widths),
            "Activations": column.TextColumn(width=115, help=widths),
            "Pairs": column.TextColumn(
                width=115,
                help="Weights and activations that go together, as 8/8, 4/float; then no others.",
            ),
            "Min": column.TextColumn(width=75, help=pair),
            "Max": column.TextColumn(width=75, help=pair),
            "Lock": column.TextColumn(
                width=75, help="The one width: 8, or 4/8 for weights and activations."
            ),
            written.TIE: column.SelectboxColumn(
                width=115, options=list(TIES), help="What the layers share one width of."
            ),
        },
    )


def _given(key: str, model: ModelSpec | None) -> None:
    """Rules that can be taken with one click: those the wiring proposes, and those of a file."""
    offered = [] if model is None else proposals(model)
    for at, each in enumerate(offered):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                f"Tie {each.title[:1].lower()}{each.title[1:]}",
                key=f"{key}-take-{at}",
                icon=":material/link:",
                on_click=_add,
                args=(key, each.rules),
            )
            groups = list(dict.fromkeys(tie.layers for tie in each.ties))
            shown = "; ".join(named(group, 4) for group in groups[:3])
            more = f"; {len(groups) - 3} more groups" if len(groups) > 3 else ""
            st.caption(f"{literal(each.reason)} {literal(shown + more)}.", width="stretch")


def _file(key: str, draft: Draft, found: Findings) -> None:
    st.file_uploader(
        "A file of rules",
        type=["yaml", "yml", "json"],
        max_upload_size=1,
        key=f"{key}-file",
        on_change=_read_file,
        args=(key,),
    )
    with st.container(horizontal=True):
        st.download_button(
            "Save rules",
            draft.text,
            file_name="rules.yaml",
            mime="application/yaml",
            key=f"{key}-save",
            icon=":material/download:",
            disabled=not found.rules,
            on_click="ignore",
            help="For another search, or for `python -m store run --rules rules.yaml`.",
        )
        st.button(
            "Clear",
            key=f"{key}-clear",
            icon=":material/clear_all:",
            disabled=not draft.text,
            on_click=_replace,
            args=(key, ()),
        )


def _read_file(key: str) -> None:
    sent = st.session_state.get(f"{key}-file")
    if sent is None:
        return
    _take_up(key)
    draft, where = _draft(key), f"The rules in {sent.name}"
    try:
        words = sent.getvalue().decode("utf-8-sig")
    except UnicodeDecodeError:
        _keep(key, replace(draft, unread=f"{where} cannot be read: they are no text."))
        return
    _keep(key, typed(draft, words, where))


def _add(key: str, rules: Sequence[Rule]) -> None:
    _take_up(key)
    _replace(key, (*_draft(key).entries, *written.entries_of(rules)))


def _replace(key: str, entries: Sequence[Any]) -> None:
    _keep(key, of_entries(entries, _draft(key).version + 1))


def _take_up(key: str, begin: str = "") -> None:
    """Take up what was typed since the last view, in the text or in the table."""
    if _state_key(key) not in st.session_state:
        _keep(key, typed(of_entries(()), begin))
    draft = _draft(key)
    if _text_key(key) not in st.session_state:
        # first seen, or seen again after another page
        _keep(key, replace(draft, base=draft.entries, version=draft.version + 1))
        return
    words = st.session_state[_text_key(key)]
    if words != draft.text:
        _keep(key, typed(draft, words))
    else:
        after = laid_over(draft, st.session_state.get(_table_key(key, draft)))
        if after is not draft:
            _keep(key, after)


def _keep(key: str, draft: Draft) -> None:
    st.session_state[_state_key(key)] = draft
    # what is set anew would take the place of letters that are typed meanwhile
    if st.session_state.get(_text_key(key)) != draft.text:
        st.session_state[_text_key(key)] = draft.text


def _draft(key: str) -> Draft:
    draft: Draft = st.session_state[_state_key(key)]
    return draft


def _state_key(key: str) -> str:
    return f"{key}-draft"


def _text_key(key: str) -> str:
    return f"{key}-text"


def _table_key(key: str, draft: Draft) -> str:
    return f"{key}-table-{draft.version}"
