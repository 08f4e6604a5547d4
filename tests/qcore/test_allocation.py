import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.allocation import BitAllocation, LayerBits, ModelSpec
from qcore.errors import InvalidAllocation, InvalidBits
from tests.strategies import allocations, layer, model, model_specs


@pytest.mark.parametrize("bits", [0, 19, 24, -1, 33, 4.0, 3.5, "4", None, True])
@pytest.mark.parametrize("part", ["weight", "activation"])
def test_a_bit_width_is_one_to_sixteen_a_float_of_sixteen_or_32(bits, part):
    with pytest.raises(InvalidBits, match=f"{part} bits.*{bits!r}"):
        LayerBits(**{"weight": 8, "activation": 8, part: bits})


def test_an_allocation_maps_layer_names_to_bits_in_order():
    allocation = BitAllocation({"b": LayerBits(2), "a": LayerBits(8, 4)})
    assert list(allocation) == ["b", "a"]
    assert len(allocation) == 2
    assert allocation["a"] == LayerBits(8, 4)
    assert allocation["b"].activation == 32
    assert "c" not in allocation


def test_order_of_layers_does_not_tell_allocations_apart():
    one = BitAllocation({"a": LayerBits(2), "b": LayerBits(3)})
    other = BitAllocation({"b": LayerBits(3), "a": LayerBits(2)})
    assert one == other
    assert hash(one) == hash(other)
    assert one.digest == other.digest


def test_any_other_bit_width_or_name_gives_another_digest():
    base = {"a": LayerBits(2, 8), "b": LayerBits(3, 8)}
    others = [
        base,
        {**base, "a": LayerBits(8, 2)},
        {**base, "b": LayerBits(3, 4)},
        {"a": LayerBits(3, 8), "b": LayerBits(2, 8)},
        {"a": LayerBits(2, 8), "c": LayerBits(3, 8)},
    ]
    assert len({BitAllocation(bits).digest for bits in others}) == len(others)


def test_an_allocation_does_not_follow_changes_of_what_it_was_made_from():
    bits = {"a": LayerBits(2)}
    allocation = BitAllocation(bits)
    bits["a"] = LayerBits(8)
    assert allocation["a"].weight == 2


def test_replace_changes_one_layer_of_a_copy():
    allocation = BitAllocation({"a": LayerBits(2), "b": LayerBits(3)})
    changed = allocation.replace("b", LayerBits(8))
    assert changed == BitAllocation({"a": LayerBits(2), "b": LayerBits(8)})
    assert allocation["b"].weight == 3
    with pytest.raises(InvalidAllocation, match="'c'"):
        allocation.replace("c", LayerBits(8))


def test_uniform_gives_every_layer_the_same_bits():
    allocation = BitAllocation.uniform(model().layers, 3, 5)
    assert dict(allocation) == {"conv": LayerBits(3, 5), "fc": LayerBits(3, 5)}


def test_names_that_differ_from_the_model_are_listed():
    allocation = BitAllocation({"conv": LayerBits(2), "head": LayerBits(2)})
    with pytest.raises(InvalidAllocation, match="missing layers: fc; unexpected layers: head"):
        allocation.check_names(model().layers)


@pytest.mark.parametrize("pair", [[2], [2, 3, 4], "24", 2, None, {"weight": 2}])
def test_json_bits_must_be_pairs(pair):
    with pytest.raises(InvalidAllocation, match="weight bits, activation bits"):
        BitAllocation.from_json({"a": pair})


@given(data=st.data())
def test_allocations_and_models_survive_json(data):
    spec = data.draw(model_specs())
    allocation = data.draw(allocations(spec))
    assert BitAllocation.from_json(json.loads(json.dumps(allocation.to_json()))) == allocation
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_coverage_is_the_share_of_weights_under_a_bit_width():
    spec = model(layer(weights=30), layer("b", weights=45), left_in_float={"w": 25})
    assert spec.coverage == 0.75
    assert model(left_in_float={}).coverage == 1.0


def test_only_a_layer_whose_outputs_read_one_input_channel_each_is_depthwise():
    assert layer(channels=8, in_channels=4, groups=4).depthwise
    assert not layer(channels=8, in_channels=8, groups=4).depthwise
    assert not layer(channels=8, in_channels=1, groups=1).depthwise
