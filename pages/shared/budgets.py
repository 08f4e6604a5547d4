"""Budget sliders: the widgets, bound to the address."""

from collections.abc import Mapping
from functools import partial

import streamlit as st

from pages.shared import text
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.ranges import (
    budget_keys,
    budget_range,
    budgets_of,
    is_budget_key,
    loss_spans,
)
from pages.shared.typed import typed_budget
from pages.shared.words import explained
from qcore.allocation import ModelSpec
from qcore.costs import applicable, refusals
from qcore.costs.formulas import CostModel

ALSO = "also"
"""URL key of the further costs that have a slider."""


def forget_budgets() -> None:
    """Drop budgets that were set for another model's range."""
    for key in [str(key) for key in st.session_state if is_budget_key(str(key))]:
        del st.session_state[key]
    st.session_state.pop(ALSO, None)


def budget_sliders(
    model: ModelSpec, widest: int, costs: Mapping[str, CostModel], pin: int | None = None
) -> dict[str, float]:
    """Two budgets and those of further costs on demand, each with a switch; bound to the URL.

    Args:
        model: Prices the ends of the sliders.
        widest: As in `ranges.budget_range`.
        costs: The costs there are.
        pin: As in `ranges.budget_range`.

    Returns:
        Cost name to limit in the cost's unit; costs that are switched off are absent.
    """
    limits = {}
    known, always = applicable(model, costs), budgets_of(model)
    further = st.multiselect(
        "More budgets",
        [name for name in known if name not in always],
        format_func=lambda name: costs[name].title,
        key=ALSO,
        bind="query-params",
        placeholder="limit another cost",
        help=_left_out(model, costs),
    )
    limited = [*always, *further]
    columns = [c for at in range(0, len(limited), 2) for c in st.columns(2, gap="large")]
    for column, cost in zip(columns, (costs[name] for name in limited), strict=False):
        slider, switch = budget_keys(cost.name)
        with column:
            title = cost.title
            on = st.toggle(
                f"Limit {title.lower()}",
                value=cost.name != "bit_ops",
                key=switch,
                bind="query-params",
                help=cost.formula,
            )
            span = budget_range(cost, model, widest, pin)
            kept = st.session_state.get(slider)
            if kept is not None and not span.low <= kept <= span.high:
                st.session_state[slider] = min(max(kept, span.low), span.high)
            value = st.slider(
                f"{title} at most, {span.unit}",
                min_value=span.low,
                max_value=span.high,
                value=span.start,
                step=span.step,
                format=f"%.{span.decimals}f",
                key=slider,
                bind="query-params",
                disabled=not on,
            )
            if on:
                typed_budget(cost, span, model, widest, partial(_move, slider))
                limits[cost.name] = value * span.factor
    return limits


def _move(slider: str, value: float) -> None:
    st.session_state[slider] = value


def accepted_loss(words: Words = CLASSIFIER) -> float | None:
    """A switch and a slider of the loss that is accepted, bound to the URL; None for any.

    The loss is of the score against the float network on the same test samples, in its unit;
    nothing is asked where it cannot be lost.
    """
    span = loss_spans(words).get("points")
    if span is None:
        return None
    slider, switch = budget_keys("points")
    on = st.toggle(
        "Lose at most",
        key=switch,
        bind="query-params",
        help=explained("lose at most", *(["points"] if words.lost == "points" else [])),
    )
    value = st.slider(
        f"{words.title} that may be lost against the float network, {words.lost}",
        min_value=span.low,
        max_value=span.high,
        value=span.start,
        step=span.step,
        format=f"%.{span.decimals}f",
        key=slider,
        bind="query-params",
        disabled=not on,
    )
    return float(value) if on else None


def _left_out(model: ModelSpec, costs: Mapping[str, CostModel]) -> str | None:
    reasons = [f"{costs[name].title}: {why}." for name, why in refusals(model, costs).items()]
    if not reasons:
        return None
    return f"Left out for this network. {text.literal(' '.join(reasons))}"
