"""One point of Explore in full: its table, why it costs what it costs, its files, its origin."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st
from streamlit.errors import StreamlitAPIException

from pages.downloads.downloads import downloads
from pages.explore import nearest
from pages.explore import reference as explore_reference
from pages.explore.scene import Scene
from pages.explore.view import View
from pages.plots import sensitivity, waterfall
from pages.plots.style import CHART
from pages.shared import frames, predictions, promised, session, text, widgets
from pages.shared.columns import (
    ACTIVATION_BITS,
    LOSSES,
    SEARCH_LOSS,
    SEARCH_N,
    SEARCH_SCORE,
    TEST_LOSS,
    TEST_N,
    TEST_SCORE,
    TRAINED,
    WEIGHT_BITS,
    column_of,
)
from pages.shared.held import NOTHING, Held
from pages.shared.judged import Words
from pages.shared.ranges import loss_spans
from pages.shared.rules.entries import entries_of, text_of
from pages.shared.rules.held_rules import rules_of_held
from pages.shared.runs import given_spec, launch, measures
from pages.shared.samples.panel import samples_panel
from pages.shared.words import explained
from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.costs.smaller import smaller_text
from qcore.errors import QcoreError
from qcore.problem import PTQ, SensitivityTable
from qcore.run_spec import RunSpec, method_label
from store import Run, Store, config_text, save_config

MOST_ROWS = 16
"""A table of no more rows is shown whole."""


def below_smallest(
    frame: pd.DataFrame,
    limits: Mapping[str, float],
    costs: Mapping[str, CostModel],
    how: str = "measured",
) -> None:
    """Say what the smallest is where nothing fits the budgets."""
    lines = []
    for cost, limit in ((costs[name], limit) for name, limit in limits.items()):
        smallest = float(frame[column_of(cost)].min())
        if smallest > limit:
            lines.append(
                f"{cost.title}: the smallest {how} is "
                f"{text.exact_cost_text(cost, smallest)}; the budget is "
                f"{text.exact_cost_text(cost, limit)}."
            )
    st.info(
        f"**Nothing {how} fits these budgets.** "
        + (" ".join(lines) or "Each budget alone can be met, but not both at once.")
        + " Raise a budget, or search with fewer bits.",
        icon=":material/straighten:",
    )


def none_held(how: str = "predicted") -> None:
    """Say that nothing fits the budgets with what is set on layers; the picture says why."""
    st.info(
        f"**Nothing {how} fits these budgets with what is set on the layers.** Raise a budget, or "
        "set less: **Clear** lets go of all.",
        icon=":material/lock:",
    )


def none_within(scene: Scene, rows: pd.DataFrame, within: tuple[float, str], cost: str) -> None:
    """Say that nothing is shown to lose as little as was asked, and whether a budget is why.

    Args:
        scene: Where the rows are from.
        rows: What could have been picked, of `points_frame`.
        within: The loss that is accepted, and its unit.
        cost: Name of the cost that was to be small.
    """
    anywhere = promised.smallest(rows, within[0], cost, unit=within[1], costs=scene.costs)
    unit = loss_spans(scene.words)[within[1]].unit
    what, do = ("No tested point", "Accept more, or have more points tested.")
    if not anywhere.empty:
        what, do = ("Within these budgets no tested point", "Raise a budget, or accept more.")
    st.info(
        f"**{what} is shown to lose at most {within[0]:g} {unit}.** {do}",
        icon=":material/straighten:",
    )


def ranked(chosen: pd.DataFrame) -> pd.DataFrame:
    """Those that lose least against the float network first, those that were tested before others.

    Where no loss is known the highest scores come first; of equals the earlier method.
    """
    lost = chosen[TEST_LOSS].fillna(chosen[SEARCH_LOSS])
    untested = chosen[TEST_LOSS if lost.notna().any() else TEST_SCORE].isna()
    order = chosen.assign(untested=untested, lost=lost, scored=-chosen[SEARCH_SCORE])
    return chosen.loc[order.sort_values(["untested", "lost", "scored"], kind="stable").index]


def picks_table(
    chosen: pd.DataFrame, words: Words, costs: Mapping[str, CostModel], model: ModelSpec
) -> None:
    """The table under the plots, which holds the numbers they show."""
    st.dataframe(
        frames.picks_table(chosen, words, costs, model),
        hide_index=True,
        # a handful of methods is seen whole, without a table that scrolls in a page that does
        height="content" if len(chosen) <= MOST_ROWS else "auto",
        alt=f"The best point of each method within the budgets, with {words.name} and costs.",
    )
    st.caption(
        frames.splits_words(chosen, words),
        help=explained("search split", "test split", "95 % interval"),
    )


def score_words(row: pd.Series, what: str, words: Words, model: ModelSpec) -> str:
    """Say which point this is, what it loses and what it scores, as Markdown."""
    split, images, score = (
        ("search", row[SEARCH_N], row[SEARCH_SCORE])
        if pd.isna(row[TEST_SCORE])
        else ("test", row[TEST_N], row[TEST_SCORE])
    )
    lost, low, high = (row[column] for column in LOSSES[f"{split} split"])
    cost = COSTS["weight_bytes"]
    bytes_ = float(row[column_of(cost)])
    size = f"{text.cost_text(cost, bytes_)} ({smaller_text(cost, model, bytes_)})"
    name = "" if words.usual else f"{words.name} "
    told = f"{name}{words.value(score)} on the {split} split (n={images:,.0f})"
    if pd.notna(lost):
        lost = 0.0 if round(lost, 2) == 0 else lost
        told = f"loses {lost:.2f} {words.lost} against float ({low:.2f} to {high:.2f}), {told}"
    trained = ", weights trained" if row[TRAINED] else ""
    return (
        f"**{text.literal(str(row['method']))}**, {what}: {size}, {row[WEIGHT_BITS]:.2f} bits a "
        f"weight{trained}; {told}."
    )


def draw_picked(scene: Scene, rows: pd.DataFrame, view: View, held: Held = NOTHING) -> None:
    """What stands below the measured front: the picks, then the one clicked or in focus.

    Args:
        scene: Where the points are from.
        rows: Those that the explorer draws, of `picks.drawn`.
        view: What the reader has set.
        held: What is set on layers.
    """
    limits, within = view.limits(scene.spans), view.within
    picked = rows[rows["selectable"] & rows["kept"]]
    chosen = (
        frames.picks(picked, limits, costs=scene.costs)
        if within is None
        else promised.smallest(
            rows, within[0], view.x, limits, unit=within[1], costs=scene.costs, among=rows["kept"]
        ).sort_values(column_of(scene.costs[view.x]), kind="stable")
    )
    row = _opened(scene, view)
    clicked = row is not None
    if not chosen.empty and not clicked:
        best = ranked(chosen) if within is None else chosen
        wanted = best[best["method"] == view.focus]
        row = (best if wanted.empty else wanted).iloc[0]
    if row is not None:
        st.header("Take it away")
        which = "the point you clicked" if clicked else "the pick in focus"
        st.markdown(score_words(row, which, scene.words, scene.model))
        draw(scene, row, None if clicked else limits, NOTHING if clicked else held)
    if not chosen.empty:
        with st.expander("All picks as a table"):
            picks_table(chosen, scene.words, scene.costs, scene.model)
    elif within is None and not rows["kept"].all():
        none_held("measured")
    elif within is None:
        below_smallest(scene.frame, limits, scene.costs)
    else:
        none_within(scene, rows, within, view.x)
    if len(rows) < len(scene.frame):
        st.caption(
            f"{len(rows):,} of {len(scene.frame):,} points are drawn; those that a budget can pick "
            f"are among them, at most {int(rows['selectable'].sum()):,}."
        )


def _opened(scene: Scene, view: View) -> pd.Series | None:
    """The point that was clicked, or that a link names."""
    if view.point is None:
        return None
    row = explore_reference.row_of(scene.frame, *view.point)
    if row is None:
        st.toast(
            f"Point {view.point[1]} of run {view.point[0]} is not among these results any more.",
            icon=":material/link_off:",
        )
        del st.query_params["pt"]
    return row


def draw(
    scene: Scene,
    row: pd.Series,
    limits: Mapping[str, float] | None = None,
    held: Held = NOTHING,
) -> None:
    """Files, measuring, layers, costs and origin of one point.

    Args:
        scene: Where it is from.
        row: Its row of the frame.
        limits: The budgets it is the pick of, cost name to limit; None for a point that was
            chosen by itself.
        held: What is set on layers, of which it is the pick.
    """
    store, model = scene.store, scene.model
    run = next(run for run in scene.compared if run.id == row["run"])
    allocation: BitAllocation = row["allocation"]
    explore_reference.draw(model, scene.reference, row, scene.words)
    if row["config_point"] >= 0:
        stem = text.file_stem(
            model.name,
            row[WEIGHT_BITS],
            row[ACTIVATION_BITS],
            str(row["method"]),
            int(row["config_point"]),
        )
        point = int(row["config_point"])
        downloads(store, point, stem)
        words = ["--point", str(point)]
        samples_panel(store, f"point-{point}", lambda: config_text(store, point), words)
    _actions(scene, row, allocation, run, limits, held)
    table, why, origin = st.tabs(["Bits and costs of each layer", "Why", "Where it comes from"])
    with table:
        _layers(allocation, model)
    with why:
        _why(store, allocation, model)
    with origin:
        _origin(run, allocation, store.costs)


def _actions(
    scene: Scene,
    row: pd.Series,
    allocation: BitAllocation,
    run: Run,
    limits: Mapping[str, float] | None,
    held: Held,
) -> None:
    prepared = row["config_point"] >= 0
    with st.container(horizontal=True, vertical_alignment="center"):
        _measure(scene, run.spec, allocation, str(row["stage"]), prepared)
        if not prepared:
            like = [held.admits(bits) for bits in scene.frame["allocation"]] if held else None
            others = scene.frame if like is None else scene.frame[like]
            nearest.offer(others, row, limits, scene.costs, scene.words)
        if prepared and st.button("Keep it", icon=":material/keep:", key="keep"):
            keep(scene, row)
        explore_reference.button(scene.reference, row)
        _link(
            "workbench",
            "Edit bits",
            ":material/edit:",
            {
                "model": scene.model.name,
                "pt": f"{row['run']}:{row['point']}",
                **({"held": held.to_text(scene.model)} if held else {}),
            },
        )
        # only what is limited here is limited there
        asked = limits or {"weight_bytes": row[column_of(COSTS["weight_bytes"])]}
        near = ",".join(f"{name}:{int(limit)}" for name, limit in asked.items())
        query = {"model": scene.model.name, "near": near, "like": str(run.id)}
        if held:
            rules = (*run.spec.rules, *rules_of_held(held, scene.model))
            query["rules"] = text_of(entries_of(rules))
        _link("searches", "Search near this budget", ":material/manage_search:", query)


def _link(page: str, label: str, icon: str, query: dict[str, str]) -> None:
    try:
        st.page_link(f"pages/views/{page}.py", label=label, icon=icon, query_params=query)
    except StreamlitAPIException:
        # a dashboard of its own, such as one page in a test, need not have every page
        return


def keep(scene: Scene, row: pd.Series) -> None:
    """Keep a point's configuration with the saved ones; say in words where there is none."""
    content = (
        config_text(scene.store, int(row["config_point"])) if row["config_point"] >= 0 else None
    )
    if content is None:
        st.toast(
            "This allocation has no configuration yet. Measure it first; then it can be kept.",
            icon=":material/info:",
        )
        return
    name = f"{scene.model.name} {row[WEIGHT_BITS]:.2f} bits, {row['method']}"
    try:
        save_config(
            scene.store,
            name,
            content,
            source={"run": int(row["run"]), "point": int(row["config_point"])},
        )
    except QcoreError as error:
        widgets.error_box(error)
        return
    st.toast(f"Kept as {name}. It is on the Configs page.", icon=":material/keep:")


def _layers(allocation: BitAllocation, model: ModelSpec) -> None:
    st.dataframe(
        frames.layers_frame(allocation, model),
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="localized")
            for name in ("Weights, elements", "Weights, B", "Compute, bit-ops")
        },
        alt="Bits, bytes and compute of every layer.",
    )


def _why(store: Store, allocation: BitAllocation, model: ModelSpec) -> None:
    st.plotly_chart(
        waterfall.waterfall_figure(model, allocation),
        key="waterfall",
        config=CHART,
        alt="From all weights at 8 bits to these bits, part by part of the network.",
    )
    st.caption("Bytes each part of the network saves against 8 bits in every layer.")
    table = next(iter(session.sensitivity_tables(store, model).values()), None)
    if table is None:
        return
    prices = sensitivity.price_frame(table, model, allocation)
    if prices.empty:
        return
    st.plotly_chart(
        sensitivity.price_figure(prices, table.unit),
        key="prices",
        config=CHART,
        alt="Predicted damage per KiB saved when a layer goes to its next fewer bits.",
    )
    st.caption(
        f"Predicted by the {table.kind} sensitivity, not measured: a layer whose next bit is dear "
        "keeps its bits, a cheap one gives them up."
    )


def _origin(run: Run, allocation: BitAllocation, costs: Mapping[str, CostModel]) -> None:
    made = f"Its points were {run.origin}. " if run.origin else ""
    st.markdown(
        f"Run {run.id}, {text.literal(run.name)}: {method_label(run.spec.search)} "
        f"({text.params_text(run.spec.params)}), seed {run.spec.seed}, "
        f"{run.evaluations:,} evaluations. {made}Bits: {text.bits_set_text(run.spec)}. "
        f"Budget: {text.limits_text(run.spec.limits, costs)}. Allocation {allocation.digest}."
    )
    st.page_link(
        "pages/views/searches.py", label="Open this run", query_params={"run": str(run.id)}
    )


def _measure(
    scene: Scene, like: RunSpec, allocation: BitAllocation, stage: str, prepared: bool
) -> None:
    if any(measures(run, allocation) for run in scene.compared):
        st.info(
            "This allocation is being measured; its files appear here.", icon=":material/timer:"
        )
        return
    if not prepared:
        st.write("This allocation has no configuration file yet: measuring it makes one.")
    label = "Measure again" if prepared else "Measure and prepare"
    if st.button(label, type="secondary" if prepared else "primary", icon=":material/refresh:"):
        spec = given_spec(like, allocation, stage)
        title = f"Measure {allocation.digest[:6]} on {like.model}"
        if launch(scene.store, [(spec, title)]):
            st.rerun()


def draw_predicted(scene: Scene, chosen: pd.DataFrame, table: SensitivityTable) -> None:
    """What stands below a predicted front.

    Args:
        scene: Where it is from.
        chosen: The predicted optimum within the budgets: one row of `predictions`, or none.
        table: The sensitivities behind it.
    """
    st.caption(
        f"Predicted from sensitivities measured on {table.n:,} {scene.words.samples}, one layer at "
        f"a time; hollow marks were not evaluated. Damage adds up over layers, {scene.words.name} "
        "need not."
    )
    if chosen.empty:
        return
    st.dataframe(
        predictions.predicted_table(chosen, table.unit, scene.costs),
        hide_index=True,
        alt="The predicted optimum within the budgets, with its costs.",
    )
    st.header("Take it away")
    st.write(f"A prediction from {table.kind} sensitivities has no {scene.words.name} yet.")
    allocation: BitAllocation = chosen.iloc[0]["allocation"]
    _measure(scene, scene.compared[0].spec, allocation, PTQ, prepared=False)
    with st.expander("Bits and costs of each layer"):
        _layers(allocation, scene.model)
