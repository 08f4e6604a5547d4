"""Opens a person's file on a page: how far it is, what it takes of its bounds, and a cancel."""

import hashlib
from pathlib import Path

import streamlit as st

from pages.shared.text import literal
from qcore.allocation import ModelSpec
from qcore.formats.imports import Imported
from store import Store
from store.jobs import reading
from store.jobs.opening import Look


def opened(
    store: Store, key: str, given: bytes | Path, model: ModelSpec, wanted: str = ""
) -> Imported | None:
    """Read the bits of a model's layers; what was read stays known while the tab is open.

    Args:
        store: The database.
        key: Makes keys unique.
        given: Text or content of a file, or the path of a GGUF file.
        model: Whose layers they must be for.
        wanted: As `store.jobs.reading.read_bits` has it.

    Returns:
        What was read; None where the reader cancelled it.

    Raises:
        QcoreError: it cannot be read, or not within the bounds; says why.
    """
    what = (_name(given), model.digest, wanted)
    known, cancelled = f"{key}-opened", f"{key}-cancelled"
    if st.session_state.get(known, ("", None))[0] == what:
        found: Imported = st.session_state[known][1]
        return found
    if st.session_state.get(cancelled) == what:
        st.info("Cancelled; nothing of it was kept.", icon=":material/close:")
        st.button(
            "Read it after all",
            key=f"{key}-again",
            icon=":material/refresh:",
            on_click=lambda: st.session_state.pop(cancelled, None),
        )
        return None
    place = st.empty()
    drawn = st.empty()

    def watch(look: Look) -> None:
        # a click ends this run of the page at the next line that draws, and the child with it
        if not drawn_once:
            drawn.button(
                "Cancel",
                key=f"{key}-cancel",
                icon=":material/close:",
                on_click=lambda: st.session_state.update({cancelled: what}),
            )
            drawn_once.append(True)
        place.progress(share_of(look), progress_words(look))

    drawn_once: list[bool] = []
    found = reading.read_bits(store, given, model, wanted, watch)
    place.empty()
    drawn.empty()
    st.session_state[known] = (what, found)
    return found


def progress_words(look: Look) -> str:
    """How far a step is, and what it has taken of the time and the memory that it may take."""
    counted = f" {look.done:,} of {look.total:,}" if look.total else ""
    most = f" of at most {look.most_s:,.0f} s" if look.most_s else ""
    memory = ""
    if look.most_gb and look.memory_gb:
        memory = f"; {look.memory_gb:.1f} of at most {look.most_gb:.1f} GB of memory"
    return f"{literal(look.words)}{counted} ({look.seconds:.0f} s{most}{memory})"


def share_of(look: Look) -> float:
    """How much is done, 0 to 1; where nothing is counted, the larger share of its bounds."""
    if look.total:
        return min(1.0, look.done / look.total)
    parts = ((look.seconds, look.most_s), (look.memory_gb, look.most_gb))
    return max(min(1.0, part / most) if most else 0.0 for part, most in parts)


def _name(given: bytes | Path) -> str:
    if isinstance(given, bytes):
        return hashlib.sha256(given).hexdigest()
    try:
        facts = given.stat()
    except (OSError, ValueError):
        return str(given)
    return f"{given} {facts.st_size} {facts.st_mtime_ns}"
