"""Which runs Explore shows: all, or those that a link or the reader names; URL key "runs"."""

from collections.abc import Collection, Sequence

import streamlit as st

from pages.shared.run_facts import is_ladder
from pages.shared.run_numbers import MOST_CHOSEN, read_ids, run_words, write_ids
from pages.shared.text import counted, literal
from qcore.run_spec import method_label
from store import Run

KEY, SEEN, OF = "explore-runs", "explore-runs-url", "explore-runs-of"
"""Session keys: the widget's, the address it was last in step with, and the model it was of."""


def linked() -> list[int]:
    """Numbers of the runs that the address names, whether there are such runs or not."""
    return read_ids(st.query_params.get("runs", ""))[0]


def left_another(name: str) -> bool:
    """True where the reader has just chosen another model on this page; not on arriving by a link.

    Args:
        name: The model that is shown now.
    """
    before = st.session_state.get(OF) if KEY in st.session_state else None
    st.session_state[OF] = name
    return before not in (None, name)


def runs_shown(offered: Sequence[Run]) -> list[Run]:
    """Let the reader choose among runs; none chosen is all.

    Args:
        offered: Runs of one setting, at least one.

    Returns:
        The chosen runs, and the newest with the same bits everywhere where none of them is one:
        that ladder is always shown. Numbers that none of the runs has are told and left out.
    """
    by_id = {run.id: run for run in sorted(offered, key=lambda run: -run.id)}
    _bring_up_to_date(by_id.keys())
    chosen = st.multiselect(
        "Runs shown",
        list(by_id),
        key=KEY,
        format_func=lambda number: _label(by_id[number]) if number in by_id else str(number),
        placeholder=f"All {len(by_id)} runs: choose some to see these only"
        if len(by_id) > 1
        else "The one run there is",
        max_selections=MOST_CHOSEN,
        label_visibility="collapsed",
        help="Empty for all. The same bits everywhere are always shown beside them.",
    )
    _write(write_ids(chosen))
    if not chosen:
        return list(offered)
    shown = [by_id[number] for number in chosen]
    if not any(map(is_ladder, shown)):
        ladders = (r for r in by_id.values() if is_ladder(r) and r.evaluations)
        shown += [ladder for ladder in [next(ladders, None)] if ladder is not None]
    return shown


def _label(run: Run) -> str:
    points = counted(run.evaluations, "point")
    method = method_label(run.spec.search, ruled=bool(run.spec.rules))
    return f"{run.id}: {method}, seed {run.spec.seed}, {points}"


def _bring_up_to_date(known: Collection[int]) -> None:
    """Take up what the address says where it was changed, and drop runs that are not here."""
    words = st.query_params.get("runs", "")
    strange: list[str] = []
    if KEY in st.session_state and st.session_state.get(SEEN) == words:
        wanted = list(st.session_state[KEY])
    else:
        wanted, strange = read_ids(words)
    kept = [number for number in wanted if number in known]
    gone = [number for number in wanted if number not in known]
    if gone or strange:
        what = run_words(gone[:MOST_CHOSEN]) if gone else literal(strange[0][:30])
        st.toast(
            f"Not among these results, so left out: {what}. A run is shown with its own model "
            "and with what was measured on the same images.",
            icon=":material/link_off:",
        )
    if st.session_state.get(KEY) != kept[:MOST_CHOSEN]:
        st.session_state[KEY] = kept[:MOST_CHOSEN]


def _write(words: str) -> None:
    st.session_state[SEEN] = words
    if words:
        st.query_params["runs"] = words
    elif "runs" in st.query_params:
        del st.query_params["runs"]
