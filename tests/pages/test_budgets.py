"""Budgets on any cost a network has, by native sliders."""

import pytest

from pages.shared.ranges import BUDGETS, budget_keys, budget_range
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
