"""Says what is left out of a page because it cannot be read, where it would have been."""

from collections.abc import Sequence

import streamlit as st

from pages.shared import session
from pages.shared.text import counted
from pages.shared.widgets import set_aside
from store import Run, Store, damaged_events

MOST_NAMED = 5
"""Runs that are named one by one."""


def say_left_out(store: Store, runs: Sequence[Run], name: str = "") -> None:
    """Say how many points of some runs are damaged, and what is of their network.

    Args:
        store: The database.
        runs: Whose points the page draws.
        name: Of the network; "" where nothing else of it is drawn.
    """
    spoiled = [(run, len(lost)) for run in runs if (lost := session.left_out(store, run))]
    if spoiled:
        st.warning(f"{points_words(spoiled)} {HELP}", icon=":material/broken_image:")
    if name:
        set_aside(session.damaged_of(store, name))


def say_lost_lines(store: Store, run: Run) -> None:
    """Say how many lines of a run's history are damaged."""
    lost = len(damaged_events(store, run.id))
    if lost:
        are = "is" if lost == 1 else "are"
        words = f"{counted(lost, 'line')} of its history cannot be read and {are} left out."
        st.warning(f"{words} {HELP}", icon=":material/broken_image:")


HELP = "`python -m store doctor` says why, `python -m store repair` sets them aside."


def points_words(spoiled: Sequence[tuple[Run, int]]) -> str:
    """How many points of how many are left out, run by run.

    Args:
        spoiled: Runs that have damaged points, and how many.
    """
    parts = [
        f"{lost:,} of {counted(run.evaluations, 'point')} of run {run.id}"
        for run, lost in spoiled[:MOST_NAMED]
    ]
    rest = spoiled[MOST_NAMED:]
    if rest:
        lost, all_of_them = sum(n for _, n in rest), sum(run.evaluations for run, _ in rest)
        parts.append(f"{lost:,} of {counted(all_of_them, 'point')} of {counted(len(rest), 'run')}")
    are = "is" if len(spoiled) == 1 and spoiled[0][1] == 1 else "are"
    return f"{', '.join(parts)} {are} damaged and left out."
