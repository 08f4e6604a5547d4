"""Panels around the picture of the bits: measured, costs, changes, files."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from pages.downloads.downloads import downloads
from pages.plots import difference
from pages.plots.area import AREAS, area_figure
from pages.plots.style import CHART
from pages.shared import session, switchable_runs, text, widgets
from pages.shared.columns import ACTIVATION_BITS, WEIGHT_BITS
from pages.shared.judged import Words
from pages.shared.runs import given_spec, launch, measures
from pages.workbench import numbers
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import COSTS, costs_of
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidParams, QcoreError
from qcore.problem import Scores
from qcore.run_spec import RunSpec
from store import Run, Store, all_runs, config_text, save_config

LARGE = ("weight_bytes", "bit_ops", "model_bytes")


def costs_panel(
    model: ModelSpec, now: BitAllocation, start: BitAllocation, costs: Mapping[str, CostModel]
) -> None:
    """All costs, and the mean bits, with their change."""
    with st.expander(
        "All costs beside the starting point", icon=":material/table:", key="wb-costs"
    ):
        mine, before = costs_of(model, now), costs_of(model, start)
        columns = st.columns([3, 3, 3, 2])
        for column, name in zip(columns, LARGE, strict=False):
            column.metric(
                COSTS[name].title,
                text.cost_text(COSTS[name], mine[name]),
                numbers.change_text(COSTS[name], mine[name], before[name]),
                delta_color="inverse",
                help=COSTS[name].formula,
            )
        columns[3].metric(
            "Mean bits, w / a",
            numbers.mean_bits_text(model, now),
            help="Of weights / of activations, each weighed by how many there are.",
        )
        st.dataframe(
            numbers.costs_table(model, now, start, costs),
            hide_index=True,
            alt="Every cost of these bits, of the starting point and of 8 bits everywhere.",
        )


def area_panel(model: ModelSpec, now: BitAllocation, start: BitAllocation) -> None:
    """Each layer as a block of its cost (a Marimekko chart); the starting point as outline."""
    st.header("Where the cost lies")
    cost = st.segmented_control(
        "Area is",
        list(AREAS),
        default="weight_bytes",
        required=True,
        format_func=lambda name: COSTS[name].title,
        key="wb-area",
    )
    outline = None if now == start else start
    st.plotly_chart(
        area_figure(model, now, str(cost), outline),
        key="area",
        config=CHART,
        alt="One block per layer; its area is the layer's share of the cost.",
    )


def change_panel(model: ModelSpec, now: BitAllocation, start: BitAllocation) -> None:
    """Which layers differ from the starting point, and by how many bits."""
    if now == start:
        return
    st.header("Against the starting point")
    rows = difference.diff_frame(model, start, now)
    changed = int(rows["changed"].sum())
    everything = st.toggle("Show equal layers too", key="wb-equal")
    st.plotly_chart(
        difference.diff_figure(rows, everything),
        key="change",
        config=CHART,
        alt="Signed change of bits per layer, weights and activations.",
    )
    st.caption(f"{text.counted(changed, 'layer')} of {len(rows):,} changed; float counts as 32.")


def measured_line(
    store: Store,
    model: ModelSpec,
    compared: Sequence[Run],
    frame: pd.DataFrame | None,
    now: BitAllocation,
    start: BitAllocation,
) -> pd.Series | None:
    """What was measured of exactly these bits, or the button that has it measured.

    Returns:
        The point of these bits whose files are ready, as a row of `frame`, where there is one.
    """
    with st.container(horizontal=True, vertical_alignment="center", key="wb-measured"):
        network = _network(compared)
        if frame is not None and network is not None:
            frame = switchable_runs.rows_on(frame, network)
        rows = None if frame is None else numbers.measured_rows(frame, now)
        if rows is not None and not rows.empty:
            floats = session.floats_of(store, compared[0])
            words = session.words(store, compared, model)
            _scores(rows, frame, start if start != now else None, floats, words)
            if rows.iloc[0]["config_point"] >= 0:
                best: pd.Series = rows.iloc[0]
                return best
        if any(measures(run, now) for run in compared):
            st.info("These bits are being measured; the result appears here.")
        elif network is not None:
            _measure_on(store, model, network, now)
        else:
            _measure(store, model, compared, now, known=rows is not None and not rows.empty)
    return None


def _measure(
    store: Store, model: ModelSpec, compared: Sequence[Run], now: BitAllocation, known: bool
) -> None:
    like = numbers.measure_like(model, compared)
    if like is None:
        st.info("Say first which images to measure on: start any search of this model.")
        st.page_link("pages/views/searches.py", label="Set up a search")
        return
    if not known:
        st.markdown(
            f"Measured: not yet; {like.search_images:,} search "
            f"{session.words(store, compared, model).samples} of "
            f"{text.literal(like.data)} will tell."
        )
    if st.button(
        "Measure these bits",
        type="primary",
        icon=":material/play_arrow:",
        key="wb-go",
        help="Measuring here looks at the test split too, and makes their files.",
    ):
        _queue(store, given_spec(like, now), f"Measure {now.digest[:6]} on {model.name}")


def _network(compared: Sequence[Run]) -> Run | None:
    """Whose weights the bits are measured with: the model's own, or those a run has trained."""
    known = switchable_runs.trained_runs(compared)
    if not known:
        return None
    chosen = st.selectbox(
        "Network",
        [0, *known],
        format_func=lambda at: switchable_runs.title(known[at]) if at in known else "as it is",
        key="wb-network",
        width=320,
        help="As it is: quantized after training. A network that an SP-Nets or Bit-Mixer run has "
        "trained answers at any bits it was trained at, as it is, in seconds.",
    )
    return known.get(chosen)


def _measure_on(store: Store, model: ModelSpec, network: Run, now: BitAllocation) -> None:
    words = switchable_runs.untrained_words(network, model, now)
    if words:
        st.warning(text.literal(words), icon=":material/block:")
        return
    name = text.literal(switchable_runs.title(network))
    st.write(f"The network {name} was not measured at these bits.")
    if st.button("Measure these bits", type="primary", icon=":material/play_arrow:", key="wb-go"):
        name = f"Measure {now.digest[:6]} on the network of run {network.id}"
        _queue(store, switchable_runs.measured_spec(network, now), name)


def _scores(
    rows: pd.DataFrame,
    frame: pd.DataFrame | None,
    start: BitAllocation | None,
    floats: tuple[Scores | None, Scores | None],
    words: Words,
) -> None:
    lines = [
        f"Measured **{_score_text(row, words)}**{numbers.float_words(row, floats, words)}: "
        f"{text.literal(str(row['method']))}, run {row['run']}"
        for row in rows.to_dict("records")
    ]
    more = text.counted(len(lines) - 1, "more run")
    st.markdown(lines[0] if len(lines) == 1 else f"{lines[0]}, and {more}", help=_listed(lines))
    before = None if start is None or frame is None else numbers.measured_rows(frame, start)
    if before is not None and not before.empty:
        st.caption(f"Starting point: {_score_text(before.iloc[0].to_dict(), words)}.")


def _listed(lines: Sequence[str]) -> str | None:
    return "\n\n".join(lines) if len(lines) > 1 else None


def _score_text(row: Mapping[str, object], words: Words) -> str:
    score, low, high, n, split = numbers.score_words(row)
    name = "" if words.usual else f"{words.name} "
    shown = f"{name}{words.value(score, 2)}"
    return f"{shown} ({low:.1f} to {high:.1f}, 95 % interval, n={n:,}) on the {split} split"


def _queue(store: Store, spec: RunSpec, name: str) -> None:
    # another tab may have asked for the same since this page was drawn
    wanted = spec.to_json()
    asked = [r for r in all_runs(store, model=spec.model) if r.state in text.ACTIVE]
    if any(run.spec.to_json() == wanted for run in asked):
        st.toast("Another tab asked for the same; it is under way.", icon=":material/timer:")
        st.rerun()
    if launch(store, [(spec, name)]):
        st.rerun()


def take_away(store: Store, model: ModelSpec, row: pd.Series) -> None:
    """Downloads of a measured point, and a name to keep it under."""
    point = int(row["config_point"])
    stem = text.file_stem(model.name, row[WEIGHT_BITS], row[ACTIVATION_BITS], "hand-edited", point)
    with st.expander("Take it away", icon=":material/download:"):
        downloads(store, point, stem)
    with (
        st.form("wb-save", border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        name = st.text_input("Name", value=stem, max_chars=200, key=f"wb-name-{point}")
        pressed = st.form_submit_button("Save as configuration", icon=":material/bookmark:")
    if not pressed:
        return
    try:
        content = config_text(store, point)
        if content is None:
            raise InvalidParams("This point has no configuration any more; measure it again.")
        source = {"run": int(row["run"]), "point": point}
        save_config(store, name, content, tags=("workbench",), source=source)
    except QcoreError as error:
        widgets.error_box(error)
        return
    st.toast("Saved; the Configs page lists it.", icon=":material/bookmark:")


def sensitivity_button(
    store: Store, model: ModelSpec, compared: Sequence[Run], now: BitAllocation, main: bool
) -> None:
    """Have a sensitivity computed that knows every bit-width."""
    if any(numbers.is_sensitivity(r.spec) and r.state in text.ACTIVE for r in compared):
        st.info("A sensitivity is being computed; it appears here.", icon=":material/timer:")
        return
    like = numbers.measure_like(model, compared)
    if like is None:
        return
    if st.button(
        "Compute a sensitivity",
        type="primary" if main else "secondary",
        icon=":material/query_stats:",
        key="wb-sensitivity",
        help="Quantizes one layer at a time to each bit-width and measures the damage on 256 "
        f"{session.words(store, compared, model).samples}: seconds on the bundled networks, "
        "minutes on large ones.",
    ):
        _queue(store, numbers.sensitivity_spec(like, now), f"Sensitivity of {model.name}")
