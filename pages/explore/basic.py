"""Explore with native controls: two sliders, plotly figures, a table. `?ui=basic` asks for it."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages.explore import details, reference
from pages.explore.held_box import held_box
from pages.explore.nearest import LINKED
from pages.explore.payload import summed_costs
from pages.explore.scene import Scene
from pages.explore.view import point_of
from pages.plots.front import front_figure
from pages.plots.heatmap import bit_heatmap
from pages.plots.style import CHART
from pages.shared import frames, predictions, promised, session, text
from pages.shared.budgets import accepted_loss, budget_sliders
from pages.shared.columns import DAMAGE, column_of, cost_columns
from pages.shared.text import literal
from qcore.allocation import LayerBits, ModelSpec
from qcore.costs.budget import Budget
from qcore.costs.formulas import CostModel
from qcore.problem import Problem, SensitivityTable


def draw_measured(scene: Scene, float_score: float | None) -> None:
    """Draw what was measured.

    Args:
        scene: The model, its runs and their points.
        float_score: The float network's score on the search split as it is shown, where known.
    """
    frame, model, what = scene.frame, scene.model, scene.words.title
    limits = budget_sliders(model, scene.widest, scene.costs, scene.pin)
    within = accepted_loss(scene.words)
    held = held_box(scene, _measured_options(frame, model), predicts=False)
    if held is None:
        return
    kept = pd.Series([held.admits(bits) for bits in frame["allocation"]], frame.index, dtype=bool)
    size = next(iter(scene.spans))
    small = str(st.session_state.get("x", size))
    small = small if small in cost_columns(scene.costs, frame) else size
    if within is None:
        chosen = frames.picks(frame[kept], limits, costs=scene.costs)
    else:
        chosen = promised.smallest(frame, within, small, limits, costs=scene.costs, among=kept)
    if chosen.empty and not kept.all():
        details.none_held("measured")
    elif chosen.empty and within is not None:
        details.none_within(scene, frame, (within, "points"), small)
    elif chosen.empty:
        details.below_smallest(frame, limits, scene.costs)
    else:
        _heatmap(chosen, model)
    missing = [m for m in dict.fromkeys(frame["method"]) if m not in set(chosen["method"])]
    if missing and not chosen.empty:
        rest = "" if kept.all() else " with what is set on layers"
        st.caption(f"Nothing measured by {', '.join(missing)} fits these budgets{rest}.")
    st.header(f"{what} against cost")
    cost = _axis([scene.costs[name] for name in cost_columns(scene.costs, frame)], size)
    figure = front_figure(
        frame[kept],
        chosen,
        cost,
        limit=limits.get(cost.name),
        float_score=float_score,
        words=scene.words,
    )
    largest = float(max(frame[column_of(cost)].max(), limits.get(cost.name, 0)))
    reference.add_mark(figure, scene.reference, cost, text.scale_of(cost, largest)[0], scene.words)
    st.plotly_chart(figure, key="front", config=CHART, alt=f"{what} against {cost.title.lower()}.")
    st.caption(
        "Step lines are each method's front, bars are 95 % intervals; rings mark the best point "
        "of each method within the budgets. Points are chosen on the search split only."
    )
    if chosen.empty:
        return
    details.picks_table(chosen, scene.words, scene.costs, model)
    ranked = details.ranked(chosen)
    st.header("Take one away")
    named = point_of(st.query_params.get("pt", ""))
    linked = None if named is None else reference.row_of(frame, *named)
    options = [*ranked["method"], *([] if linked is None else [LINKED])]
    method = st.selectbox("Method", options, width=360, key="take")
    if method == LINKED and linked is not None:
        st.markdown(details.score_words(linked, "the point of the link", scene.words, model))
        details.draw(scene, linked)
        return
    details.draw(scene, ranked[ranked["method"] == method].iloc[0], limits)


def draw_predicted(scene: Scene, name: str, table: SensitivityTable) -> None:
    """Draw what a sensitivity table predicts.

    Args:
        scene: The model, its runs and their points.
        name: What to call the method.
        table: The sensitivities.
    """
    model = scene.model
    limits = budget_sliders(model, scene.widest, scene.costs, scene.pin)
    base = predictions.table_options(table, model)
    held = held_box(scene, base, predicts=True)
    if held is None:
        return
    missing = [name for name, row in held.options(base).items() if not row]
    if missing:
        st.error(
            f"What is set leaves {literal(missing[0])} no width that this sensitivity has. Choose "
            "another sensitivity, or search under these rules, which measures one for them.",
            icon=":material/error:",
        )
        return
    chosen = predictions.predicted_pick(name, table, model, limits, scene.costs, held)
    if not chosen.empty:
        _heatmap(chosen, model)
    st.header("Predicted damage against cost")
    problem = Problem(model, base, Budget({}, scene.costs))
    size = next(iter(scene.spans))
    cost = _axis([scene.costs[name] for name in summed_costs(problem)], size)
    front = session.predicted_front(name, table, model, cost.name, scene.costs, held)
    if chosen.empty and held:
        details.none_held()
    elif chosen.empty:
        details.below_smallest(front, limits, scene.costs, "predicted")
    figure = front_figure(
        front,
        chosen,
        cost,
        limit=limits.get(cost.name),
        score=DAMAGE,
        score_title=f"Predicted damage, {table.unit}",
    )
    st.plotly_chart(
        figure, key="front", config=CHART, alt="Predicted damage against cost, exact front."
    )
    details.draw_predicted(scene, chosen, table)


def _measured_options(frame: pd.DataFrame, model: ModelSpec) -> dict[str, tuple[LayerBits, ...]]:
    """The widths of each layer in what was measured, weights and activations combined freely."""
    found: dict[str, tuple[set[int], set[int]]] = {name: (set(), set()) for name in model.names}
    for allocation in frame["allocation"]:
        for name, bits in allocation.items():
            found[name][0].add(bits.weight)
            found[name][1].add(bits.activation)
    return {
        name: tuple(LayerBits(w, a) for w in sorted(weights) for a in sorted(inputs))
        for name, (weights, inputs) in found.items()
    }


def _heatmap(chosen: pd.DataFrame, model: ModelSpec) -> None:
    st.header("Bits of each layer")
    st.plotly_chart(
        bit_heatmap(frames.bits_frame(chosen, model)),
        key="heatmap",
        config=CHART,
        alt="Weight and activation bits of every layer, two rows per method.",
    )


def _axis(costs: Sequence[CostModel], usual: str) -> CostModel:
    named = {cost.name: cost for cost in costs}
    chosen = str(
        st.selectbox(
            "Cost on the horizontal axis",
            list(named),
            index=list(named).index(usual) if usual in named else 0,
            format_func=lambda name: named[name].title,
            key="x",
            bind="query-params",
            width=360,
        )
    )
    return named[chosen]
