"""What a format writes, its import reads back: the same bits for every layer."""

import pytest

from qcore.allocation import BitAllocation, LayerBits
from qcore.formats.exports import EXPORTS, write
from qcore.formats.imports import IMPORTS, read_allocations
from tests import configs

MODELS = {
    "resnet8": configs.RESNET8,
    "resnet20": configs.RESNET20,
    "mobilenet": configs.MOBILENET,
    "hostile": configs.hostile_model(),
}
WIDTHS = {
    "json": (range(1, 9), (1, 2, 3, 4, 5, 6, 7, 8, 32)),
    "haq": ((2, 3, 4, 5, 6, 7, 8, 32), (1, 2, 4, 8, 32)),
    "modelopt": ((2, 3, 4, 5, 6, 7, 8, 32), (2, 4, 8, 32)),
    "mct": ((2, 4, 8), (8,)),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", WIDTHS)
def test_bits_survive_writing_and_reading(name, model):
    spec = MODELS[model]
    for seed in range(5):
        bits = configs.allocation(spec, *WIDTHS[name], seed=seed)
        content = write(EXPORTS[name], configs.config(spec, bits))
        for wanted in ("", name):
            found = read_allocations(content, spec, wanted)
            assert found.format == name
            assert list(found.choices.values()) == [bits]


@pytest.mark.parametrize("model", ["resnet8", "resnet20"])
def test_hawq_bits_survive_where_units_share_their_input(model):
    spec = MODELS[model]
    for seed in range(5):
        bits = configs.allocation(spec, range(2, 9), range(2, 9), seed=seed)
        for name in spec.names:
            if "shortcut" in name:
                first = name.replace("shortcut.0", "conv1")
                bits = bits.replace(name, LayerBits(bits[name].weight, bits[first].activation))
        content = write(EXPORTS["hawq"], configs.config(spec, bits))
        found = read_allocations(content, spec)
        assert found.format == "hawq"
        assert found.choices == {f"bit_config_{model}_bitdial": bits}


def test_float_activations_survive_mct():
    bits = configs.allocation(configs.RESNET8, (2, 4, 8), (32,))
    content = write(EXPORTS["mct"], configs.config(bits=bits))
    assert read_allocations(content, configs.RESNET8).choices == {"": bits}


def test_every_format_that_carries_bits_alone_can_be_read():
    # of GGUF the file that llama-quantize makes is read, and not the list it is told
    assert set(IMPORTS) == {*WIDTHS, "hawq", "gguf"}
    assert set(IMPORTS) <= set(EXPORTS)


def test_a_single_width_for_all_layers_is_recognised_too():
    for width in (2, 4, 8):
        bits = BitAllocation.uniform(configs.RESNET8.layers, width, 8)
        for name in (*WIDTHS, "hawq"):
            content = write(EXPORTS[name], configs.config(bits=bits))
            assert next(iter(read_allocations(content, configs.RESNET8).choices.values())) == bits
