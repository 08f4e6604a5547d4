"""Facts about widths: how they are read, written, stored, ordered and priced."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.allocation import (
    BFLOAT16,
    BIT_WIDTHS,
    FLOAT16,
    FLOAT_BITS,
    GROUPED_WIDTHS,
    WEIGHT_WIDTHS,
    BitAllocation,
    LayerBits,
    holds,
    in_order,
    is_float_width,
    parse_width,
    stored_bits,
    stored_matrix,
    width_json,
    width_text,
)
from qcore.costs import COSTS, costs_of, mean_weight_bits
from qcore.errors import InvalidBits
from qcore.problem import SensitivityTable
from qcore.run_spec import RunSpec
from qcore.widths import group_inputs
from tests.strategies import allocations, layer, model, model_specs

HALVES = (BFLOAT16, FLOAT16)


@pytest.mark.parametrize(
    ("written", "width"),
    [
        *((bits, bits) for bits in (*range(1, 17), 32)),
        *((str(bits), bits) for bits in (*range(1, 17), 32)),
        *((text, FLOAT16) for text in ("fp16", "FP16", "float16", "half", " Half ", "f16")),
        *((text, BFLOAT16) for text in ("bf16", "bfloat16", "BFloat16")),
        *((text, FLOAT_BITS) for text in ("float", "float32", "fp32", "Float")),
        *((text, 8) for text in ("int8", "uint8", "w8", "a8", "8 bits", "8bit", "INT8")),
        *((text, 16) for text in ("int16", "a16", "16-bit")),
    ],
)
def test_a_width_is_read_as_people_write_it(written, width):
    assert parse_width(written) == width


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("form", ["{}g{}", "W{}G{}", "int{}_g{}", "{} bits g{}", "{}-group{}"])
def test_a_width_with_groups_is_read_and_is_of_weights_alone(bits, group, form):
    width = parse_width(form.format(bits, group))
    assert (stored_bits(width), group_inputs(width)) == (bits, group)
    assert width_text(width) == width_json(width) == f"{bits}g{group}"
    assert LayerBits(width, 8).text == f"{bits}g{group}/8"
    with pytest.raises(InvalidBits, match=f"no groups.*give inputs {bits} bits"):
        parse_width(f"{bits}g{group}", inputs=True)
    with pytest.raises(InvalidBits, match=f"activation bits.*'{bits}g{group}'"):
        LayerBits(8, width)


@pytest.mark.parametrize("text", ["1g64", "9g64", "4g16", "4g256", "4g", "g64", "fp16g64", "4g640"])
def test_groups_there_are_not_are_refused(text):
    with pytest.raises(InvalidBits, match="32, 64 or 128 inputs"):
        parse_width(text)


def test_widths_are_ordered_by_bits_then_by_scales():
    texts = [width_text(width) for width in in_order(map(parse_width, ("8", "3g32", "3", "3g128")))]
    assert texts == ["3", "3g128", "3g32", "8"]
    assert len(WEIGHT_WIDTHS) == len(set(WEIGHT_WIDTHS)) == len(BIT_WIDTHS) + len(GROUPED_WIDTHS)
    assert min(LayerBits(parse_width("3g32")), LayerBits(8)) == LayerBits(parse_width("3g32"))


@pytest.mark.parametrize(
    "written",
    [
        0,
        17,
        18,
        19,
        24,
        31,
        33,
        -1,
        4.0,
        None,
        True,
        [8],
        "17",
        "0",
        "int32",
        "fp8",
        "8.0",
        "",
        "é",
    ],
)
def test_what_is_no_width_is_refused_with_what_there_is(written):
    with pytest.raises(InvalidBits, match="1 to 16 bits, bf16, fp16 or float"):
        parse_width(written)


@given(st.sampled_from(BIT_WIDTHS))
def test_what_is_written_is_read_back(width):
    assert parse_width(width_text(width)) == width
    assert parse_width(width_json(width)) == width
    assert isinstance(width_json(width), str) == (width in HALVES)


def test_floats_of_sixteen_bits_take_sixteen_and_stand_between_16_and_float():
    assert [stored_bits(width) for width in BIT_WIDTHS] == [*range(1, 17), 16, 16, 32]
    assert list(BIT_WIDTHS) == sorted(BIT_WIDTHS)
    assert [width for width in BIT_WIDTHS if is_float_width(width)] == [*HALVES, FLOAT_BITS]
    table = np.array([BIT_WIDTHS, BIT_WIDTHS[::-1]])
    assert stored_matrix(table).tolist() == [
        [stored_bits(w) for w in row] for row in table.tolist()
    ]


@given(data=st.data())
def test_an_allocation_with_any_widths_goes_through_json(data):
    spec = data.draw(model_specs())
    allocation = data.draw(allocations(spec))
    document = json.loads(json.dumps(allocation.to_json()))
    numbers = [w for pair in document.values() for w in pair if not isinstance(w, str)]
    assert set(numbers) <= {*range(1, 17), 32}
    read = BitAllocation.from_json(document)
    assert read == allocation
    assert read.digest == allocation.digest


@pytest.mark.parametrize("pair", [[17, 8], [8, 18], ["8", 8], ["int8", 8], ["fp8", 8], [8]])
def test_a_file_with_a_code_for_a_width_or_digits_as_text_is_refused(pair):
    with pytest.raises(InvalidBits.__mro__[1]):
        BitAllocation.from_json({"conv": pair})


def test_what_is_asked_of_a_run_and_its_scores_go_through_json():
    spec = RunSpec(
        "resnet8", "fashion-mnist", "greedy", weight_bits=(4, 8, 16, FLOAT16),
        activation_bits=(8, BFLOAT16), pin_first_last=FLOAT16,
    )  # fmt: skip
    document = json.loads(json.dumps(spec.to_json()))
    assert document["weight_bits"] == [4, 8, 16, "fp16"]
    assert document["pin_first_last"] == "fp16"
    assert RunSpec.from_json(document) == spec
    assert RunSpec.from_json(json.loads(json.dumps(replace(spec, pin_first_last=None).to_json())))
    table = SensitivityTable(
        "kl", "nats", {"a": {8: 0.5, FLOAT16: 0.1}}, {"a": {BFLOAT16: 0.2}},
        pairs=np.eye(1), pair_index=(("a", "weight", FLOAT16),),
    )  # fmt: skip
    again = SensitivityTable.from_json(json.loads(json.dumps(table.to_json())))
    assert (again.weight, again.activation) == (table.weight, table.activation)
    assert again.pair_index == table.pair_index
    assert again.score("a", LayerBits(FLOAT16, BFLOAT16)) == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["weight_bytes", "bit_ops", "activation_bytes_sum"])
@pytest.mark.parametrize("half", HALVES)
def test_floats_of_sixteen_bits_cost_what_sixteen_bits_do(name, half):
    spec = model()
    of = {w: BitAllocation.uniform(spec.layers, w, w) for w in (8, 16, half, FLOAT_BITS)}
    price = {width: costs_of(spec, bits)[name] for width, bits in of.items()}
    assert price[half] == price[16]
    assert price[8] < price[16] < price[FLOAT_BITS]
    assert mean_weight_bits(spec, of[half]) == 16


def test_floats_of_sixteen_bits_have_no_scale_and_no_range_to_pay_for():
    spec, price = layer(), COSTS["model_bytes"].layer_cost
    whole, cast = price(spec, LayerBits(16, 16)), price(spec, LayerBits(FLOAT16, FLOAT16))
    assert whole - cast == 4 * spec.channels + 8
    assert cast == 2 * spec.weights + 4 * spec.biases


def test_a_width_holds_another_exactly_where_all_its_values_are_there():
    # the largest whole numbers of b bits, both signs, are values of a float or not
    for bits in range(2, 17):
        codes = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)).astype(np.float32)
        exact = bool((codes.astype(np.float16).astype(np.float32) == codes).all())
        assert holds(FLOAT16, bits) <= exact
        assert holds(FLOAT_BITS, bits)
        assert [holds(wide, bits) for wide in range(1, 17)] == [w >= bits for w in range(1, 17)]
    assert holds(FLOAT16, 11)
    assert not holds(FLOAT16, 16)
    assert not holds(BFLOAT16, 9)
    assert not holds(FLOAT16, BFLOAT16)
    assert not holds(BFLOAT16, FLOAT16)
    assert not any(holds(bits, half) for half in HALVES for bits in range(1, 17))
    assert holds(FLOAT_BITS, FLOAT16)
    assert holds(FLOAT_BITS, BFLOAT16)
