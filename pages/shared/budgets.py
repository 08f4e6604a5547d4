"""Budget sliders: their ranges, which are pure, and the widgets bound to the address."""

import dataclasses
import math

import streamlit as st

from pages.shared import text
from qcore.allocation import BIT_WIDTHS, BitAllocation, LayerBits, ModelSpec
from qcore.costs import COSTS, applicable, refusals
from qcore.costs.formulas import UNPRICED, CostModel

BUDGETS = {"weight_bytes": ("bw", "lw"), "bit_ops": ("bc", "lc")}
"""Cost name to the URL keys of its slider and of its switch, of the budgets always offered."""

ALSO = "also"
"""URL key of the further costs that have a slider."""


def forget_budgets() -> None:
    """Drop budgets that were set for another model's range."""
    for slider, _ in map(budget_keys, COSTS):
        st.session_state.pop(slider, None)
    st.session_state.pop(ALSO, None)


def budget_keys(cost: str) -> tuple[str, str]:
    """URL keys of a cost's slider and of its switch."""
    return BUDGETS.get(cost, (f"b-{cost}", f"l-{cost}"))


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """A slider's range, in `unit`; multiply by `factor` for the cost's own unit."""

    low: float
    high: float
    start: float
    step: float
    factor: float
    unit: str
    decimals: int


def budget_range(cost: str, model: ModelSpec, widest: int = 8) -> Range:
    """Range of a budget slider: from 1 bit everywhere to 8 bits everywhere.

    It depends on the model alone, so that the slider stays put while points arrive.

    Args:
        cost: Name of the cost.
        model: The model to price.
        widest: Activation bits at the upper end: 32 where activations may stay in float.
    """
    ends = (
        _looked_up_ends(COSTS[cost], model) if COSTS[cost].looked_up else _ends(cost, model, widest)
    )
    factor, unit = text.scale_of(cost, ends[2])
    low, start, high = (end / factor for end in ends)
    exponent = math.floor(math.log10(max((high - low) / 300, 1e-6)))
    step, decimals = 10.0**exponent, max(0, -exponent)
    low, start, high = (
        round(rounding(value / step) * step, decimals)
        for value, rounding in ((low, math.floor), (start, math.ceil), (high, math.ceil))
    )
    return Range(low, high, start, round(step, decimals), factor, unit, decimals)


def _ends(cost: str, model: ModelSpec, widest: int) -> list[int]:
    """Lowest, first and highest value of a slider, in the cost's unit."""
    return [
        COSTS[cost].total(model, BitAllocation.uniform(model.layers, weight, activation))
        for weight, activation in ((1, 1), (4, widest), (8, widest))
    ]


def _looked_up_ends(cost: CostModel, model: ModelSpec) -> list[int]:
    """The same of a table, which need not know every width, nor rise with it."""
    pairs = [LayerBits(weight, activation) for weight in BIT_WIDTHS for activation in BIT_WIDTHS]
    rows = [[cost.layer_cost(layer, bits) for bits in pairs] for layer in model.layers]
    known = [[price for price in row if price < UNPRICED] for row in rows]
    low, high = (sum(end(row, default=0) for row in known) for end in (min, max))
    return [low, (low + high) // 2, max(high, low + 1)]


def budget_sliders(model: ModelSpec, widest: int) -> dict[str, float]:
    """Two budgets and those of further costs on demand, each with a switch; bound to the URL.

    Args:
        model: Prices the ends of the sliders.
        widest: As in `budget_range`.

    Returns:
        Cost name to limit in the cost's unit; costs that are switched off are absent.
    """
    limits = {}
    known = applicable(model)
    further = st.multiselect(
        "More budgets",
        [name for name in known if name not in BUDGETS],
        format_func=lambda name: COSTS[name].title,
        key=ALSO,
        bind="query-params",
        placeholder="limit another cost",
        help=_left_out(model),
    )
    costs = [*BUDGETS, *further]
    columns = [c for at in range(0, len(costs), 2) for c in st.columns(2, gap="large")]
    for column, cost in zip(columns, costs, strict=False):
        slider, switch = budget_keys(cost)
        with column:
            title = COSTS[cost].title
            on = st.toggle(
                f"Limit {title.lower()}",
                value=cost != "bit_ops",
                key=switch,
                bind="query-params",
                help=COSTS[cost].formula,
            )
            span = budget_range(cost, model, widest)
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
                limits[cost] = value * span.factor
    return limits


def _left_out(model: ModelSpec) -> str | None:
    reasons = [f"{COSTS[name].title}: {reason}." for name, reason in refusals(model).items()]
    if not reasons:
        return None
    return f"Left out for this network. {text.literal(' '.join(reasons))}"
