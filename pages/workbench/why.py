"""Panels that say what each layer's bits are worth, and how far a sensitivity may be believed."""

from collections.abc import Mapping, Sequence

import streamlit as st

from pages.plots import reliability
from pages.plots import sensitivity as plots
from pages.plots.style import CHART
from pages.shared import session, text
from pages.shared.judged import Words
from qcore.allocation import BitAllocation, ModelSpec
from qcore.problem import SensitivityTable
from store import Run, Store

PARTS = {"weights": "weight", "activations": "activation"}


def why_panel(
    store: Store,
    model: ModelSpec,
    compared: Sequence[Run],
    table: SensitivityTable,
    found: reliability.Reliability,
    now: BitAllocation,
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
        _curves(table, model, found.named)
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
        _calibration(table, model, compared, found, now)


def _calibration(
    table: SensitivityTable,
    model: ModelSpec,
    compared: Sequence[Run],
    found: reliability.Reliability,
    now: BitAllocation,
) -> None:
    score = found.named.name
    st.write(reliability.words(found))
    if not found.n:
        return
    against = st.segmented_control(
        "Against",
        ["measured damage", f"measured {score}"],
        default="measured damage",
        required=True,
        key="wb-against",
    )
    by_score = against != "measured damage"
    here = float(reliability.damages(table, model, [now])[0])
    st.plotly_chart(
        reliability.reliability_figure(
            found,
            table.unit,
            {run.id: run for run in compared},
            score_title=f"Measured {score}, search split, {found.named.symbol}"
            if by_score
            else None,
            here=None if here != here else here,
        ),
        key="reliability",
        config=CHART,
        alt=f"Measured {score if by_score else 'damage'} against predicted damage.",
    )
    words = (
        "Bars are 95 % intervals. " + reliability.score_words(found)
        if by_score
        else (
            "Measured damage: how far the outputs diverge from the float network's on the search "
            "split. Well predicted: marks rise along one line."
        )
    )
    st.caption(words)


def _part(table: SensitivityTable, key: str) -> str:
    if not table.activation:
        return "weight"
    chosen = st.segmented_control("Of", list(PARTS), default="weights", required=True, key=key)
    return PARTS[str(chosen)]


def _curves(table: SensitivityTable, model: ModelSpec, named: Words) -> None:
    part = _part(table, "wb-curves-part")
    frame = plots.sensitivity_frame(table, model, part)
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
        f"Damage when one layer alone is quantized, on {table.n:,} {named.samples}; the most "
        "damaging are named, bars are standard errors where they were estimated."
        + (f" {text.counted(hidden, 'score')} at or below 0 cannot be drawn." if hidden else "")
        + f" {plots.derived_words(table, part)}".rstrip()
    )


def _heat(table: SensitivityTable, model: ModelSpec) -> None:
    part = _part(table, "wb-heat-part")
    frame = plots.sensitivity_frame(table, model, part)
    if not frame.empty:
        st.plotly_chart(
            plots.sensitivity_heatmap(frame, table.unit),
            key="sensitivity",
            config=CHART,
            alt="Damage of each layer at each bit-width.",
        )
        if said := plots.derived_words(table, part):
            st.caption(said)


CHOSEN = "wb-table"
"""Key of the choice of a sensitivity, which the picture above it is drawn with too."""


def best_first(
    tables: Mapping[str, SensitivityTable], judged: Mapping[str, reliability.Reliability]
) -> list[str]:
    """Names of the sensitivities, that which ranks best what was measured first."""
    return sorted(tables, key=lambda name: -(judged[name].tau or 0.0))


def choose_table(order: Sequence[str]) -> str:
    """Let the reader choose a sensitivity; there is at least one."""
    if len(order) == 1:
        return order[0]
    return str(st.selectbox("Sensitivity", order, key=CHOSEN))


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
    words: Words,
) -> reliability.Reliability:
    points = (point for run in _compared for point in session.points(_store, run))
    return reliability.reliability(_table, _model, points, words)


def judged(
    store: Store, model: ModelSpec, compared: Sequence[Run], name: str, table: SensitivityTable
) -> reliability.Reliability:
    """`reliability.reliability` over runs of one setting, kept; shared, so never change it."""
    versions = tuple(session.version_of(run) for run in compared)
    stamp = (table.n, table.seconds)
    url = str(store.url)
    words = session.words(store, compared, model)
    runs = list(compared)
    return _judged(table, model, store, runs, name, url, model.digest, stamp, versions, words)
