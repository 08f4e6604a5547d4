"""Allocations as others publish them: their own spellings, not only what we write."""

import json

import pytest

from qcore.allocation import LayerBits, LayerSpec, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.imports import read_allocations
from tests import configs


def resnet(blocks, deep=False):
    """Layers of a torchvision ResNet, by name only."""
    names = ["conv1"]
    for stage, count in enumerate(blocks, start=1):
        for unit in range(count):
            place = f"layer{stage}.{unit}"
            names += [f"{place}.conv{n}" for n in range(1, 4 if deep else 3)]
            if unit == 0 and (stage > 1 or deep):
                names.append(f"{place}.downsample.0")
    layers = [LayerSpec(name, "conv2d", 9, 1, 1, 9, 9, 9) for name in names]
    return ModelSpec("resnet", "0" * 64, (*layers, LayerSpec("fc", "linear", 9, 1, 1, 9, 9, 9)))


def hawq18(convolution):
    """A configuration of HAWQ's bit_config.py for ResNet-18."""
    entry = {"quant_input": 8, "quant_init_block_convbn": 8, "quant_act_int32": 16}
    for stage in (1, 2, 3, 4):
        for unit in (1, 2):
            place = f"stage{stage}.unit{unit}."
            entry |= {place + "quant_act": 8, place + "quant_convbn1": convolution}
            entry |= {place + "quant_act1": 4, place + "quant_convbn2": convolution}
            if unit == 1 and stage > 1:
                entry[place + "quant_identity_convbn"] = 8
            entry[place + "quant_act_int32"] = 16
    return entry | {"quant_act_output": 8, "quant_output": 8}


def test_a_file_of_many_hawq_configurations_offers_those_that_fit():
    wrong = {"quant_input": 8, "quant_other_convbn": 8}
    found = {"bit_config_a": hawq18(8), "bit_config_b": hawq18(4), "bit_config_inception": wrong}
    text = f"# taken from a repository\nimport os\nbit_config_dict = {found!r}\nos.listdir()\n"
    choices = read_allocations(text.encode(), resnet((2, 2, 2, 2))).choices
    assert set(choices) == {"bit_config_a", "bit_config_b"}
    bits = choices["bit_config_b"]
    assert bits["layer2.0.conv1"] == LayerBits(4, 8)
    assert bits["layer2.0.conv2"] == LayerBits(4, 4)
    assert bits["layer2.0.downsample.0"] == LayerBits(8, 8)
    assert bits["fc"] == LayerBits(8, 8)


def test_hawq_hooks_are_widths_too():
    entry = hawq18(4) | {"quant_input": (8, "hook")}
    choices = read_allocations(repr(entry).encode(), resnet((2, 2, 2, 2))).choices
    assert choices[""]["conv1"] == LayerBits(8, 8)


def test_the_strategy_haq_publishes_for_resnet50_reads_as_weight_bits():
    strategy = [6, 6, 5, 5] + [5, 3] * 25
    model = resnet((3, 4, 6, 3), deep=True)
    bits = read_allocations(f"strategy = {strategy}".encode(), model).choices["strategy"]
    assert [bits[name].weight for name in model.names] == strategy
    assert {entry.activation for entry in bits.values()} == {32}


def test_haq_pairs_leave_the_image_in_float():
    pairs = [[8, -1]] + [[4, 6]] * 8 + [[8, 8]]
    bits = read_allocations(json.dumps(pairs).encode(), configs.RESNET8).choices[""]
    assert bits["conv1"] == LayerBits(8, 32)
    assert bits["fc"] == LayerBits(8, 8)
    assert bits["layer1.0.conv1"] == LayerBits(4, 6)


OLD = {
    "*weight_quantizer": {"num_bits": 4, "axis": 0},
    "*input_quantizer": {"num_bits": 8, "axis": None},
    "layer2*input_quantizer": {"enable": False},
    "nn.Linear": {"*weight_quantizer": {"num_bits": 8}},
    "*shortcut*": {"enable": False},
    "default": {"enable": False},
}


def test_modelopt_dictionaries_apply_in_order_and_by_class():
    old = {"quant_cfg": {"default": OLD["default"], **OLD}, "algorithm": "max"}
    old["quant_cfg"].pop("default")
    old["quant_cfg"] = {"default": {"enable": False}, **old["quant_cfg"]}
    bits = read_allocations(json.dumps(old).encode(), configs.RESNET8).choices[""]
    assert bits["conv1"] == LayerBits(4, 8)
    assert bits["layer2.0.conv1"] == LayerBits(4, 32)
    assert bits["layer2.0.shortcut.0"] == LayerBits(32, 32)
    assert bits["fc"] == LayerBits(8, 8)


def test_modelopt_lists_start_from_eight_bits_and_the_last_match_wins():
    entries = [
        {"quantizer_name": "*conv1.weight_quantizer", "cfg": {"num_bits": 4}},
        {"quantizer_name": "conv1.weight_quantizer", "cfg": {"num_bits": 2}, "enable": False},
        {"quantizer_name": "conv1.weight_quantizer", "enable": True},
        {"quantizer_name": "*weight_quantizer", "parent_class": "nn.Linear", "enable": False},
    ]
    text = f"CONFIG = {{'quant_cfg': {entries!r}, 'algorithm': 'max'}}"
    bits = read_allocations(text.encode(), configs.RESNET8).choices[""]
    assert bits["conv1"] == LayerBits(2, 8)
    assert bits["layer1.0.conv1"] == LayerBits(4, 8)
    assert bits["layer1.0.conv2"] == LayerBits(8, 8)
    assert bits["fc"] == LayerBits(32, 8)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"quantizer_name": "*fc.weight_quantizer", "cfg": {"num_bits": [4, 3]}}, "fc has weight"),
        ({"quantizer_name": "*fc.*", "cfg": [{"num_bits": 4}, {"num_bits": 8}]}, "one width"),
        ({"quantizer_name": "*", "enable": False}, "No pattern"),
        ({"quantizer_name": "model.layers*", "cfg": {"num_bits": 4}}, "No pattern"),
        ({"quantizer_name": 3, "cfg": {}}, "cannot be read"),
        (5, "not a mapping"),
        ({"a": 5}, "no settings"),
    ],
)
def test_modelopt_says_what_it_cannot_read(entry, said):
    content = json.dumps({"quant_cfg": [entry]}).encode()
    with pytest.raises(InvalidConfig, match=said.replace("(", r"\(")):
        read_allocations(content, configs.RESNET8)


def test_mct_names_may_be_those_of_nodes():
    names = {name.replace(".", "_") + "_bn": 4 for name in configs.RESNET8.names if name != "fc"}
    text = f"WEIGHT_BITS: dict = {names | {'fc': 8}!r}"
    bits = read_allocations(text.encode(), configs.RESNET8).choices[""]
    assert bits["layer3.0.shortcut.0"] == LayerBits(4, 8)
    assert bits["fc"] == LayerBits(8, 8)
