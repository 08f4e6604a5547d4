"""What has finished since the dashboard was last looked at.

Streamlit lets a page read cookies but not set them, so there is one last visit per dashboard, not
per browser: a small file beside the locks and logs of the database. Without it nothing is said.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import streamlit as st

from store import Run, Store, all_runs
from store.runs.files import files_folder

FILE = "last_visit.json"
EVERY_SECONDS = 10.0
"""While pages are used, the moment of the visit is written at most this often."""

NEWS, TOLD, WRITTEN = "visit-news", "visit-told", "visit-written"
"""Session keys: what finished before this visit, whether it was seen, when the file was written."""


def finished_since(
    known: Sequence[Run], moment: datetime, now: datetime | None = None
) -> list[Run]:
    """Searches that ended by themselves after a moment, latest first; recordings are left out.

    Args:
        known: Runs.
        moment: The last visit; one that is yet to come, as clocks make them up, is not known.
        now: The time; None is now. What ended later than that would be told again and again.
    """
    now = now or datetime.now(UTC)
    if moment > now:
        return []
    ended = [
        (datetime.fromisoformat(run.finished), run)
        for run in known
        if run.finished and run.state in ("done", "failed") and not run.origin
    ]
    news = [(end if end.tzinfo else end.replace(tzinfo=UTC), run) for end, run in ended]
    return [
        run for end, run in sorted(news, key=lambda n: n[0], reverse=True) if moment < end <= now
    ]


def words(news: Sequence[Run]) -> str:
    """Say how many finished, short enough for the sidebar: "3 finished since the last visit"."""
    return f"{len(news):,} finished since the last visit"


def failures(news: Sequence[Run]) -> str:
    """Say how many of them failed; "" where none did."""
    failed = sum(run.state == "failed" for run in news)
    return "" if not failed else "It failed." if len(news) == 1 else f"{failed:,} of them failed."


def finished_note(store: Store, on_searches: bool) -> None:
    """Say in the sidebar what finished since the last visit, until its page was opened.

    Args:
        store: The database.
        on_searches: Whether the page about to be drawn is that of the searches.
    """
    path = files_folder(store) / FILE
    if NEWS not in st.session_state:
        before = _read(path)
        st.session_state[NEWS] = [] if before is None else finished_since(all_runs(store), before)
    if monotonic() - st.session_state.get(WRITTEN, -EVERY_SECONDS) >= EVERY_SECONDS:
        st.session_state[WRITTEN] = monotonic()
        _write(path, datetime.now(UTC))
    if on_searches:
        st.session_state[TOLD] = True
    elif st.session_state.get(TOLD):
        st.session_state[NEWS] = []
    news: list[Run] = st.session_state[NEWS]
    if not news:
        return
    with st.sidebar:
        if on_searches:
            st.caption(f"{words(news)}. {failures(news)}".strip())
            return
        st.page_link(
            "pages/views/searches.py",
            label=words(news),
            icon=":material/notifications:",
            query_params={"model": news[0].spec.model, "run": str(news[0].id)},
            help=failures(news) or None,
        )


def _read(path: Path) -> datetime | None:
    try:
        seen = datetime.fromisoformat(json.loads(path.read_text(encoding="utf-8"))["seen"])
    except (OSError, ValueError, KeyError, TypeError):
        # a first visit, or a file that somebody damaged: nothing is known of an earlier one
        return None
    return seen if seen.tzinfo else seen.replace(tzinfo=UTC)


def _write(path: Path, moment: datetime) -> None:
    fresh = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps({"seen": moment.isoformat()}), encoding="utf-8")
        fresh.replace(path)
    except OSError:
        # a full or read-only disk is told where it matters; the note alone is not worth a word
        return
