"""Runs as several pages need them: launching, following, measuring given bits, naming in a link."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

import streamlit as st

from pages.shared import text
from pages.shared.session import database_explained
from pages.shared.widgets import error_box
from qcore.allocation import BitAllocation
from qcore.errors import QcoreError
from qcore.problem import PTQ, TUNED
from qcore.run_spec import RunSpec, check_here
from store import Run, Store, all_runs, create_run

REDRAW_SECONDS = 3.0
"""While points arrive, a page is redrawn at most this often."""


def launch(store: Store, specs: Sequence[tuple[RunSpec, str]]) -> bool:
    """Queue runs, or none where one could not begin here; on an error say it in words.

    Returns:
        True when all were queued.
    """
    try:
        for spec, _ in specs:
            check_here(spec)
        ids = [create_run(store, spec, name) for spec, name in specs]
    except QcoreError as error:
        error_box(error)
        return False
    st.toast(f"Queued {', '.join(f'run {at}' for at in ids)}.", icon=":material/schedule:")
    return True


def given_spec(like: RunSpec, allocation: BitAllocation, stage: str = PTQ) -> RunSpec:
    """Ask for one allocation to be measured just as another run measured its own."""
    return dataclasses.replace(
        like,
        search="given",
        params={"allocations": [allocation.to_json()]},
        limits={},
        weight_bits=tuple(sorted({bits.weight for bits in allocation.values()})),
        activation_bits=tuple(sorted({bits.activation for bits in allocation.values()})),
        pin_first_last=None,
        tuning=stage == TUNED,
    )


def measures(run: Run, allocation: BitAllocation) -> bool:
    """True when a run is queued or running that measures exactly this allocation."""
    asked = run.spec.params.get("allocations", [])
    wanted = allocation.to_json()
    return run.state in text.ACTIVE and any(
        {name: list(pair) for name, pair in dict(entry).items()} == wanted
        for entry in asked
        if isinstance(entry, Mapping)
    )


def progress_line(run: Run) -> None:
    """Show how far one run is."""
    share = min(1.0, run.step / run.total) if run.total else 0.0
    words = text.state_words(run)
    if run.state == "running" and not text.is_stopping(run):
        words = f"{run.message or 'starting'}; {text.counted(run.evaluations, 'evaluation')}"
    st.progress(share, text=text.literal(f"{run.name}: {words}"))


def live_progress(store: Store, drawn: Sequence[Run], belongs: Callable[[Run], bool]) -> None:
    """Follow runs once a second, and redraw the page when there is something new to draw.

    Args:
        store: The database.
        drawn: The runs as the page has just drawn them.
        belongs: Which runs the page is about.
    """
    seen = {run.id: run.state for run in drawn}
    count = sum(run.evaluations for run in drawn)
    since = monotonic()

    @st.fragment(run_every=1.0)
    @database_explained()
    def follow() -> None:
        now = [run for run in all_runs(store) if belongs(run)]
        for run in now:
            if run.state in text.ACTIVE:
                progress_line(run)
        fresh = sum(run.evaluations for run in now) != count
        due = monotonic() - since >= REDRAW_SECONDS
        if {run.id: run.state for run in now} != seen or (fresh and due):
            st.rerun()

    follow()
