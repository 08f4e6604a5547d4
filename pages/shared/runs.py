"""Runs as several pages need them: launching, following, measuring given bits, naming in a link."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

import streamlit as st

from pages.shared import text
from pages.shared.session import database_explained
from pages.shared.widgets import error_box
from qcore.allocation import BitAllocation
from qcore.errors import QcoreError
from qcore.problem import PTQ, TUNED
from qcore.run_spec import RunSpec
from store import Run, Store, all_runs, create_run

REDRAW_SECONDS = 3.0
"""While points arrive, a page is redrawn at most this often."""


def launch(store: Store, specs: Sequence[tuple[RunSpec, str]]) -> bool:
    """Queue runs; on an error say it in words.

    Returns:
        True when all were queued.
    """
    try:
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


MOST_RUNS = 60
"""A link names at most this many runs; more lines than that are no picture."""


def run_words(numbers: Sequence[int]) -> str:
    """Name runs: "run 3", "runs 3, 5 and 6"."""
    ordered = [str(number) for number in sorted(numbers)]
    if len(ordered) == 1:
        return f"run {ordered[0]}"
    return f"runs {', '.join(ordered[:-1])} and {ordered[-1]}"


def read_ids(text: str) -> tuple[list[int], list[str]]:
    """Read the URL's list of runs.

    Args:
        text: Numbers with commas, "12,9,3"; from a link, so anything may stand there.

    Returns:
        (numbers in order, each once, at most MOST_RUNS; entries that are no run numbers).
    """
    numbers: dict[int, None] = {}
    strange = []
    for entry in (part.strip() for part in text.split(",")):
        # 18 digits fit a database's integer; int() of millions of digits would take minutes
        if re.fullmatch(r"[0-9]{1,18}", entry, re.ASCII):
            numbers.setdefault(int(entry))
        elif entry:
            strange.append(entry)
    return list(numbers)[:MOST_RUNS], strange


def write_ids(numbers: Sequence[int]) -> str:
    """Write a list of runs for the URL; `read_ids` reads it back."""
    return ",".join(map(str, numbers))
