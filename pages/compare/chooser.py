"""Choice of what is compared: methods first, each with all its seeds, then single runs."""

from collections.abc import Mapping, Sequence

import streamlit as st

from pages.compare import controls
from pages.compare.comparable import run_label
from pages.compare.controls import RUNS
from pages.compare.methods import grouped
from pages.shared import text
from pages.shared.run_numbers import read_ids, write_ids
from qcore.costs.formulas import CostModel
from store import Run

METHODS = "compare-methods"
"""Session key of the box of methods; the link names their runs."""


def runs_picker(
    offered: Sequence[Run], proposed: Sequence[int], model: str, costs: Mapping[str, CostModel]
) -> list[Run]:
    """Choose methods, and of these the runs; bound to the URL key "runs".

    Args:
        offered: All runs, in the order they are listed.
        proposed: Numbers to begin with, where the link names none.
        model: The network the page is about.
        costs: The costs that limits may name.

    Returns:
        The chosen runs. Numbers in a link that no run has are named in a toast and left out.
    """
    by_id = {run.id: run for run in offered}
    wanted = controls.moved(RUNS, "runs")
    if wanted is not None:
        numbers, strange = read_ids(wanted)
        controls.say_missing([n for n in numbers if n not in by_id], strange)
        kept = [number for number in numbers if number in by_id]
        st.session_state[RUNS] = kept or list(proposed)
    else:
        before = st.session_state[RUNS]
        kept = [number for number in before if number in by_id]
        if kept != before:
            # deleted since, perhaps from another tab
            controls.say_missing([number for number in before if number not in by_id], [])
            st.session_state[RUNS] = kept
    chosen = set(st.session_state[RUNS])
    listed = [run for run in offered if run.evaluations or run.id in chosen]
    listed += [run for run in offered if run not in listed and run.state in text.ACTIVE]
    groups = grouped(listed, model, costs)
    st.session_state[METHODS] = [label for label, ids in groups.items() if chosen & set(ids)]
    st.multiselect(
        "Methods",
        list(groups),
        key=METHODS,
        format_func=lambda label: f"{label}, {text.counted(len(groups[label]), 'seed')}",
        placeholder="Choose methods to compare",
        on_change=_follow,
        args=(groups,),
        help="A method is a search with its settings; it comes with all its seeds.",
    )
    within = [number for label in st.session_state[METHODS] for number in groups[label]]
    with st.expander("Seeds"):
        runs = st.multiselect(
            "Runs",
            within,
            key=RUNS,
            format_func=lambda number: run_label(by_id[number], model),
            placeholder="Choose methods above",
            help="Runs that differ in the seed alone are drawn as one method.",
        )
    controls.write(RUNS, "runs", write_ids(runs))
    return [by_id[number] for number in runs]


def _follow(groups: Mapping[str, Sequence[int]]) -> None:
    """Callback: a method that was added brings all its runs, one that was removed takes them."""
    chosen = list(st.session_state[RUNS])
    wanted = st.session_state[METHODS]
    for label, numbers in groups.items():
        there = [number for number in numbers if number in chosen]
        if label in wanted and not there:
            chosen += numbers
        elif label not in wanted:
            chosen = [number for number in chosen if number not in there]
    st.session_state[RUNS] = chosen
