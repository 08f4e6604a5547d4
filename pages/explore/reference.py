"""The point that Explore compares with: chosen by a button, carried by the URL key "ref"."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.explore.view import point_of
from pages.plots.difference import diff_figure, diff_frame, diff_totals
from pages.plots.style import GREY
from pages.shared import session, text
from pages.shared.columns import SEARCH_N, SEARCH_SCORE, TEST_SCORE, WEIGHT_BITS, column_of
from pages.shared.judged import CLASSIFIER, Words
from qcore.allocation import ModelSpec
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from store import Run, Store

NAMED = ("weight_bytes", "model_bytes", "bit_ops")
"""Costs whose difference is said."""


def row_of(rows: pd.DataFrame, run: Any, point: Any) -> pd.Series | None:
    """The row of a point, or None."""
    found = rows[(rows["run"] == run) & (rows["point"] == point)]
    return None if found.empty else found.iloc[0]


def reference(
    store: Store, model: ModelSpec, frame: pd.DataFrame, offered: Sequence[Run]
) -> pd.Series | None:
    """The point that the address names; one that is not there is told and dropped.

    Args:
        store: The database.
        model: Whose points they are.
        frame: What is shown.
        offered: Every run of the setting, shown or not.
    """
    words = st.query_params.get("ref", "")
    if not words:
        return None
    named = point_of(words)
    row = None if named is None else row_of(frame, *named)
    if named is not None and row is None:
        hidden = [run for run in offered if run.id == named[0]]
        row = row_of(session.frame(store, hidden, model), *named) if hidden else None
    if row is None:
        st.toast(
            f"The reference {text.literal(words[:30])} is not among these results; left out.",
            icon=":material/link_off:",
        )
        del st.query_params["ref"]
    return row


def key_of(row: pd.Series) -> str:
    """How a link names a point."""
    return f"{row['run']}:{row['point']}"


def label_of(row: pd.Series) -> str:
    """How the pages name a reference, as Markdown."""
    return f"**{text.literal(str(row['method']))}**, point {row['point']} of run {row['run']}"


def difference_words(
    model: ModelSpec, reference: pd.Series, row: pd.Series, words: Words = CLASSIFIER
) -> str:
    """What a point costs and scores more or less than the reference, in one sentence.

    Args:
        model: Whose points they are.
        reference: Row of the point to compare with, of `points_frame`.
        row: Row of the point in hand; measured on the same samples.
        words: What scores are called.
    """
    parts = []
    totals = diff_totals(model, reference["allocation"], row["allocation"])
    for name, (old, new) in totals.items():
        if name in NAMED:
            parts.append(f"{COSTS[name].title.lower()} {_change(COSTS[name], old, new)}")
    bits = row[WEIGHT_BITS] - reference[WEIGHT_BITS]
    parts.append(f"{abs(bits):.2f} bits a weight {'more' if bits > 0 else 'less'}")
    if abs(bits) < 0.005:
        parts[-1] = "as many bits a weight"
    parts.append(
        f"{row[SEARCH_SCORE] - reference[SEARCH_SCORE]:+.2f} {words.lost} on the same "
        f"{row[SEARCH_N]:,.0f} search {words.samples}"
    )
    tested = [found[TEST_SCORE] for found in (reference, row)]
    if all(pd.notna(score) for score in tested):
        parts.append(f"{tested[1] - tested[0]:+.2f} {words.lost} on the test split")
    return ", ".join(parts)


def _change(cost: CostModel, old: int, new: int) -> str:
    if old == new:
        return "equal"
    share = f" ({100 * (new - old) / old:+.1f} %)" if old else ""
    return f"{text.cost_text(cost, abs(new - old))} {'more' if new > old else 'less'}{share}"


def draw(
    model: ModelSpec, reference: pd.Series | None, row: pd.Series, words: Words = CLASSIFIER
) -> None:
    """Say how a point differs from the reference, and offer another reference."""
    if reference is None:
        return
    if key_of(reference) == key_of(row):
        st.markdown(f"This is the reference: {label_of(reference)}.")
        return
    told = difference_words(model, reference, row, words)
    st.markdown(f"Against the reference ({label_of(reference)}): {told}.")
    if reference["allocation"] == row["allocation"]:
        return
    with st.expander("Bits of each layer against the reference"):
        st.plotly_chart(
            diff_figure(diff_frame(model, reference["allocation"], row["allocation"])),
            key="against",
            alt="Change of weight and activation bits of each layer against the reference.",
        )
        numbers = dict.fromkeys((int(reference["run"]), int(row["run"])))
        st.page_link(
            "pages/views/compare.py",
            label=f"What is chance: compare the two on the same {words.samples}",
            icon=":material/compare:",
            query_params={
                "model": model.name,
                "runs": ",".join(map(str, numbers)),
                "pt": key_of(row),
                "ref": key_of(reference),
            },
        )


def button(reference: pd.Series | None, row: pd.Series) -> None:
    """Offer to make a point the reference, or to have none any more."""
    mine = reference is not None and key_of(reference) == key_of(row)
    st.button(
        "No reference" if mine else "Compare others with this",
        icon=":material/flag:",
        key="reference",
        on_click=_set,
        args=("" if mine else key_of(row),),
        help="Marks this point in the front; every other pick then says how much smaller, "
        "cheaper and more accurate than it it is.",
    )


def _set(words: str) -> None:
    if words:
        st.query_params["ref"] = words
    elif "ref" in st.query_params:
        del st.query_params["ref"]


def add_mark(
    figure: go.Figure,
    reference: pd.Series | None,
    cost: CostModel,
    factor: float,
    words: Words = CLASSIFIER,
) -> None:
    """Draw the reference into a front.

    Args:
        figure: Of `front.front_figure`.
        reference: Row of the reference, or None.
        cost: The cost on the x axis.
        factor: Units of that cost in one of the axis's.
        words: What scores are called.
    """
    column = column_of(cost)
    if reference is None or column not in reference:
        return
    figure.add_scatter(
        x=[float(reference[column]) / factor],
        y=[float(reference[SEARCH_SCORE])],
        name="reference",
        mode="markers",
        marker={"symbol": "star", "size": 15, "color": GREY, "line": {"width": 1}},
        hovertemplate=f"reference<br>%{{y:.2f}} {words.symbol} at %{{x:.4g}}<extra></extra>",
    )
