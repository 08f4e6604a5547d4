"""The smooth form of every cost: the exact price at whole bits, and felt wherever that moves."""

import itertools

import pytest
import torch

from qcore.allocation import FLOAT_BITS, LayerBits
from qcore.costs import COSTS
from qcore.costs.formulas import UNPRICED, CostModel
from qcore.costs.user_tables import Table, cost_of
from qcore.models.catalog import bundled_spec

MODEL = bundled_spec("resnet8")
ROWS = {(8, 8): 90, (8, 4): 70, (4, 8): 65, (4, 4): 50, (3, 4): 50, (2, 2): 20}
TABLE = Table(
    "phone",
    "latency",
    "ns",
    {
        name: {LayerBits(*bits): place + price for bits, price in ROWS.items()}
        for place, name in enumerate(MODEL.names)
    },
)
ALL = {**COSTS, "phone": cost_of(TABLE)}
SMOOTH = [name for name, cost in ALL.items() if cost.smooth is not None]
WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, FLOAT_BITS)
PAIRS = list(itertools.product(WIDTHS, WIDTHS))
every = pytest.mark.parametrize("name", SMOOTH)


def felt(cost: CostModel, layer, weight: float, activation: float) -> tuple[float, float, float]:
    """Smooth price, and its slopes in weight and activation bits."""
    bits = torch.tensor([weight, activation], dtype=torch.float64, requires_grad=True)
    value = cost.smooth(layer, bits[0], bits[1])
    if not torch.is_tensor(value) or not value.requires_grad:
        return float(value), 0.0, 0.0
    (slopes,) = torch.autograd.grad(value, bits)
    return value.item(), slopes[0].item(), slopes[1].item()


def test_every_cost_that_comes_along_has_a_smooth_form():
    assert list(ALL) == SMOOTH


@every
def test_at_whole_bits_it_is_the_exact_price_within_its_stated_rounding(name):
    cost = ALL[name]
    # the first, the last, and of those between every third
    for layer, (weight, activation) in itertools.product(MODEL.layers[::3], PAIRS):
        bits = LayerBits(weight, activation)
        exact, most = cost.layer_cost(layer, bits), cost.rounding(layer, bits)
        for value in (
            float(cost.smooth(layer, weight, activation)),
            float(cost.smooth(layer, float(weight), float(activation))),
            felt(cost, layer, weight, activation)[0],
        ):
            assert abs(value - exact) <= most + 1e-9 * exact


def test_the_stated_roundings_are_small():
    layer, bits = MODEL.layers[1], LayerBits(3, 4)
    assert ALL["weight_bytes"].rounding(layer, bits) == 1
    assert ALL["bit_ops"].rounding(layer, bits) == 0
    assert ALL["simba_energy_pj"].rounding(layer, bits) == 0
    words = ALL["simba_packed16_energy_pj"]
    assert words.rounding(layer, bits) == 0
    # 6 bits cost what 8 do and are passed on the way from 5 to 8
    plateau = words.layer_cost(layer, LayerBits(8, 4)) - words.layer_cost(layer, LayerBits(5, 4))
    assert words.rounding(layer, LayerBits(6, 4)) >= plateau > 0
    assert ALL["phone"].rounding(layer, LayerBits(4, 8)) == 0
    # five values of 3 bits leave one bit of a 16-bit word empty
    assert ALL["packed16_bytes"].rounding(layer, bits) == layer.weights / 5 / 8 + 2
    assert ALL["packed16_bytes"].rounding(layer, LayerBits(4, 4)) == 2


def listed(cost: CostModel, layer, part: str) -> tuple[int, ...]:
    """Widths between which the price of a layer may move."""
    if not cost.looked_up:
        return tuple(range(1, 17))
    wide = (lambda w: LayerBits(w, 4)) if part == "weight" else (lambda w: LayerBits(4, w))
    # a width whose exact price is also the smooth one is a width with a row
    return tuple(w for w in range(1, 9) if cost.rounding(layer, wide(w)) == 0)


@every
@pytest.mark.parametrize("part", ["weight", "activation"])
def test_it_is_felt_exactly_where_the_exact_price_moves(name, part):
    cost, moved = ALL[name], 0
    for layer in MODEL.layers:
        for low, high in itertools.pairwise(listed(cost, layer, part)):
            at = [(width, 4) if part == "weight" else (4, width) for width in (low, high)]
            prices = [cost.layer_cost(layer, LayerBits(*bits)) for bits in at]
            if name.startswith("packed") and part == "weight":
                # without the floor, the plateaus slope too
                prices[0] = min(prices[0], prices[1] - 1)
            moved += prices[0] != prices[1]
            middle = (low + high) / 2
            inside = (middle, 4.0) if part == "weight" else (4.0, middle)
            for place in (inside, at[1]):
                slope = felt(cost, layer, *place)[1 if part == "weight" else 2]
                assert (slope != 0) == (prices[0] != prices[1])
                assert slope * (prices[1] - prices[0]) >= 0
            if cost.looked_up:
                assert slope == pytest.approx((prices[1] - prices[0]) / (high - low))
    if not (part == "weight" and name.endswith("latency_cycles")):
        # an accelerator may take as long whatever the bits of the weights
        deaf = ("activation",) if part == "weight" else ("weight", "model", "micro", "packed")
        assert (moved > 0) == (not name.startswith(deaf))


def test_a_table_is_a_straight_line_between_two_rows_and_level_below_the_first():
    cost, layer = ALL["phone"], MODEL.layers[0]
    assert cost.smooth(layer, 6.0, 8.0) == (65 + 90) / 2
    assert cost.smooth(layer, 6.0, 6.0) == (50 + 70 + 65 + 90) / 4
    assert felt(cost, layer, 1.5, 1.5) == (20, 0, 0)


def test_beyond_the_last_row_a_table_pulls_back_with_all_it_has():
    cost, layer = ALL["phone"], MODEL.layers[0]
    assert float(cost.smooth(layer, 8, 32)) == UNPRICED == cost.layer_cost(layer, LayerBits(8, 32))
    assert felt(cost, layer, 8, 32)[2] > 1e12


def test_a_table_with_a_hole_is_exact_around_it():
    rows = {LayerBits(8, 4): 70, LayerBits(4, 8): 65}
    cost = cost_of(Table("holes", "energy", "pJ", {MODEL.names[0]: rows}))
    layer = MODEL.layers[0]
    for bits, price in {(8, 4): 70, (4, 8): 65, (4, 4): 65, (8, 8): UNPRICED}.items():
        assert cost.smooth(layer, *bits) == price == cost.layer_cost(layer, LayerBits(*bits))
