"""Budgets that are typed: the slider's setting is exactly the limit that was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.shared.ranges import BUDGETS, spans_of
from pages.shared.typed import setting_of
from qcore.costs import COSTS
from qcore.costs.limits import write_limit
from qcore.errors import InvalidParams
from tests.pages import sample

SPANS = spans_of(sample.MODEL, 32)
BYTES = COSTS["weight_bytes"]


@pytest.mark.parametrize("name", BUDGETS)
@given(share=st.integers(1, 999))
def test_a_budget_of_whole_units_is_kept_to_the_unit(name, share):
    cost, span = COSTS[name], SPANS[name]
    limit = round((span.low + share / 1000 * (span.high - span.low)) * span.factor)
    value, said = setting_of(write_limit(cost, limit), cost, span, sample.MODEL, 32)
    assert round(value * span.factor) == limit
    assert value * span.factor == pytest.approx(limit, rel=1e-12)
    assert f"{limit:,} {cost.unit}" in said


def test_shares_bits_and_numbers_alone_are_settings_too():
    weights = sum(layer.weights for layer in sample.MODEL.layers)
    for typed, limit in {
        "3.5 bits": weights * 7 // 16,
        "50 %": weights // 2,
        "16x smaller": weights // 4,
        "25": 25 * 1024,
    }.items():
        value, _ = setting_of(typed, BYTES, SPANS["weight_bytes"], sample.MODEL, 32)
        assert value * 1024 == limit, typed


def test_beyond_the_slider_its_end_is_taken_and_said():
    span = SPANS["weight_bytes"]
    low, said = setting_of("1 B", BYTES, span, sample.MODEL, 32)
    assert (low, "1 B is less than the least" in said) == (span.low, True)
    high, said = setting_of("1 GiB", BYTES, span, sample.MODEL, 32)
    assert (high, "1 GiB is more than the most" in said) == (span.high, True)


def test_what_is_no_budget_is_refused_in_words():
    with pytest.raises(InvalidParams, match=r"with a point: 3\.5 kB"):
        setting_of("3,5 kB", BYTES, SPANS["weight_bytes"], sample.MODEL, 32)
