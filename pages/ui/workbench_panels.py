"""Panels beside and below the table of bits: costs, predicted, measured, and why."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from pages.ui import frames, reliability, session, text, widgets
from pages.ui import sensitivity_plots as plots
from pages.ui import workbench_numbers as numbers
from pages.ui.marimekko import AREAS, marimekko_figure
from pages.ui.workbench_draft import markdown
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import COSTS, costs_of
from qcore.errors import InvalidParams, QcoreError
from qcore.problem import RunSpec, SensitivityTable
from store import Run, Store, config_text, runs, save_config

CHART = {"toImageButtonOptions": {"format": "svg"}, "displaylogo": False}
PARTS = {"weights": "weight", "activations": "activation"}


def costs_panel(model: ModelSpec, now: BitAllocation, start: BitAllocation) -> None:
    """Main costs large, with their change; all of them in a table."""
    mine, before = costs_of(model, now), costs_of(model, start)
    columns = st.columns(3)
    for column, name in zip(columns, ("weight_bytes", "bit_ops"), strict=False):
        column.metric(
            COSTS[name].title,
            text.cost_text(name, mine[name]),
            numbers.change_text(name, mine[name], before[name]),
            delta_color="inverse",
            help=COSTS[name].formula,
        )
    columns[2].metric(
        "Mean bits",
        numbers.mean_bits_text(model, now),
        help="Of weights / of activations, each weighed by how many there are.",
    )
    with st.expander("All costs beside the starting point"):
        st.dataframe(
            numbers.costs_table(model, now, start),
            hide_index=True,
            alt="Every cost of these bits, of the starting point and of 8 bits everywhere.",
        )


def area_panel(model: ModelSpec, now: BitAllocation, start: BitAllocation) -> None:
    """The Marimekko, with the starting point as outline where it differs."""
    st.subheader("Where the cost lies")
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
        marimekko_figure(model, now, str(cost), outline),
        key="marimekko",
        config=CHART,
        alt="One block per layer; its area is the layer's share of the cost.",
    )


def measured_panel(
    store: Store,
    model: ModelSpec,
    compared: Sequence[Run],
    frame: pd.DataFrame | None,
    now: BitAllocation,
) -> None:
    """What was measured of exactly these bits, or the button that has it measured."""
    st.subheader("Measured")
    rows = None if frame is None else numbers.measured_rows(frame, now)
    if rows is not None and not rows.empty:
        _scores(rows)
        best = rows.iloc[0]
        if best["config_point"] >= 0:
            _save(store, model, best)
            return
        st.caption("Measure these bits here to look at the test split and to get their files.")
    if any(widgets.measures(run, now) for run in compared):
        st.info("These bits are being measured; the result appears here.", icon=":material/timer:")
        return
    like = numbers.measure_like(model, compared)
    if like is None:
        st.info("Say first which images to measure on: start any search of this model.")
        st.page_link("pages/views/searches.py", label="Set up a search")
        return
    if rows is None or rows.empty:
        st.write(
            f"These bits were not measured yet; {like.search_images:,} search images of "
            f"{markdown(like.data)} will tell."
        )
    if st.button("Measure these bits", type="primary", icon=":material/play_arrow:", key="wb-go"):
        _queue(store, widgets.given_spec(like, now), f"Measure {now.digest[:6]} on {model.name}")


def _scores(rows: pd.DataFrame) -> None:
    for row in rows.to_dict("records"):
        score, low, high, n, split = numbers.score_words(row)
        st.markdown(
            f"**{score:.2f} %** ({low:.1f} to {high:.1f}, 95 % interval, n={n:,}) on the {split} "
            f"split: {markdown(str(row['method']))}, run {row['run']}"
        )


def _queue(store: Store, spec: RunSpec, name: str) -> None:
    # another tab may have asked for the same since this page was drawn
    wanted = spec.to_json()
    asked = [r for r in runs(store, model=spec.model) if r.state in text.ACTIVE]
    if any(run.spec.to_json() == wanted for run in asked):
        st.toast("Another tab asked for the same; it is under way.", icon=":material/timer:")
        st.rerun()
    if widgets.launch(store, [(spec, name)]):
        st.rerun()


def _save(store: Store, model: ModelSpec, row: pd.Series) -> None:
    point = int(row["config_point"])
    stem = text.file_stem(
        model.name, row[frames.WEIGHT_BITS], row[frames.ACTIVATION_BITS], "hand-edited", point
    )
    widgets.downloads(store, point, stem)
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


def predicted_panel(
    table: SensitivityTable,
    model: ModelSpec,
    found: reliability.Reliability,
    now: BitAllocation,
    start: BitAllocation,
) -> None:
    """What a sensitivity predicts for these bits, unless it proved unreliable."""
    st.subheader("Predicted")
    if not reliability.trusted(found):
        st.info(reliability.words(found), icon=":material/visibility_off:")
        return
    damage, before = reliability.damages(table, model, [now, start])
    if damage != damage:
        st.write(_unknown_words(table, model, now))
        return
    change = "" if before != before or before == damage else f" (starting point {before:.3g})"
    st.markdown(f"Damage about **{damage:.3g} {markdown(table.unit)}**{change}.")
    near = reliability.expected_score(found, float(damage))
    if near is not None:
        low, middle, high, count = near
        st.markdown(
            f"The {count} measured allocations predicted most alike score {low:.1f} to "
            f"{high:.1f} %, half of them above {middle:.1f} %."
        )
    st.caption(f"{reliability.words(found)} Predicted from {table.kind} sensitivity, not measured.")


def _unknown_words(table: SensitivityTable, model: ModelSpec, now: BitAllocation) -> str:
    missing = set()
    for name in model.names:
        pairs = ((table.weight, now[name].weight), (table.activation, now[name].activation))
        missing |= {
            bits for scores, bits in pairs if bits != 32 and bits not in scores.get(name, {})
        }
    return (
        f"The {table.kind} sensitivity does not know {', '.join(map(str, sorted(missing)))} bits "
        "everywhere they are used here. Choose another one, or compute one that does."
    )


def why_panel(
    store: Store,
    model: ModelSpec,
    compared: Sequence[Run],
    table: SensitivityTable,
    found: reliability.Reliability,
    now: BitAllocation,
    score: str,
) -> None:
    """Sensitivity curves, heatmap, the price of the next bit, and predicted against measured."""
    curves, heat, price, calibration = st.tabs(
        [
            "Sensitivity curves",
            "Sensitivity heatmap",
            "Price of the next bit",
            "Predicted vs measured",
        ]
    )
    with curves:
        _curves(table, model)
    with heat:
        _heat(table, model)
    with price:
        rows = plots.price_frame(table, model, now)
        if rows.empty:
            st.write("No layer has fewer bits to go to that this sensitivity knows.")
        else:
            st.plotly_chart(
                plots.price_figure(rows, table.unit),
                key="price",
                config=CHART,
                alt="Damage added per KiB saved when a layer takes the next fewer weight bits.",
            )
            left = len(model.layers) - len(rows)
            st.caption(
                "Predicted damage added for each KiB of weights saved, when one layer alone goes "
                "to the next fewer bits. Cheap bits, at the right, are the ones to give up first."
                + (f" {text.counted(left, 'layer')} cannot go lower." if left else "")
            )
    with calibration:
        st.write(reliability.words(found))
        if found.n:
            here = float(reliability.damages(table, model, [now])[0])
            st.plotly_chart(
                reliability.reliability_figure(
                    found,
                    table.unit,
                    {run.id: run for run in compared},
                    f"Measured {score}, search split, %",
                    None if here != here else here,
                ),
                key="reliability",
                config=CHART,
                alt="Measured score against predicted damage, a mark per measured allocation.",
            )
            st.caption("Bars are 95 % intervals. Well ranked: marks fall from left to right.")


def _part(table: SensitivityTable, key: str) -> str:
    if not table.activation:
        return "weight"
    chosen = st.segmented_control("Of", list(PARTS), default="weights", required=True, key=key)
    return PARTS[str(chosen)]


def _curves(table: SensitivityTable, model: ModelSpec) -> None:
    frame = plots.sensitivity_frame(table, model, _part(table, "wb-curves-part"))
    if frame.empty:
        st.write("This sensitivity knows none of this model's layers.")
        return
    st.plotly_chart(
        plots.curves_figure(frame, table.unit),
        key="curves",
        config=CHART,
        alt="Damage of each layer against its bits, on a logarithmic axis.",
    )
    hidden = plots.unseen(frame)
    st.caption(
        f"Damage when one layer alone is quantized, on {table.n:,} images; the most damaging are "
        "named, bars are standard errors where they were estimated."
        + (f" {text.counted(hidden, 'score')} at or below 0 cannot be drawn." if hidden else "")
    )


def _heat(table: SensitivityTable, model: ModelSpec) -> None:
    frame = plots.sensitivity_frame(table, model, _part(table, "wb-heat-part"))
    if not frame.empty:
        st.plotly_chart(
            plots.sensitivity_heatmap(frame, table.unit),
            key="sensitivity",
            config=CHART,
            alt="Damage of each layer at each bit-width.",
        )


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
        "images: seconds on the bundled networks, minutes on large ones.",
    ):
        _queue(store, numbers.sensitivity_spec(like, now), f"Sensitivity of {model.name}")


def choose_table(
    tables: Mapping[str, SensitivityTable], judged: Mapping[str, reliability.Reliability]
) -> str:
    """Let the reader choose a sensitivity; the one that ranks best comes first."""
    order = sorted(tables, key=lambda name: -(judged[name].tau or 0.0))
    if len(order) == 1:
        return order[0]
    return str(st.selectbox("Sensitivity", order, key="wb-table"))


@st.cache_resource(show_spinner=False, max_entries=32)
def _judged(
    _table: SensitivityTable,
    _model: ModelSpec,
    _store: Store,
    _compared: list[Run],
    name: str,
    url: str,
    digest: str,
    stamp: tuple[float, ...],
    versions: tuple[session.Version, ...],
) -> reliability.Reliability:
    points = (point for run in _compared for point in session.points(_store, run))
    return reliability.reliability(_table, _model, points)


def judged(
    store: Store, model: ModelSpec, compared: Sequence[Run], name: str, table: SensitivityTable
) -> reliability.Reliability:
    """`reliability.reliability` over runs of one setting, kept; shared, so never change it."""
    versions = tuple(session.version_of(run) for run in compared)
    stamp = (table.n, table.seconds)
    url = str(store.url)
    return _judged(table, model, store, list(compared), name, url, model.digest, stamp, versions)
