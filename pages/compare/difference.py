"""The Compare page's last section: what changes between any two points, in bits and in figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from pages.compare import controls, read
from pages.compare.bootstrap import paired_bootstrap
from pages.compare.chance import p_words
from pages.compare.methods import front_rows, pick
from pages.compare.sections import Comparison
from pages.plots.difference import (
    ACTIVATION_DELTA,
    BYTES_DELTA,
    OPS_DELTA,
    WEIGHT_DELTA,
    diff_figure,
    diff_frame,
    diff_totals,
    predicted_damage,
)
from pages.plots.style import CHART
from pages.shared import session, text
from pages.shared.card_table import card_of_run, draw_difference
from pages.shared.columns import (
    SEARCH_HIGH,
    SEARCH_LOW,
    SEARCH_N,
    SEARCH_SCORE,
    TEST_HIGH,
    TEST_LOW,
    TEST_N,
    TEST_SCORE,
    TRAINED,
    column_of,
)
from pages.shared.judged import Words
from qcore.allocation import BitAllocation
from qcore.errors import QcoreError
from qcore.formats.config import parse_bits
from qcore.paired import compare
from qcore.quantization_card import QuantizationCard, card_of_config
from store import configs

ALWAYS = ("weight_bytes", "bit_ops")
"""Costs that are listed even where they are equal; of the others only what changes."""

MOST_SAVED = 30
"""Saved configurations on offer, latest first."""


@dataclass(frozen=True)
class Side:
    """One of two allocations: what it is called, and what is known of it.

    Attributes:
        key: "RUN:POINT", or "config:NUMBER".
        words: How it is offered.
        allocation: Its bits.
        point: Number of its point; None for a saved configuration.
        search: Score on the search split with interval, in words; "" where unknown.
        score: The same as it is shown; None where unknown.
        test: As search, of the test split.
        card: How it is quantized beside its bits.
        trained: Whether its weights were trained.
    """

    key: str
    words: str
    allocation: BitAllocation
    point: int | None
    search: str = ""
    score: float | None = None
    test: str = ""
    card: QuantizationCard | None = None
    trained: bool = False


def sides_of(found: Comparison, wanted: Sequence[str] = ()) -> dict[str, Side]:
    """Every point on a front, tested points, saved configurations and the points asked for.

    Args:
        found: The comparison.
        wanted: Keys that are on offer even where their points are on no front.
    """
    sides = {}
    for method in found.methods:
        for trial in method.trials:
            front = front_rows(trial, found.box.cost)
            asked = trial.rows[[f"{trial.run.id}:{at}" in wanted for at in trial.rows["point"]]]
            tested = trial.rows[trial.rows[TEST_SCORE].notna()]
            shown = pd.concat([front, tested, asked]).drop_duplicates("point")
            cards = {
                stage: card_of_run(found.store, trial.run.spec, stage)
                for stage in shown["stage"].unique()
            }
            for row in shown.to_dict("records"):
                card = cards[row["stage"]]
                side = _side(trial.run.id, method.label, row, found, card)
                sides[side.key] = side
    for config in _saved(found):
        sides[config.key] = config
    return sides


def _side(
    run: int, label: str, row: dict[str, object], found: Comparison, card: QuantizationCard
) -> Side:
    cost, words = found.box.cost, found.words
    at = text.cost_text(cost, float(str(row[column_of(cost)])))
    score = float(str(row[SEARCH_SCORE]))
    return Side(
        key=f"{run}:{row['point']}",
        words=f"{label}, run {run}: {at}, {words.value(score)}",
        allocation=row["allocation"],  # type: ignore[arg-type]
        point=int(str(row["point"])),
        search=_measured(row, (SEARCH_SCORE, SEARCH_LOW, SEARCH_HIGH), SEARCH_N, words),
        score=score,
        test=_measured(row, (TEST_SCORE, TEST_LOW, TEST_HIGH), TEST_N, words),
        card=card,
        trained=bool(row[TRAINED]),
    )


def _measured(row: dict[str, object], columns: Sequence[str], n: str, words: Words) -> str:
    if pd.isna(row[columns[0]]):
        return ""
    score, low, high, count = (float(str(row[name])) for name in (*columns, n))
    return f"{words.value(score)} ({low:.1f} to {high:.1f}, n={count:,.0f})"


def _saved(comparison: Comparison) -> list[Side]:
    found, words = [], comparison.words
    for saved in configs(comparison.store)[:MOST_SAVED]:
        try:
            config = parse_bits(saved.text)
            config.allocation.check_names(comparison.model.layers)
        except QcoreError:
            # of another network, or damaged: the Configs page says which
            continue
        found.append(
            Side(
                key=f"config:{saved.id}",
                words=f"Saved configuration {saved.id}: {saved.name[:60]}",
                allocation=config.allocation,
                point=None,
                search="" if config.search is None else words.scores(config.search),
                test="" if config.test is None else words.scores(config.test),
                card=card_of_config(config),
            )
        )
    return found


def proposed(found: Comparison, sides: dict[str, Side]) -> tuple[str, str]:
    """(from, to) to begin with: two methods' best at the middle budget, the ladder's first.

    Points whose test split was looked at come before others: more is known of them.
    """
    budget = found.budgets[len(found.budgets) // 2]
    keys = []
    for method in sorted(found.methods, key=lambda method: not method.reference):
        trial = method.trials[0]
        tested = trial.rows[trial.rows[TEST_SCORE].notna()]
        rows = tested if len(tested) else trial.rows
        best = pick(rows, found.box.cost, budget)
        if best is not None and f"{trial.run.id}:{best['point']}" in sides:
            keys.append(f"{trial.run.id}:{best['point']}")
    keys += [key for key in sides if key not in keys]
    return keys[0], keys[min(1, len(keys) - 1)]


def difference(found: Comparison) -> None:
    """Two boxes and what lies between them."""
    st.header("What changes from one point to another")
    asked = [st.query_params.get("pt", ""), st.query_params.get("ref", "")]
    asked += [str(st.session_state.get(key)) for key in (controls.TO, controls.FROM)]
    sides = sides_of(found, asked)
    if not sides:
        return
    start, end = proposed(found, sides)
    options = [controls.Choice(side.key, side.words) for side in sides.values()]
    left, right = st.columns(2)
    with left:
        a = sides[controls.point_picker("From", controls.FROM, "ref", options, start)]
    with right:
        b = sides[controls.point_picker("To", controls.TO, "pt", options, end)]
    if a.card is not None and b.card is not None:
        draw_difference(a.card, b.card)
    _figures(found, a, b)
    if a.trained != b.trained:
        st.caption(
            "One of them has trained weights: the difference is that of the training as well as of "
            "the bits."
        )
    frame = diff_frame(found.model, a.allocation, b.allocation)
    changed = int(frame["changed"].sum())
    if not changed:
        st.info("Both have the same bits in every layer.", icon=":material/equal:")
        return
    everything = st.toggle("Show equal layers too", key="compare-equal")
    st.plotly_chart(
        diff_figure(frame, everything),
        key="compare-diff",
        config=CHART,
        alt="Change of weight and activation bits of each layer.",
    )
    st.caption(
        f"{changed} of {len(frame)} layers change. Blue: fewer bits, orange: more; float counts "
        "as 32 bits."
    )
    with st.expander("Changes of each layer"):
        rows = frame if everything else frame[frame["changed"]]
        st.dataframe(
            rows.drop(columns=["position", "changed", WEIGHT_DELTA, ACTIVATION_DELTA]),
            hide_index=True,
            column_config={
                name: st.column_config.NumberColumn(format="localized")
                for name in (BYTES_DELTA, OPS_DELTA)
            },
            alt="Bits before and after, bytes and compute gained or saved, of each layer.",
        )


def _figures(found: Comparison, a: Side, b: Side) -> None:
    """Costs and accuracies of both, and the change: measured and predicted apart."""
    change = (
        "" if a.score is None or b.score is None else f"{b.score - a.score:+.2f} {found.words.lost}"
    )
    rows = [
        (f"{found.what}, search split, measured", a.search, b.search, change),
        (f"{found.what}, test split, measured", a.test, b.test, _tested(found, a, b)),
    ]
    for name, (old, new) in diff_totals(
        found.model, a.allocation, b.allocation, found.costs
    ).items():
        cost = found.costs[name]
        if old == new and name not in (*ALWAYS, found.box.cost.name):
            continue
        share = f" ({100 * (new - old) / old:+.1f} %)" if old else ""
        sign = "+" if new >= old else "-"
        moved = f"{sign}{text.cost_text(cost, abs(new - old))}{share}"
        rows.append((cost.title, text.cost_text(cost, old), text.cost_text(cost, new), moved))
    for words, table in list(session.sensitivity_tables(found.store, found.model).items())[:4]:
        before, after = (predicted_damage(table, side.allocation) for side in (a, b))
        if before is None or after is None:
            continue
        rows.append(
            (
                f"Damage predicted by {words}, {table.unit}",
                f"{before:.4g}",
                f"{after:.4g}",
                f"{after - before:+.4g} (more is worse)",
            )
        )
    table = pd.DataFrame(rows, columns=["What", "From", "To", "Change"])
    table[["From", "To"]] = table[["From", "To"]].replace("", "not measured")
    st.dataframe(
        table,
        hide_index=True,
        column_config={"What": st.column_config.TextColumn(width="large")},
        height="content",
        alt="Costs, measured accuracy and predicted damage of both points, and the change.",
    )


def _tested(found: Comparison, a: Side, b: Side) -> str:
    """Measured change on the same test images, with its interval; "" where answers are not kept."""
    numbers = [side.point for side in (a, b) if side.point is not None]
    answers = read.right_of(found.store, numbers, found.words)
    if a.point not in answers or b.point not in answers:
        return ""
    try:
        words = paired_bootstrap([answers[a.point]], [answers[b.point]]).text(found.words.lost)
        p = compare(answers[a.point], answers[b.point]).p_value
        return f"{words}, p {p_words(p, sign=True)}"
    except QcoreError:
        return ""
