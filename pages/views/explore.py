"""Explore: set budgets, see which bits each method would give every layer, take one away."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui import figures, frames, predictions, session, text, widgets
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.catalog import MODELS
from qcore.costs import COSTS
from qcore.problem import RunSpec, Scores, SensitivityTable
from qcore.searches import SEARCHES
from store import Run, Store, runs

# few images, few levels, few looks at the test split: a front for the impatient
QUICK: dict[str, Any] = {"calibration_images": 512, "search_images": 512, "reported": 5}
QUICK_SEARCHES: dict[str, dict[str, Any]] = {
    "uniform": {},
    "portfolio": {"points": 5, "exchanges": 4, "kinds": ["gradient", "gradient_pairs"]},
}

CHART = {"toImageButtonOptions": {"format": "svg"}, "displaylogo": False}


def main() -> None:
    """Draw the page."""
    store = session.database()
    name = widgets.model_picker(store)
    st.title(MODELS[name].title if name in MODELS else name)
    model = session.model_facts(store, name)
    mine = runs(store, model=name)
    setting, compared = _setting(mine)
    data = compared[0].spec.data if compared else _default_data(name)
    float_search, float_test = session.float_scores(store, name, data)
    _facts(model, float_test or float_search)
    frame = session.frame(store, compared, model) if model and compared else None
    if model is None or frame is None or frame.empty:
        _nothing_yet(store, name, mine)
        return
    if any(run.state in text.ACTIVE for run in mine):
        widgets.live_progress(store, mine, lambda run: run.spec.model == name)
    st.caption(f"Measured on {setting}.")
    float_inputs = bool((frame[frames.ACTIVATION_BITS] == FLOAT_BITS).any())
    limits = widgets.budget_sliders(model, FLOAT_BITS if float_inputs else 8)
    source = st.segmented_control(
        "Source",
        ["measured", "predicted"],
        default="measured",
        required=True,
        key="src",
        bind="query-params",
        help="Measured: evaluated on images. Predicted: the exact optimum of a sensitivity table "
        "that was computed earlier; nothing was evaluated.",
    )
    labelled = all(
        stored.point.search.accuracy is not None
        for run in compared
        for stored in session.points(store, run)[:1]
    )
    if source == "predicted":
        _predicted(store, compared, model, limits)
    else:
        _measured(store, compared, model, frame, limits, float_search, labelled)


def _setting(mine: Sequence[Run]) -> tuple[str, list[Run]]:
    """Pick the runs whose accuracies may be compared: one data set, one number of images."""
    groups: dict[str, list[Run]] = {}
    for run in mine:
        groups.setdefault(frames.setting_of(run), []).append(run)
    if not groups:
        return "", []
    names = sorted(groups, key=lambda name: -sum(run.evaluations for run in groups[name]))
    chosen = names[0]
    if len(names) > 1:
        with st.sidebar:
            chosen = st.selectbox(
                "Measured on",
                names,
                key="on",
                bind="query-params",
                help="Accuracies on different images are never shown together.",
            )
    return chosen, groups[chosen]


def _default_data(name: str) -> str:
    return MODELS[name].datasets[0] if name in MODELS else ""


def _facts(model: ModelSpec | None, scores: Scores | None) -> None:
    parts = []
    if scores is not None:
        parts.append(f"Float network {text.percent(scores.headline, scores.n)}")
    if model is not None:
        for bits, words in ((FLOAT_BITS, "float"), (8, "8 bits"), (4, "4 bits")):
            size = COSTS["weight_bytes"].total(
                model, BitAllocation.uniform(model.layers, bits, bits)
            )
            parts.append(f"weights at {words} {text.cost_text('weight_bytes', size)}")
        macs = sum(layer.macs for layer in model.layers)
        parts.append(f"{len(model.layers)} layers, {text.significant(macs / 1e6)} M MACs")
        if model.coverage < 1:
            parts.append(f"{100 * (1 - model.coverage):.1f} % of weights stay in float")
    st.markdown(" · ".join(parts))
    for warning in model.warnings if model is not None else ():
        st.warning(warning)


def _nothing_yet(store: Store, name: str, mine: Sequence[Run]) -> None:
    active = [run for run in mine if run.state in text.ACTIVE]
    if active:
        st.subheader("Measuring the first allocations")
        st.write("Points appear here as soon as they are measured. You may close this page.")
        widgets.live_progress(store, mine, lambda run: run.spec.model == name)
        return
    st.subheader("Nothing was measured for this model yet")
    failed = next((run for run in mine if run.state == "failed"), None)
    if failed is not None:
        st.error(f"{failed.name} failed: {failed.error}")
    st.write(
        "A search tries bit-widths per layer and measures what each costs in accuracy. To begin, "
        "measure the same bits in every layer (2, 3, 4 and 8: the ladder to beat), then let the "
        "portfolio search spread the bits where they matter."
    )
    if name in MODELS and MODELS[name].source == "bundled":
        if st.button("Start the first search", type="primary", icon=":material/play_arrow:"):
            data = _default_data(name)
            first = [
                (
                    RunSpec(name, data, search, params, **QUICK),
                    f"{SEARCHES[search].title} on {name}",
                )
                for search, params in QUICK_SEARCHES.items()
            ]
            if widgets.launch(store, first):
                st.rerun()
        st.caption(
            "On two idle cores the first points of resnet8 are there after 10 seconds; all is "
            "done, accuracies on every test image included, after 45."
        )
    else:
        st.write("This model needs a folder of images: choose it on the Searches page.")
    st.page_link(
        "pages/views/searches.py", label="Set up a search", icon=":material/manage_search:"
    )


def _measured(
    store: Store,
    compared: Sequence[Run],
    model: ModelSpec,
    frame: pd.DataFrame,
    limits: Mapping[str, float],
    float_search: Scores | None,
    labelled: bool,
) -> None:
    chosen = frames.picks(frame, limits)
    if chosen.empty:
        _below_smallest(frame, limits)
    else:
        _heatmap(chosen, model)
    missing = [m for m in dict.fromkeys(frame["method"]) if m not in set(chosen["method"])]
    if missing and not chosen.empty:
        st.caption(f"Nothing measured by {', '.join(missing)} fits these budgets.")
    what = "Accuracy" if labelled else "Agreement with the float network"
    st.subheader(f"{what} against cost")
    cost = _axis(list(COSTS))
    figure = figures.front_figure(
        frame,
        chosen,
        cost,
        limit=limits.get(cost),
        float_score=100 * float_search.headline if float_search else None,
        score_title=f"{what} on the search split, %",
    )
    st.plotly_chart(
        figure, key="front", config=CHART, alt=f"{what} against {COSTS[cost].title.lower()}."
    )
    st.caption(
        "Step lines are each method's front, bars are 95 % intervals; rings mark the best point "
        "of each method within the budgets. Points are chosen on the search split only."
    )
    if chosen.empty:
        return
    st.dataframe(
        frames.picks_table(chosen, what),
        hide_index=True,
        alt="The best point of each method within the budgets, with accuracy and costs.",
    )
    _details(store, compared, model, chosen)


def _below_smallest(
    frame: pd.DataFrame, limits: Mapping[str, float], how: str = "measured"
) -> None:
    lines = []
    for cost, limit in limits.items():
        smallest = float(frame[frames.COST_COLUMNS[cost]].min())
        if smallest > limit:
            lines.append(
                f"{COSTS[cost].title}: the smallest {how} is "
                f"{text.exact_cost_text(cost, smallest)}; the budget is "
                f"{text.exact_cost_text(cost, limit)}."
            )
    st.info(
        f"**Nothing {how} fits these budgets.** "
        + (" ".join(lines) or "Each budget alone can be met, but not both at once.")
        + " Raise a budget, or search with fewer bits.",
        icon=":material/straighten:",
    )


def _heatmap(chosen: pd.DataFrame, model: ModelSpec) -> None:
    st.subheader("Bits of each layer")
    st.plotly_chart(
        figures.bit_heatmap(frames.bits_frame(chosen, model)),
        key="heatmap",
        config=CHART,
        alt="Weight and activation bits of every layer, two rows per method.",
    )


def _axis(costs: Sequence[str]) -> str:
    return str(
        st.selectbox(
            "Cost on the horizontal axis",
            costs,
            format_func=lambda cost: COSTS[cost].title,
            key="x",
            bind="query-params",
            width=360,
        )
    )


def _details(store: Store, compared: Sequence[Run], model: ModelSpec, chosen: pd.DataFrame) -> None:
    st.subheader("Take one away")
    # the most accurate within the budgets comes first; of equals the earlier method
    ranked = chosen.sort_values(frames.SEARCH_SCORE, ascending=False, kind="stable")
    method = st.selectbox("Method", ranked["method"].tolist(), width=360, key="take")
    row = ranked[ranked["method"] == method].iloc[0]
    run = next(run for run in compared if run.id == row["run"])
    allocation: BitAllocation = row["allocation"]
    if row["config_point"] >= 0:
        stem = text.file_stem(
            model.name,
            row[frames.WEIGHT_BITS],
            row[frames.ACTIVATION_BITS],
            str(method),
            int(row["config_point"]),
        )
        widgets.downloads(store, int(row["config_point"]), stem)
    _measure(store, compared, run.spec, allocation, str(row["stage"]), row["config_point"] >= 0)
    with st.expander("Bits and costs of each layer"):
        st.dataframe(
            frames.layers_frame(allocation, model),
            hide_index=True,
            column_config={
                name: st.column_config.NumberColumn(format="localized")
                for name in ("Weights, elements", "Weights, B", "Compute, bit-ops")
            },
            alt="Bits, bytes and compute of every layer.",
        )
    with st.expander("Where this point comes from"):
        st.markdown(
            f"Run {run.id}, {run.name}: {frames.method_label(run.spec.search)} "
            f"({text.params_text(run.spec.params)}), seed {run.spec.seed}, "
            f"{run.evaluations:,} evaluations. Bits: {text.bits_set_text(run.spec)}. "
            f"Budget: {text.limits_text(run.spec.limits)}. Allocation {allocation.digest}."
        )
        st.page_link(
            "pages/views/searches.py", label="Open this run", query_params={"run": str(run.id)}
        )


def _measure(
    store: Store,
    compared: Sequence[Run],
    like: RunSpec,
    allocation: BitAllocation,
    stage: str,
    prepared: bool,
) -> None:
    if any(widgets.measures(run, allocation) for run in compared):
        st.info(
            "This allocation is being measured; its files appear here.", icon=":material/timer:"
        )
        return
    if not prepared:
        st.write("This allocation has no configuration file yet: measuring it makes one.")
    label = "Measure again" if prepared else "Measure and prepare"
    if st.button(label, type="secondary" if prepared else "primary", icon=":material/refresh:"):
        spec = widgets.given_spec(like, allocation, stage)
        if widgets.launch(store, [(spec, f"Measure {allocation.digest[:6]} on {like.model}")]):
            st.rerun()


def _predicted(
    store: Store, compared: Sequence[Run], model: ModelSpec, limits: Mapping[str, float]
) -> None:
    tables = session.sensitivity_tables(store, model)
    if not tables:
        st.info(
            "No sensitivity of this model is stored yet. Greedy, exact and portfolio searches "
            "compute one; run any of them first.",
            icon=":material/query_stats:",
        )
        return
    table = tables[str(st.selectbox("Sensitivity", list(tables), key="table"))]
    name = f"Exact optimum of {table.kind}"
    chosen = predictions.predicted_pick(name, table, model, limits)
    if not chosen.empty:
        _heatmap(chosen, model)
    st.subheader("Predicted damage against cost")
    cost = _axis([cost for cost, price in COSTS.items() if price.reduce == "sum"])
    front = session.predicted_front(name, table, model, cost)
    if chosen.empty:
        _below_smallest(front, limits, "predicted")
    figure = figures.front_figure(
        front,
        chosen,
        cost,
        limit=limits.get(cost),
        score=frames.DAMAGE,
        score_title=f"Predicted damage, {table.unit}",
    )
    st.plotly_chart(
        figure, key="front", config=CHART, alt="Predicted damage against cost, exact front."
    )
    st.caption(
        f"Predicted from sensitivities measured on {table.n:,} images, one layer at a time; "
        "hollow marks were not evaluated. Damage adds up over layers, accuracy need not."
    )
    if chosen.empty:
        return
    st.dataframe(
        predictions.predicted_table(chosen, table.unit),
        hide_index=True,
        alt="The predicted optimum within the budgets, with its costs.",
    )
    _take_predicted(store, compared, chosen.iloc[0], table)


def _take_predicted(
    store: Store, compared: Sequence[Run], row: pd.Series, table: SensitivityTable
) -> None:
    st.subheader("Take it away")
    st.write(f"A prediction from {table.kind} sensitivities has no accuracy yet.")
    _measure(store, compared, compared[0].spec, row["allocation"], "ptq", prepared=False)


main()
