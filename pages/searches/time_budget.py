"""The launch form's time budget: minutes for searches that train, and what they buy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from pages.searches.launch_batch import duration
from pages.shared import session, text
from qcore.errors import InvalidParams, QcoreError
from qcore.qat.pace import MINUTES, Pace, epochs_words, paced
from qcore.run_spec import RunSpec
from qcore.search import Search
from qcore.searches import SEARCHES
from store import Store
from store.jobs import pace as paces

AS_SET = "as set below"
FAILED, AGAIN = "f-pace-failed", "f-pace-anew"
OPTIONS = (AS_SET, *(duration(60 * minutes) for minutes in MINUTES))


@dataclass(frozen=True, slots=True)
class TimeBudget:
    """What was chosen.

    Attributes:
        minutes: Of each run that trains; None leaves its epochs as they are set.
        pace: How fast this machine is; None while that is being measured.
    """

    minutes: int | None = None
    pace: Pace | None = None

    @property
    def waits(self) -> str:
        """Why runs cannot be queued yet; "" where they can."""
        if self.minutes is None or self.pace is not None:
            return ""
        return "How fast this machine trains is not measured yet."

    def of(self, spec: RunSpec) -> RunSpec:
        """A run with the epochs that its minutes buy; itself where it trains nothing.

        Raises:
            InvalidParams: the minutes are too few.
        """
        search = SEARCHES[spec.search]
        if self.minutes is None or self.pace is None or search.work is None:
            return spec
        params = paced(search, self.minutes, self.pace, switches_of(spec), spec.params)
        return replace(spec, params=params)


def switches_of(spec: RunSpec) -> int:
    """Bits that the whole network may be switched between."""
    return max(len(spec.weight_bits), len(spec.activation_bits))


def counted(search: Search) -> tuple[str, ...]:
    """Names of the params that the chosen minutes work out; none where no minutes are chosen."""
    if search.work is None or st.session_state.get("f-minutes") in (None, AS_SET):
        return ()
    return search.work.epochs


def draw(store: Store, spec: RunSpec, searches: Sequence[Search]) -> TimeBudget:
    """Let the reader choose minutes, and say what they buy.

    Args:
        store: The database.
        spec: The first of the runs, as far as its network, data, device and bits go.
        searches: Those that are chosen; nothing is drawn where none trains.
    """
    trained = [search for search in searches if search.work is not None]
    if not trained:
        return TimeBudget()
    chosen = st.segmented_control(
        "Time for training",
        OPTIONS,
        default=AS_SET,
        required=True,
        key="f-minutes",
        help="Each run that trains gets as many epochs as take about so long on this machine. Its "
        "speed is measured first, which takes some seconds, and kept.",
    )
    if chosen in (None, AS_SET):
        return TimeBudget()
    minutes = MINUTES[OPTIONS.index(str(chosen)) - 1]
    found = paces.read_pace(store, spec)
    if found is not None and st.session_state.get(AGAIN):
        paces.forget(store, spec)
        found = None
    if found is None:
        _measure(store, spec)
        return TimeBudget(minutes)
    for search in trained:
        st.caption(text.literal(f"{search.title}: {bought(search, spec, found)}", 1000))
    st.button(
        "Measure again",
        key=AGAIN,
        type="tertiary",
        help="Its speed is what it was when it was measured, whatever else ran then.",
    )
    return TimeBudget(minutes, found)


def bought(search: Search, spec: RunSpec, pace: Pace) -> str:
    """What each number of minutes buys of a search, in words."""
    lines, ends = [], []
    for minutes in MINUTES:
        try:
            params = paced(search, minutes, pace, switches_of(spec))
            said, _, end = epochs_words(search, params, pace).partition("; of ")
            ends.append(end)
        except InvalidParams:
            said = "too few"
        lines.append(f"{duration(60 * minutes)} - {said}")
    if len(set(ends)) > 1:  # epochs of a short budget may have fewer samples
        kept = iter(ends)
        lines = [line if line.endswith("too few") else f"{line}; of {next(kept)}" for line in lines]
    elif ends:
        lines.append(f"Of {ends[0]}")
    return ". ".join(lines) + "."


def _measure(store: Store, spec: RunSpec) -> None:
    failed = st.session_state.get(FAILED)
    if failed is not None and failed[0] == paces.pace_path(store, spec).stem:
        st.error(text.literal(failed[1]), icon=":material/error:")
        if st.button("Measure again", key="f-pace-again"):
            del st.session_state[FAILED]
            st.rerun()
        return
    try:
        paces.start(store, spec)
    except QcoreError as error:
        st.error(text.literal(str(error)), icon=":material/error:")
        return

    @st.fragment(run_every=1.0)
    @session.database_explained()
    def follow() -> None:
        told = paces.look(store, spec)
        if told is not None and told.state == "running":
            st.caption("Measuring how fast this machine trains; some 20 seconds …")
            return
        if told is not None and told.state == "failed":
            st.session_state[FAILED] = (paces.pace_path(store, spec).stem, told.words)
        st.rerun()

    follow()
