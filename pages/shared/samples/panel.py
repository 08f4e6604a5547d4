"""Look at samples: a button, the computing followed, and one sample chosen and drawn."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from pages.shared import session, text, widgets
from pages.shared.samples.drawing import draw_sample
from qcore.errors import InvalidData, QcoreError
from qcore.pictures.record import SampleRecord, parse_record
from store import Store
from store.jobs import samples

SHOWN, FAILED = "samples-shown", "samples-failed"
"""Session keys: whose samples this browser tab shows; why they could not be computed."""

WORST = -1
"""Stands for the sample whose answers differ most."""


def samples_panel(
    store: Store,
    key: str,
    content: Callable[[], str | None],
    words: Sequence[str],
    reason: str | None = None,
) -> None:
    """Draw the button, and under it the samples once they were asked for.

    Args:
        store: The database.
        key: Names the configuration or point on this page.
        content: Gives the configuration's text; None where it is gone.
        words: How `python -m store samples` names it.
        reason: Why its samples cannot be shown; None where they can.
    """
    shown = st.session_state.get(SHOWN) == key and reason is None
    if st.button(
        "Hide samples" if shown else "Look at samples",
        key=f"samples-{key}",
        icon=":material/visibility_off:" if shown else ":material/visibility:",
        disabled=reason is not None,
        help=f"Its samples cannot be shown: {text.literal(reason)}"
        if reason
        else "Runs the float and the quantized network on single samples of the search split, in "
        "a process of its own, and shows what each answers.",
    ):
        st.session_state[SHOWN] = None if shown else key
        st.session_state.pop(FAILED, None)
        st.rerun()
    if not shown:
        return
    with st.container(border=True, key="samples-panel"):
        try:
            _samples(store, key, content, words)
        except QcoreError as error:
            widgets.error_box(error)


def _samples(
    store: Store, key: str, content: Callable[[], str | None], words: Sequence[str]
) -> None:
    found = content()
    if found is None:
        raise InvalidData("This point has no configuration any more; measure it again.")
    path = samples.record_path(store, found)
    if path.is_file():
        _draw(_read(store, found, path), key)
        return
    failed = st.session_state.get(FAILED)
    if failed is not None:
        st.error(text.literal(failed), icon=":material/error:")
        return
    samples.start(store, found, words)
    _follow(store, found)


def _follow(store: Store, content: str) -> None:
    @st.fragment(run_every=1.0)
    @session.database_explained()
    def follow() -> None:
        told = samples.look(store, content)
        if told is not None and told.state == "running":
            st.caption(f"{text.literal(told.words)} … You may leave this page.")
            return
        if told is not None and told.state == "failed":
            st.session_state[FAILED] = told.words
        st.rerun()

    follow()


def _read(store: Store, content: str, path: Path) -> SampleRecord:
    try:
        return _parsed(str(path), path.stat().st_mtime_ns)
    except (InvalidData, OSError):
        # says why, and removes what is damaged
        found = samples.read_record(store, content)
        if found is None:
            raise InvalidData("The record of samples was removed; look again.") from None
        return found


@st.cache_resource(show_spinner=False, max_entries=8)
def _parsed(path: str, changed: int) -> SampleRecord:
    return parse_record(Path(path).read_text(encoding="utf-8"))


def _draw(record: SampleRecord, key: str) -> None:
    chosen = st.selectbox(
        "Sample",
        [WORST, *record.numbers.tolist()],
        format_func=lambda n: f"the worst one ({record.worst:,})" if n == WORST else f"{n:,}",
        key=f"sample-{key}",
        width=240,
        help="Its place in the search split, from 0; the worst is the one whose answers differ "
        "most.",
    )
    draw_sample(record, record.worst if chosen == WORST else int(chosen), f"sample-{key}")
    looked, total = len(record.divergence), record.total
    which = f"All {total:,}" if looked == total else f"The first {looked:,} of the {total:,}"
    parts = [
        f"{which} samples of the search split of "
        f"{text.literal(record.data)} were looked at, and none of the test split: whoever has seen "
        "test samples chooses by them."
    ]
    if len(record.numbers) < len(record.divergence):
        parts.append(
            f"{len(record.numbers):,} are kept to be shown, those that differ most among them."
        )
    parts += map(text.literal, record.notes)
    st.caption(" ".join(parts))
