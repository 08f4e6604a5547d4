"""A trace of demands: chosen or pasted, drawn, and played step by step."""

import time
from collections.abc import Mapping, Sequence

import streamlit as st

from pages.plots.style import CHART
from pages.run_time import options as able
from pages.run_time.demand import TRACES, Pick, read_trace, step_at, switches, trace
from pages.run_time.figures import trace_figure
from pages.run_time.options import SCORE, Options, Span
from pages.shared import text, widgets
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidParams

PASTED = "Pasted numbers"
STEP, PLAYING = "rt-step", "rt-playing"
"""Session keys: the step that is shown, from 1; (moment, step) at which playing began, or None."""

SPEEDS = (1, 2, 5)
"""Steps a second."""


def levels_of(span: Span) -> list[float] | None:
    """Let the reader choose a trace, in the unit of a slider; None where what was pasted is none.

    Args:
        span: The slider of the demand that the trace is of.
    """
    left, right = st.columns([2, 1])
    kind = left.selectbox("Trace", [*TRACES, PASTED], key="rt-trace")
    seed = 0
    if kind == "Random walk":
        seed = int(right.number_input("Seed", 0, 10**6, 0, key="rt-seed"))
    if kind != PASTED:
        return trace(kind, span.low, span.high, seed)
    words = st.text_area(
        f"Demands, {text.literal(span.unit)}",
        key="rt-pasted",
        placeholder="40, 30, 20, 20, 40",
        help="One number for each step, with spaces, commas, semicolons or line breaks between.",
    )
    if not words.strip():
        st.caption("Paste the demands of a trace: numbers, one for each step.")
        return None
    try:
        return read_trace(words)
    except InvalidParams as error:
        widgets.error_box(error)
        return None


def is_playing() -> bool:
    """Whether the trace moves by itself."""
    return st.session_state.get(PLAYING) is not None


def step_of(levels: Sequence[float]) -> int:
    """Draw the buttons and the step, and say which step is shown, from 0."""
    count = len(levels)
    speed = int(st.session_state.get("rt-speed") or SPEEDS[0])
    shown = min(count, max(1, int(st.session_state.get(STEP, 1))))
    begun = st.session_state.get(PLAYING)
    if begun is not None:
        moment, first = begun
        shown = 1 + step_at(first, time.monotonic() - moment, speed, count)
        if shown == count:
            st.session_state[PLAYING] = None
            st.session_state[STEP] = shown
            st.rerun()
    st.session_state[STEP] = shown
    with st.container(horizontal=True, vertical_alignment="bottom"):
        playing = begun is not None
        if st.button(
            "Pause" if playing else "Play",
            icon=":material/pause:" if playing else ":material/play_arrow:",
            key="rt-play",
            disabled=count < 2,
        ):
            first = 0 if shown == count else shown - 1
            st.session_state[PLAYING] = None if playing else (time.monotonic(), first)
            st.rerun()
        st.segmented_control(
            "Steps a second", SPEEDS, default=SPEEDS[0], required=True, key="rt-speed",
            on_change=_begin_here,
        )  # fmt: skip
    if count < 2:
        return 0
    st.slider("Step", 1, count, key=STEP, on_change=_begin_here)
    return shown - 1


def _begin_here() -> None:
    """Go on from the step that is set."""
    if is_playing():
        st.session_state[PLAYING] = (time.monotonic(), int(st.session_state.get(STEP, 1)) - 1)


def draw_trace(
    choices: Options,
    kind: str,
    levels: Sequence[float],
    picks: Sequence[Pick],
    span: Span,
    at: int,
    costs: Mapping[str, CostModel],
    cost: str,
) -> None:
    """Draw the trace with what was served, and say in words what it came to."""
    got = [able.served(choices, kind, pick.at) / span.factor for pick in picks]
    words = choices.words
    score = f"{words.title} on the search split, {words.symbol}"
    if kind == SCORE:
        scale, unit = costs[cost].scale(max(choices.costs[cost]))
        other = [choices.costs[cost][pick.at] / scale for pick in picks]
        titles = (score, f"{costs[cost].title}, {unit}")
    else:
        other = [choices.shown[pick.at] for pick in picks]
        titles = (f"{costs[kind].title}, {span.unit}", score)
    st.plotly_chart(
        trace_figure(levels, got, other, titles, at),
        key="rt-trace-figure",
        config=CHART,
        alt="Demanded and served, step by step, and below what that means.",
    )
    missed = sum(not pick.met for pick in picks)
    st.caption(text.literal(trace_words(len(picks), switches(picks), missed)))


def trace_words(steps: int, changes: int, missed: int) -> str:
    """What a trace came to, in a sentence. Pure."""
    met = "every demand was met" if not missed else f"{missed:,} were not met"
    changed = f"{changes:,} switch{'' if changes == 1 else 'es'}"
    return f"{text.counted(steps, 'step')}, {changed}; {met}."
