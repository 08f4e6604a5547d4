"""Choices of the Compare page that a link carries: runs, axis, budgets and two points.

Streamlit can bind a widget to the URL by itself, but it writes what the box shows; these links
carry run numbers and names, which stay the same when words change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from pages.shared import text
from pages.shared.run_numbers import run_words
from qcore.costs.formulas import CostModel

RUNS, AXIS, TO, FROM = "compare-runs", "compare-x", "compare-pt", "compare-ref"
"""Session keys of the widgets; their URL keys are runs, x, pt and ref."""


def moved(key: str, query: str) -> str | None:
    """The URL's value, where it was changed from outside since this page was drawn; else None."""
    value = st.query_params.get(query, "")
    if key in st.session_state and st.session_state.get(f"{key}-url") == value:
        return None
    st.session_state[f"{key}-url"] = value
    return value


def write(key: str, query: str, value: str) -> None:
    """Put a widget's value into the URL."""
    st.session_state[f"{key}-url"] = value
    if st.query_params.get(query, "") != value:
        st.query_params[query] = value


def say_missing(missing: Sequence[int], strange: Sequence[str]) -> None:
    """Name in a toast what a link asks for and nobody has: run numbers, and what is no number."""
    if missing:
        few = run_words(list(missing)[:10])
        st.toast(
            f"This database has no {few}; deleted, or from another one. Left out.",
            icon=":material/link_off:",
        )
    if strange:
        st.toast(
            f"The link names no run with {text.literal(strange[0], 30)}; left out.",
            icon=":material/link_off:",
        )


def choose_runs(numbers: Sequence[int]) -> None:
    """Choose these runs: for buttons' callbacks."""
    st.session_state[RUNS] = list(numbers)


def axis_picker(costs: Sequence[CostModel]) -> CostModel:
    """Choose the cost on the x axis, one of `costs`; bound to the URL key "x"."""
    named = {cost.name: cost for cost in costs}
    first = next(iter(named))
    wanted = moved(AXIS, "x")
    if wanted is not None:
        if wanted and wanted not in named:
            st.toast(
                f"These runs are not priced by {text.literal(wanted, 30)}.",
                icon=":material/link_off:",
            )
        st.session_state[AXIS] = wanted if wanted in named else first
    elif st.session_state[AXIS] not in named:
        st.session_state[AXIS] = first
    cost = str(
        st.selectbox(
            "Cost on the horizontal axis",
            list(named),
            key=AXIS,
            format_func=lambda name: named[name].title,
            on_change=_forget_budgets,
        )
    )
    write(AXIS, "x", cost)
    return named[cost]


def _forget_budgets() -> None:
    st.session_state.pop("grid", None)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the points a difference can be taken of."""

    key: str
    words: str


def point_picker(label: str, key: str, query: str, options: Sequence[Choice], proposed: str) -> str:
    """Choose a point; bound to a URL key whose value is "RUN:POINT" or "config:NUMBER".

    Args:
        label: What the box is called.
        key: TO or FROM.
        query: Its URL key.
        options: The points on offer; at least one.
        proposed: Key of the one to begin with.

    Returns:
        The chosen point's key.
    """
    words = {choice.key: choice.words for choice in options}
    wanted = moved(key, query)
    if wanted is not None:
        if wanted and wanted not in words:
            st.toast(
                f"The point {text.literal(wanted, 30)} is not among these runs' points.",
                icon=":material/link_off:",
            )
        st.session_state[key] = wanted if wanted in words else proposed
    elif st.session_state[key] not in words:
        st.session_state[key] = proposed
    chosen = st.selectbox(label, list(words), key=key, format_func=lambda at: words.get(at, at))
    write(key, query, str(chosen))
    return str(chosen)


def clicked(key: str, run_of: Callable[[int], int | None]) -> None:
    """Callback of a click on a figure: the point clicked becomes TO, what was TO becomes FROM.

    Args:
        key: Session key of the figure.
        run_of: Point number to run number; None where it is not known.
    """
    event = st.session_state.get(key) or {}
    for entry in event.get("selection", {}).get("points", []):
        data = entry.get("customdata")
        if not isinstance(data, (list, tuple)) or not data or not isinstance(data[0], (int, float)):
            continue
        number = int(data[0])
        run = run_of(number)
        if run is None:
            continue
        new = f"{run}:{number}"
        if st.session_state.get(TO) not in (None, new):
            st.session_state[FROM] = st.session_state[TO]
        st.session_state[TO] = new
        return


def refusal(words: Sequence[tuple[tuple[int, ...], str]], reasons: Sequence[str]) -> None:
    """Say why runs are not laid over one another, and offer what can be compared.

    Args:
        words: Per group of comparable runs, their numbers and what tells them from the others.
        reasons: One sentence per fact that differs.
    """
    st.error(
        "**These runs are not laid over one another: their figures cannot be compared.**\n\n"
        + "\n".join(f"- {text.literal(reason, 600)}" for reason in reasons),
        icon=":material/block:",
    )
    st.write("Compare one of these groups instead:")
    for place, (numbers, told) in enumerate(words):
        st.button(
            f"Only {text.counted(len(numbers), 'run')}: {run_words(numbers)}",
            key=f"only-{place}",
            on_click=choose_runs,
            args=(numbers,),
            icon=":material/filter_alt:",
            type="primary" if place == 0 else "secondary",
        )
        st.caption(text.literal(told[:1].upper() + told[1:], 300))
