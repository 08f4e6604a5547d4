"""Weights trained anew travel in the configuration as whole numbers of their true size."""

import numpy as np
import pytest

from qcore.allocation import BitAllocation
from qcore.errors import InvalidConfig
from qcore.formats.config import BitConfig, dump_bits, parse_bits
from qcore.formats.config_parts import encode_array
from tests.helpers import toy_model

MODEL = toy_model(2)
NAME = MODEL.names[0]
COUNT = MODEL.layers[0].weights


def config(array: np.ndarray, name: str = "weight_codes") -> BitConfig:
    return BitConfig(MODEL, BitAllocation.uniform(MODEL.layers, 4), {NAME: {name: array}})


@pytest.mark.parametrize(("most", "kind"), [(127, "int8"), (128, "int16"), (255, "int16")])
def test_codes_keep_their_values_in_the_smallest_type(most, kind):
    codes = np.linspace(-most, most, COUNT).round().astype(np.int16)
    text = dump_bits(config(codes))
    assert f'"{kind}"' in text
    assert (parse_bits(text).state[NAME]["weight_codes"] == codes).all()


def test_float_weights_keep_their_values():
    weight = np.linspace(-1, 1, COUNT).astype(np.float32)
    read = parse_bits(dump_bits(config(weight, "weight"))).state[NAME]["weight"]
    assert read.dtype == np.float32
    assert (read == weight).all()


def test_codes_of_another_length_or_type_are_refused():
    with pytest.raises(InvalidConfig, match=f"must have {COUNT} numbers; it has {COUNT - 1}"):
        parse_bits(dump_bits(config(np.zeros(COUNT - 1, np.int16))))
    with pytest.raises(InvalidConfig, match="weight_codes of layer 'layer0' cannot be read"):
        parse_bits(dump_bits(config(np.zeros(COUNT, np.float32))))


def test_an_empty_array_is_written():
    assert encode_array("x", "weight_codes", np.zeros(0, np.int16)) == {"shape": [0], "int8": ""}
