import itertools
import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.allocation import BIT_WIDTHS, BitAllocation, LayerBits, is_float_width
from qcore.costs import COSTS, costs_of, costs_of_many, mean_weight_bits
from qcore.costs.budget import Budget, cheapest_total, make_options
from qcore.costs.formulas import MICROBITS, UNPRICED
from qcore.costs.price_table import bits_matrices
from qcore.errors import InfeasibleBudget, InvalidAllocation, InvalidBits, InvalidParams
from tests.strategies import allocations, layer, layer_specs, model, model_specs

BITS = BitAllocation({"conv": LayerBits(3, 8), "fc": LayerBits(5, 32)})


def test_costs_of_a_small_net_worked_out_by_hand():
    # conv: 72 weights, 4 channels, 4 biases, 1800 MACs, 50 inputs; fc: 1001 weights, 10, 10, 1001
    assert costs_of(model(), BITS) == {
        "weight_bytes": 27 + 626,  # 216 bits; 5005 bits rounded up to whole bytes
        # codes, 4 B a scale, 4 B a bias, scale and zero point of one input, 7 floats left
        "model_bytes": 27 + 16 + 16 + 8 + 626 + 40 + 40 + 28,
        # 536 bits of conv, 5648 of fc and 224 of floats, each over 1073 weights and rounded up
        "microbits_per_weight": 499_535 + 5_263_747 + 208_761,
        "bit_ops": 1800 * 3 * 8 + 1001 * 5 * 32,
        "activation_bytes_sum": 50 + 200,
        "activation_bytes_max": 200,
        # 3 bits go 5, 10 and 21 to a word, 5 bits 3, 6 and 12; last words are partly empty
        "packed16_bytes": 2 * (15 + 334),
        "packed32_bytes": 4 * (8 + 167),
        "packed64_bytes": 8 * (4 + 84),
    }


def test_a_float_net_has_no_scales():
    uniform = BitAllocation.uniform(model().layers, 32, 32)
    costs = costs_of(model(), uniform)
    assert costs["weight_bytes"] == 4 * (72 + 1001)
    assert costs["model_bytes"] == 4 * (72 + 1001 + 4 + 10 + 7)


def test_mean_weight_bits_weighs_layers_by_their_weights():
    assert mean_weight_bits(model(), BITS) == (72 * 3 + 1001 * 5) / 1073


def test_costs_need_bits_for_exactly_the_layers_of_the_model():
    with pytest.raises(InvalidAllocation, match="missing layers: fc"):
        costs_of(model(), BitAllocation({"conv": LayerBits(3)}))


@pytest.mark.parametrize("name", COSTS)
def test_a_cost_model_is_listed_by_its_name_and_documents_itself(name):
    cost = COSTS[name]
    assert cost.name == name
    assert cost.title
    assert cost.unit in ("B", "µbit", "bit-ops", "pJ", "cycles")
    assert len(cost.formula) > 20
    assert cost.formula.isascii()


@pytest.mark.parametrize("name", COSTS)
@given(spec=layer_specs())
def test_a_layer_costs_something_whole_and_never_less_with_more_bits(name, spec):
    price = COSTS[name].layer_cost
    for low, high in itertools.pairwise(BIT_WIDTHS):
        # a tiny layer can take more at 8 bits than as floats, which need no scales
        if name in ("model_bytes", "microbits_per_weight") and is_float_width(high):
            continue
        for other in BIT_WIDTHS:
            assert price(spec, LayerBits(low, other)) <= price(spec, LayerBits(high, other))
            assert price(spec, LayerBits(other, low)) <= price(spec, LayerBits(other, high))
    smallest = price(spec, LayerBits(1, 1))
    assert isinstance(smallest, int)
    assert 0 < smallest < math.inf


@pytest.mark.parametrize("name", COSTS)
@given(data=st.data())
def test_a_total_is_the_sum_or_the_maximum_over_layers_and_the_fixed_part(name, data):
    spec = data.draw(model_specs())
    allocation = data.draw(allocations(spec))
    cost, total = COSTS[name], 0
    for one in spec.layers:
        price = cost.layer_cost(one, allocation[one.name])
        total = max(total, price) if cost.reduce == "max" else total + price
    fixed = cost.per_float_parameter * sum(spec.left_in_float.values())
    if cost.constant is None:
        assert cost.fixed(spec) == fixed
    total += cost.fixed(spec)
    assert cost.total(spec, allocation) == total
    assert costs_of(spec, allocation).get(name, UNPRICED) == min(total, UNPRICED)


@given(data=st.data())
def test_bits_per_weight_are_the_mean_of_all_that_lies_on_disk(data):
    spec = data.draw(model_specs())
    costs = costs_of(spec, data.draw(allocations(spec)))
    weights = sum(one.weights for one in spec.layers)
    exact = Fraction(8 * costs["model_bytes"], weights) * MICROBITS
    # never understated, and by less than a millionth of a bit for each layer and the floats
    assert 0 <= costs["microbits_per_weight"] - exact < len(spec.layers) + 1


def test_a_share_of_bits_per_weight_is_one_of_the_network_and_alone_of_the_layer():
    alone = layer("a", weights=100)
    small, large = (model(alone, layer("b", weights=count)) for count in (100, 300))
    price = COSTS["microbits_per_weight"].layer_cost
    shares = [price(one, LayerBits(4)) for one in (alone, small.layers[0], large.layers[0])]
    assert shares[0] == 2 * shares[1] == 4 * shares[2]
    # a network that a layer is taken from says nothing about the next it is put into
    assert model(small.layers[0]).layers[0].network_weights == 100
    assert small.layers[0] == alone == large.layers[0]
    assert "network_weights" not in json.dumps(small.to_json())


def test_whole_bytes_are_counted_for_each_layer():
    spec = model(layer("a", weights=1), layer("b", weights=1))
    one_bit = BitAllocation.uniform(spec.layers, 1)
    assert costs_of(spec, one_bit)["weight_bytes"] == 2


@pytest.mark.parametrize("limits", [{"bytes": 5}, {"weight_bytes": 0}, {"bit_ops": -1.0}])
def test_a_budget_limits_known_costs_to_positive_numbers(limits):
    with pytest.raises(InvalidParams, match=next(iter(limits))):
        Budget(limits)


def test_not_a_number_is_no_limit():
    with pytest.raises(InvalidParams, match="nan"):
        Budget({"weight_bytes": math.nan})


def test_a_budget_admits_what_meets_every_limit_exactly():
    budget = Budget({"weight_bytes": 653, "activation_bytes_max": 200})
    assert budget.admits(costs_of(model(), BITS))
    assert not Budget({"weight_bytes": 652}).admits(costs_of(model(), BITS))
    assert not Budget({"weight_bytes": 653, "bit_ops": 1}).admits(costs_of(model(), BITS))
    assert Budget().admits(costs_of(model(), BITS))


def test_an_infeasible_budget_says_what_would_be_the_smallest():
    options = make_options(model().layers, (2, 4))
    smallest = 18 + 251
    Budget({"weight_bytes": smallest}).check_feasible(model(), options)
    with pytest.raises(InfeasibleBudget, match="269 B") as caught:
        Budget({"weight_bytes": smallest - 1}).check_feasible(model(), options)
    assert caught.value.cheapest == {"weight_bytes": smallest}


@given(data=st.data())
def test_no_allowed_allocation_is_cheaper_than_the_cheapest_total(data):
    spec = data.draw(model_specs(3))
    options = make_options(spec.layers, (2, 3, 8), (4, 32))
    allocation = BitAllocation(
        {name: data.draw(st.sampled_from(options[name])) for name in spec.names}
    )
    for name, value in costs_of(spec, allocation).items():
        assert cheapest_total(COSTS[name], spec, options) <= value


def test_options_are_all_pairs_from_fewest_bits():
    options = make_options(model().layers, (4, 2), (8, 4, 8))
    expected = (LayerBits(2, 4), LayerBits(2, 8), LayerBits(4, 4), LayerBits(4, 8))
    assert options == {"conv": expected, "fc": expected}


@pytest.mark.parametrize(("inputs", "pinned"), [((32,), 32), ((4, 8), 8)])
def test_first_and_last_layers_are_pinned_and_float_inputs_stay_float(inputs, pinned):
    layers = [layer("a"), layer("b"), layer("c")]
    options = make_options(layers, (2, 3), inputs, pin_first_last=8)
    assert options["a"] == options["c"] == (LayerBits(8, pinned),)
    assert len(options["b"]) == 2 * len(inputs)


def test_options_need_valid_bits():
    with pytest.raises(InvalidBits):
        make_options(model().layers, (2, 19))
    with pytest.raises(InvalidParams):
        make_options(model().layers, ())
    with pytest.raises(InvalidParams):
        make_options(model().layers, (2,), ())


@given(st.data())
def test_many_allocations_cost_together_what_they_cost_alone(data):
    spec = data.draw(model_specs())
    several = data.draw(st.lists(allocations(spec), min_size=1, max_size=5))
    # a mapping's order does not matter
    several.append(BitAllocation(dict(reversed(list(several[0].items())))))
    weight, activation = bits_matrices(spec.layers, several)
    many = costs_of_many(spec, weight, activation)
    for place, allocation in enumerate(several):
        alone = costs_of(spec, allocation)
        assert {name: int(column[place]) for name, column in many.items()} == alone
