"""The Compare page's section of several networks on the same test images."""

import pandas as pd
import streamlit as st

from pages.compare import networks, read
from pages.compare.networks import Network
from pages.compare.sections import Comparison
from pages.plots.style import CHART
from pages.shared import session, text
from pages.shared.columns import TEST_N, column_of
from qcore.errors import QcoreError
from store import all_runs

MOST_NETWORKS = 6


def across(found: Comparison) -> None:
    """Networks of the same test images in one picture, and the difference of any two points."""
    mine = networks.seen([t.rows for method in found.methods for t in method.trials])
    setting = found.setting
    others = sorted(
        {
            run.spec.model
            for run in all_runs(found.store)
            if run.spec.data == setting.data and run.evaluations
        }
        - {found.model.name}
    )
    if mine.empty or not others:
        return
    st.header("Several networks")
    chosen = st.multiselect(
        "Also show networks",
        others,
        key="nets",
        bind="query-params",
        max_selections=MOST_NETWORKS,
        placeholder=f"Choose networks that were tested on the same {found.words.samples}",
        help="A small network at many bits, or a large one at few? Points are measured on the same "
        f"test {found.words.samples}, so any two can be held against each other.",
    )
    if not chosen:
        return
    images = int(mine[TEST_N].iloc[0])
    drawn = [_network(found, found.model.name, mine)]
    for name in chosen:
        rows = networks.seen(_tables(found, name), images)
        if rows.empty:
            st.caption(
                f"{text.literal(name, 80)} has no point that was measured alike and tested on "
                f"these {images:,} {found.words.samples}: same split sizes, bits of "
                "activations and objective."
            )
            continue
        drawn.append(_network(found, name, rows))
    if len(drawn) > 1:
        _picture(found, drawn)


def _network(found: Comparison, name: str, rows: pd.DataFrame) -> Network:
    _, floats = session.float_scores(found.store, name, found.setting.data)
    return Network(name, rows, None if floats is None else found.words.factor * floats.headline)


def _tables(found: Comparison, name: str) -> list[pd.DataFrame]:
    """Rows of a network's runs that were measured alike, by the same costs."""
    model = session.model_facts(found.store, name)
    if model is None:
        return []
    runs = [run for run in all_runs(found.store, model=name) if run.evaluations]
    tables = [
        read.rows_of(found.store, run, model, found.box.aim)
        for run in session.newest_within(runs)
        if networks.alike(read.setting(found.store, run), found.setting)
    ]
    column = column_of(found.box.cost)
    return [rows for rows in tables if column in rows and rows[column].notna().all()]


def _picture(found: Comparison, drawn: list[Network]) -> None:
    cost = found.box.cost
    st.plotly_chart(
        networks.networks_figure(drawn, cost, found.words),
        key="compare-networks",
        config=CHART,
        alt=f"{found.what} on the test split against {cost.title.lower()}, a line per network.",
    )
    st.caption(
        "Step lines are points without training on the front of what their search minimised: the "
        "test split chose none of them. Open marks have trained weights; dashed lines are the "
        "float networks."
    )
    offered = networks.offered(drawn, cost, found.words)
    first, second = networks.proposed(drawn, cost)
    points = []
    for column, label, key, start in zip(
        st.columns(2),
        ("One point", "Another point"),
        ("nets-from", "nets-to"),
        (first, second),
        strict=True,
    ):
        with column:
            keys = list(offered)
            point = st.selectbox(
                label,
                keys,
                index=keys.index(start),
                format_func=lambda at: offered.get(at, str(at)),
                key=key,
            )
            points.append(int(str(point)))
    a, b = points
    answers = read.right_of(found.store, [a, b], found.words)
    if a not in answers or b not in answers:
        st.caption("An older release kept no answers of one of them; measure it again.")
        return
    try:
        labels = (offered[a], offered[b])
        words = networks.verdict_words(labels, answers[a], answers[b], found.words)
    except QcoreError as error:
        st.error(text.literal(str(error), 400), icon=":material/error:")
        return
    st.info(text.literal(words, 600), icon=":material/compare_arrows:")
    st.caption(
        f"The second minus the first, paired {found.words.sample} by {found.words.sample}. Not "
        "corrected for the pairs that one tries."
    )
