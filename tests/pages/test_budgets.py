"""Budgets on any cost a network has, by native sliders."""

import pytest

from pages.shared.ranges import BUDGETS, budget_keys, budget_range, spans_of, uniform_bits
from qcore.costs import COSTS, applicable
from qcore.costs.formulas import UNPRICED
from tests.pages import sample

FURTHER = [name for name in COSTS if name not in BUDGETS]


@pytest.mark.parametrize("cost", list(COSTS))
def test_a_slider_spans_what_bits_can_reach(cost):
    span = budget_range(COSTS[cost], sample.MODEL, 32)
    assert 0 < span.low <= span.start <= span.high
    assert span.high * span.factor < UNPRICED
    prices = [COSTS[cost].total(sample.MODEL, sample.uniform(bits, 32)) for bits in (1, 4, 8)]
    assert all(price <= span.high * span.factor for price in prices)


@pytest.mark.parametrize("pin", [None, 2, 8])
@pytest.mark.parametrize("cost", BUDGETS)
def test_a_slider_begins_at_the_four_bit_point_itself(cost, pin):
    span = spans_of(sample.MODEL, 8, pin)[cost]
    point = COSTS[cost].total(sample.MODEL, uniform_bits(sample.MODEL, 4, 8, pin))
    # within one step of the slider, and never below the point
    assert point <= span.start * span.factor < point + span.step * span.factor * (1 + 1e-9)
    assert span.start <= span.high


def test_uniform_bits_fix_the_first_and_the_last_layer_alone():
    found = uniform_bits(sample.MODEL, 4, 32, 8)
    weights = [found[name].weight for name in sample.MODEL.names]
    assert weights == [8, *[4] * (len(weights) - 2), 8]
    assert {bits.activation for bits in found.values()} == {32}
    assert uniform_bits(sample.MODEL, 4, 8) == sample.uniform(4, 8)


def test_every_cost_has_url_keys_of_its_own():
    keys = [key for cost in COSTS for key in budget_keys(cost)]
    assert len(set(keys)) == len(keys)
    assert budget_keys("weight_bytes") == ("bw", "lw")


def test_energy_can_be_limited_beside_bytes(filled, app):
    assert set(FURTHER) <= set(applicable(sample.MODEL))
    at = app(ui="basic", also="Eyeriss-like energy")
    slider, switch = budget_keys("eyeriss_energy_pj")
    assert at.slider(key=slider).label == "Eyeriss-like energy at most, µJ"
    assert at.toggle(key=switch).value
    at.slider(key=slider).set_value(at.slider(key=slider).min).run()
    assert not at.exception
