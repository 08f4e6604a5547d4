"""The run-time page: which network, what is demanded, and what runs then."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import streamlit as st

from pages.plots.heatmap import bit_heatmap
from pages.plots.style import CHART
from pages.run_time import answers, figures, playing
from pages.run_time import options as able
from pages.run_time.demand import Pick
from pages.run_time.options import SCORE, Options
from pages.shared import frames, session, switchable_runs, text, widgets
from pages.shared.run_facts import left_stage
from qcore.allocation import ModelSpec
from qcore.costs.formulas import CostModel
from qcore.errors import QcoreError
from qcore.pictures.served import ServedRecord
from qcore.run_spec import method_label
from store import Run, Store, all_runs
from store.jobs import planes, runtime

FAILED = "rt-failed"
"""Session key: (file of a record, why it could not be computed)."""

HAND, TRACE = "By hand", "Replay a trace"


def draw(store: Store, name: str) -> None:
    """Draw the page.

    Args:
        store: The database.
        name: Of the model.
    """
    st.write(
        "A network that switches holds many precisions at once. Say what is demanded now, and see "
        "which bits run, what they cost and what the network answers."
    )
    model = session.model_facts(store, name)
    runs = [run for run in all_runs(store, model=name) if left_stage(run) and run.state == "done"]
    known = {run.id: run for run in runs if run.evaluations}
    if model is None or not known:
        st.info(
            f"No network of {text.literal(name)} that switches was trained yet. Train one by "
            "Bit-Mixer, whose layers take bits of their own, or by SP-Nets, which takes a few "
            "precisions as a whole.",
            icon=":material/speed:",
        )
        _train_link(name)
        return
    chosen = st.selectbox(
        "Network of run", sorted(known, reverse=True), key="run", bind="query-params", width=200
    )
    run = known[int(chosen)]
    st.caption(
        f"{text.literal(run.name)} · {method_label(run.spec.search)} · "
        + (
            "every layer takes bits of its own"
            if switchable_runs.is_layer_wise(run)
            else "all layers switch together"
        )
    )
    stored = runtime.measured(store, run)
    if not stored:
        st.info(
            "No bits of this network were measured on all search samples; search its network "
            "again on the run's details.",
            icon=":material/info:",
        )
        return
    words = session.words(store, [run], model)
    choices = able.options_of(stored, model, run.spec.objective, store.costs, words)
    record = _answers(store, run, choices)
    costs = store.costs
    playing_now = playing.is_playing() and st.session_state.get("rt-mode") == TRACE
    every = 1.0 / int(st.session_state.get("rt-speed") or 1) if playing_now else None
    live = st.fragment(_live, run_every=every)
    live(run, model, choices, record, costs)


def _train_link(name: str, run: Run | None = None) -> None:
    """A link to the form, set to a search that trains such a network."""
    query = {"model": name, "search": "Bit-Mixer" if run is None else method_label(run.spec.search)}
    # a limit that is none opens the form and sets nothing
    query["near"] = "none"
    if run is not None:
        query["like"] = str(run.id)
    st.page_link(
        "pages/views/searches.py",
        label="Train one: the form, filled in",
        icon=":material/model_training:",
        query_params=query,
    )


def _answers(store: Store, run: Run, choices: Options) -> ServedRecord | None:
    """The record of a run's answers; where there is none, what to do about it is drawn."""
    path = runtime.record_path(store, run, choices.allocations)
    samples = choices.words.samples
    try:
        record = runtime.read_record(path)
    except QcoreError as error:
        widgets.error_box(error)
        record = None
    if record is not None:
        return record
    if reason := runtime.missing(store, run):
        st.info(
            f"{text.literal(reason)} Bits, costs and scores below are those that were measured; "
            f"to see what it answers to single {samples}, train one here.",
            icon=":material/info:",
        )
        _train_link(run.spec.model, run)
        return None
    told = runtime.look(store, path)
    if told is not None and told.state == "failed":
        st.session_state[FAILED] = (str(path), told.words)
    failed = st.session_state.get(FAILED)
    if failed is not None and failed[0] == str(path):
        st.error(text.literal(failed[1]), icon=":material/error:")
    if told is not None and told.state == "running":
        _follow(store, path)
        return None
    if st.button(
        f"Compute its answers to ten {samples}",
        key="rt-compute",
        type="primary",
        icon=":material/play_arrow:",
        help="Runs the stored network at each of its bits, in a process of its own: some seconds.",
    ):
        st.session_state.pop(FAILED, None)
        try:
            runtime.start(store, run, path)
        except QcoreError as error:
            widgets.error_box(error)
            return None
        st.rerun()
    return None


def _follow(store: Store, path: Path) -> None:
    @st.fragment(run_every=1.0)
    @session.database_explained()
    def follow() -> None:
        told = runtime.look(store, path)
        if told is not None and told.state == "running":
            st.caption(f"{text.literal(told.words)} … You may leave this page.")
            return
        if told is not None and told.state == "failed":
            st.session_state[FAILED] = (str(path), told.words)
        st.rerun()

    follow()


def _live(
    run: Run,
    model: ModelSpec,
    choices: Options,
    record: ServedRecord | None,
    costs: Mapping[str, CostModel],
) -> None:
    """The demand, and all that follows it; nothing is computed but a look into a table."""
    kinds = [SCORE, *choices.costs]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.selectbox(
            "Demand on",
            kinds,
            index=min(1, len(kinds) - 1),
            format_func=lambda each: (
                choices.words.title if each == SCORE else text.tidy(costs[each].title, 60)
            ),
            key="rt-kind",
            width=280,
        )
        mode = st.segmented_control(
            "Demand", (HAND, TRACE), default=HAND, required=True, key="rt-mode",
            label_visibility="collapsed", on_change=_stop,
        )  # fmt: skip
    cost = next((name for name in choices.costs if name == "weight_bytes"), kinds[-1])
    span = able.span_of(choices, kind, costs)
    if mode == TRACE:
        levels = playing.levels_of(span)
        if levels is None:
            return
        at = playing.step_of(levels)
        picks = able.replayed(choices, kind, [each * span.factor for each in levels], cost)
        playing.draw_trace(choices, kind, levels, picks, span, at, costs, cost)
        level, pick = levels[at], picks[at]
    else:
        level = _by_hand(choices, kind, costs, span)
        pick = able.choose(choices, kind, level * span.factor, cost)
    at = pick.at
    _running(model, choices, pick, kind)
    if record is not None:
        st.subheader("What it answers now")
        answers.draw(record, choices.allocations[at], choices.words)
        st.caption(
            f"Computed by the stored network of run {run.id} itself at exactly these bits, on the "
            f"first {record.count} {choices.words.samples} of the search split of "
            f"{text.literal(record.data)}; no test {choices.words.sample} was looked at. So few "
            "say nothing about how good it is: that is the score above."
        )
    st.subheader("What it costs")
    limited = "" if kind == SCORE else kind
    st.plotly_chart(
        figures.cost_bars(choices.costs, at, costs, limited, level * span.factor),
        key="rt-costs",
        config=CHART,
        alt="Each cost of what runs, in percent of the dearest that can run.",
    )
    st.caption(rule_words(choices, kind, run))


def _stop() -> None:
    st.session_state[playing.PLAYING] = None


def _by_hand(choices: Options, kind: str, costs: Mapping[str, CostModel], span: able.Span) -> float:
    key = f"rt-level-{kind}"
    kept = st.session_state.get(key)
    if kept is not None and not span.low <= kept <= span.high:
        st.session_state[key] = min(max(kept, span.low), span.high)
    return float(
        st.slider(
            f"{text.literal(able.title_of(choices, kind, costs))}, {text.literal(span.unit)}",
            min_value=span.low,
            max_value=span.high,
            value=span.low if kind == SCORE else span.high,
            step=span.step,
            format=f"%.{span.decimals}f",
            key=key,
        )
    )


def _running(model: ModelSpec, choices: Options, pick: Pick, kind: str) -> None:
    """What runs now: its bits and scores."""
    words, at = choices.words, pick.at
    st.subheader(f"Now: {text.literal(choices.names[at])}")
    if not pick.met:
        nearest = "the highest score there is" if kind == SCORE else "the cheapest there is"
        st.warning(
            f"Nothing that was measured meets this demand; what runs is {nearest}.",
            icon=":material/warning:",
        )
    test = choices.test[at]
    told = [f"{words.title} on the search split: {words.scores(choices.search[at])}"]
    told.append(f"on the test split: {words.scores(test)}" if test else "not tested")
    st.markdown(text.literal("; ".join(told) + "."))
    chosen = pd.DataFrame([("now", choices.allocations[at])], columns=["method", "allocation"])
    st.plotly_chart(
        bit_heatmap(frames.bits_frame(chosen, model)),
        key="rt-bits",
        config=CHART,
        alt=f"Bits of each layer that run now: {choices.names[at]}.",
    )


def rule_words(choices: Options, kind: str, run: Run) -> str:
    """How what runs was chosen, as Markdown. Pure."""
    count = text.counted(len(choices.allocations), "allocation")
    aim = choices.words.aim(run.spec.objective)
    if kind == SCORE:
        rule = "the cheapest in weights that has this score on the search split"
    else:
        rule = f"the one of least {aim} on the search split within the limit: the rule of all picks"
    held = (
        "the codes of the widest, of which all others are the leading bits"
        if planes.nests(run)
        else "all of them"
    )
    return text.literal(
        f"Of {count} that were measured, {rule}. Neighbours whose "
        "intervals overlap are not told apart by their scores. Costs are those of these bits "
        f"alone; to switch, a device holds {held} (see the run's details). Switching itself is not "
        "priced."
    )
