"""A budget that is typed instead of dragged: a box beside each slider, read by one parser."""

from collections.abc import Callable, Mapping

import streamlit as st

from pages.shared import text
from pages.shared.ranges import Range, budget_keys
from qcore.allocation import ModelSpec
from qcore.costs.formulas import CostModel
from qcore.costs.limits import HOW, read_limit, write_limit
from qcore.errors import InvalidParams

SAID = "typed-said"
"""Session key: by cost, what became of what was typed; gone with the next slider that moves."""


def setting_of(
    typed: str, cost: CostModel, span: Range, model: ModelSpec, widest: int
) -> tuple[float, str]:
    """A slider's setting of a budget that was typed.

    Args:
        typed: As `qcore.costs.limits.read_limit` takes it; a number alone is in the slider's unit.
        cost: What is limited.
        span: The slider.
        model: What shares and bits per weight are of.
        widest: Widest bits of activations.

    Returns:
        The setting, whose product with `span.factor` is exactly the limit, and what became of it
        in words: the limit in the cost's own unit, or which end of the slider it is beyond.

    Raises:
        InvalidParams: it is no budget; says what can be written.
    """
    limit = read_limit(cost, typed, model, widest, bare=span.unit)
    value = limit / span.factor
    if not span.low <= value <= span.high:
        end = span.low if value < span.low else span.high
        which = "less than the least" if value < span.low else "more than the most"
        return end, f"{write_limit(cost, limit)} is {which} here: {end:g} {span.unit}."
    exact = text.exact_cost_text(cost, limit)
    return value, f"At most {exact}."


def typed_budget(
    cost: CostModel, span: Range, model: ModelSpec, widest: int, take: Callable[[float], None]
) -> None:
    """Draw the box of one budget.

    Args:
        cost: What is limited.
        span: Its slider.
        model: What shares and bits per weight are of.
        widest: Widest bits of activations.
        take: Called with the setting when something was typed; moves the slider there.
    """
    key = f"typed-{budget_keys(cost.name)[0]}"

    def read() -> None:
        words = str(st.session_state.get(key) or "")
        said: dict[str, tuple[bool, str]] = st.session_state.setdefault(SAID, {})
        said.pop(cost.name, None)
        if not words.strip():
            return
        try:
            value, told = setting_of(words, cost, span, model, widest)
        except InvalidParams as error:
            said[cost.name] = (False, str(error))
            return
        said[cost.name] = (True, told)
        take(value)

    st.text_input(
        f"{cost.title} at most, typed",
        key=key,
        on_change=read,
        max_chars=60,
        placeholder=EXAMPLES["weights" if cost.of_weights else "other"],
        help=HOW,
    )
    found: Mapping[str, tuple[bool, str]] = st.session_state.get(SAID, {})
    fits, told = found.get(cost.name, (True, ""))
    if told and fits:
        st.caption(text.literal(told))
    elif told:
        st.error(text.literal(told, 600))


EXAMPLES = {"weights": "24 KiB, 3.5 bits, 40 %, 8x smaller", "other": "40 %, 12 % of float"}
