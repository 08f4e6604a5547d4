"""How many times smaller: one wording, and the ratio it says."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.allocation import BitAllocation
from qcore.costs import COSTS
from qcore.costs.limits import read_limit
from qcore.costs.smaller import smaller_text
from tests import configs

MODEL = configs.RESNET8
BYTES = COSTS["weight_bytes"]
OF_WEIGHTS = [name for name, cost in COSTS.items() if cost.of_weights]


def size(cost, bits):
    return cost.total(MODEL, BitAllocation.uniform(MODEL.layers, bits))


def test_it_is_held_against_float_and_eight_bits():
    for bits, words in {
        1: "32.0x smaller than float, 8.0x than 8 bits",
        4: "8.0x smaller than float, 2.0x than 8 bits",
        8: "4.0x smaller than float, as large as 8 bits",
        32: "as large as float, 4.0x larger than 8 bits",
    }.items():
        assert smaller_text(BYTES, MODEL, size(BYTES, bits)) == words
    assert (
        smaller_text(BYTES, MODEL, 2 * size(BYTES, 32))
        == "2.0x larger than float, 8.0x than 8 bits"
    )
    # scales and biases do not get smaller
    assert smaller_text(COSTS["model_bytes"], MODEL, size(COSTS["model_bytes"], 4)).startswith("7.")


@pytest.mark.parametrize("name", OF_WEIGHTS)
@given(share=st.integers(1, 2000))
def test_what_it_says_can_be_typed_as_a_limit(name, share):
    cost = COSTS[name]
    value = share * size(cost, 32) // 1000
    for part in smaller_text(cost, MODEL, value).split(", "):
        found = re.fullmatch(r"([\d.]+)x (smaller )?than (float|8 bits)", part)
        if found and float(found[1]) < 20 and value < size(cost, 8):
            limit = read_limit(cost, f"{found[1]}x smaller than {found[3]}", MODEL)
            assert limit == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize("name", [name for name in COSTS if name not in OF_WEIGHTS])
def test_of_what_is_no_size_of_weights_it_says_nothing(name):
    assert smaller_text(COSTS[name], MODEL, 1000) == ""
