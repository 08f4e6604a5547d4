"""ModelOpt's configurations as people keep them: old and new form, presets, several, recipes."""

import copy
import itertools
import json
import warnings
from fnmatch import fnmatch

import pytest
import torch
from torch import nn

from qcore.allocation import LayerBits
from qcore.errors import InvalidConfig
from qcore.formats.imports import read_allocations
from qcore.formats.imports.presets import preset
from qcore.network.layers import find_layers
from tests import configs

MODEL = configs.RESNET8
ENTRIES = {
    "default": {"enable": False},
    "*weight_quantizer": {"num_bits": 4, "axis": 0},
    "*input_quantizer": {"num_bits": 8},
    "*fc*": {"enable": False},
}


def only(text, model=MODEL):
    data = text if isinstance(text, bytes) else text.encode()
    found = read_allocations(data, model)
    (name,) = found.choices
    return found.choices[name], found.notes[name]


@pytest.mark.parametrize("order", list(itertools.permutations(ENTRIES)))
def test_a_dictionary_applies_its_default_first_wherever_it_stands(order):
    document = {"quant_cfg": {name: ENTRIES[name] for name in order}}
    bits, notes = only(json.dumps(document))
    for layer in MODEL.names:
        widths = []
        for kind in ("weight", "input"):
            width = 32  # the default
            for pattern in (name for name in order if name != "default"):
                if fnmatch(f"{layer}.{kind}_quantizer", pattern):
                    width = ENTRIES[pattern].get("num_bits", 32)
            widths.append(width)
        assert bits[layer] == LayerBits(*widths), layer
    assert any("default" in note for note in notes) == (order[0] != "default")


def test_a_list_applies_what_it_calls_default_where_it_stands():
    entries = [{name: ENTRIES[name]} for name in ("*weight_quantizer", "default")]
    bits, notes = only(json.dumps({"quant_cfg": entries}))
    assert set(bits.values()) == {LayerBits(32, 32)}
    assert any("weights of every layer in float: nothing is quantized" in note for note in notes)


def test_a_dictionary_that_is_spread_is_read():
    text = """
SKIP = {"*fc*": {"enable": False}, "default": {"enable": False}}
MINE = {"quant_cfg": {"*weight_quantizer": {"num_bits": 4, "axis": 0},
                      "*input_quantizer": {"num_bits": 8}, **SKIP}, "algorithm": choose()}
"""
    bits, notes = only(text)
    assert bits["conv1"] == LayerBits(4, 8)
    assert bits["fc"] == LayerBits(32, 32)
    assert "1 of 10 layers keep their weights in float: fc." in notes


CHANGES = {
    'MINE["quant_cfg"]["*fc*"] = {"enable": False}': ((8, 8), (32, 32)),
    'MINE["quant_cfg"].append({"quantizer_name": "*fc*", "enable": False})': ((8, 8), (32, 32)),
    'MINE["quant_cfg"] += [{"quantizer_name": "*fc*", "enable": False}]': ((8, 8), (32, 32)),
    'MINE["quant_cfg"].update({"*fc*": {"enable": False}})': ((8, 8), (32, 32)),
    'q = MINE["quant_cfg"]\nq["*fc*"] = {"enable": False}': ((8, 8), (32, 32)),
    'MINE["quant_cfg"] = {**MINE["quant_cfg"], "*fc*": {"num_bits": 4}}': ((8, 8), (4, 4)),
    'MINE["quant_cfg"] = [*MINE["quant_cfg"], {"*fc.w*": {"num_bits": 4}}]': ((8, 8), (4, 8)),
    'MINE["quant_cfg"]["*weight_quantizer"]["num_bits"] = 4': ((4, 8), (4, 8)),
    'MINE["quant_cfg"]["*weight_quantizer"] = {"num_bits": 4, "axis": 0}': ((4, 8), (4, 8)),
    'MINE["quant_cfg"]["*input_quantizer"] = {"enable": False}': ((8, 32), (8, 32)),
    'for n in ["fc"]:\n    MINE["quant_cfg"][f"*{n}*"] = {"enable": False}': ((8, 8), (32, 32)),
    'for e in MINE["quant_cfg"]:\n    if e["quantizer_name"] == "*weight_quantizer":\n'
    '        e["cfg"]["num_bits"] = 4': ((4, 8), (4, 8)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "copied",
    [
        "copy.deepcopy(mtq.INT8_DEFAULT_CFG)",
        "deepcopy(INT8_DEFAULT_CFG)",
        "modelopt.torch.quantization.INT8_SMOOTHQUANT_CFG",
        'copy.deepcopy(getattr(mtq, "INT8_DEFAULT_CFG"))',
    ],
)
def test_a_preset_that_is_copied_and_changed_is_read(copied, change):
    rest, fc = CHANGES[change]
    bits, _ = only(f"import copy\nMINE = {copied}\n{change}\n")
    assert bits["fc"] == LayerBits(*fc)
    assert {bits[name] for name in MODEL.names if name != "fc"} == {LayerBits(*rest)}


def test_two_copies_of_a_preset_do_not_share_their_changes():
    text = """
A = copy.deepcopy(mtq.INT8_DEFAULT_CFG)
B = mtq.INT8_DEFAULT_CFG.copy()
A["quant_cfg"]["*fc*"] = {"enable": False}
B["algorithm"] = "entropy"
"""
    found = read_allocations(text.encode(), MODEL).choices
    assert found["A"]["fc"] == LayerBits(32, 32)
    assert found["B"]["fc"] == LayerBits(8, 8)


def test_presets_are_those_of_the_installed_modelopt():
    quantization = pytest.importorskip("modelopt.torch.quantization")
    names = [name for name in dir(quantization) if name.endswith(("_CFG", "_CONFIG"))]
    known = [name for name in names if isinstance(preset(name), dict)]
    assert len(known) >= 5
    for name in names:
        theirs, ours = getattr(quantization, name), preset(name)
        text = json.dumps(theirs)
        kv = "_KV_" in name or "MLP" in name or "EXPERTS" in name or "MHA" in name
        if isinstance(ours, dict):
            assert read_allocations(json.dumps(ours).encode(), MODEL).choices == (
                read_allocations(text.encode(), MODEL).choices
            )
        elif not kv:
            with pytest.raises(InvalidConfig):
                read_allocations(text.encode(), MODEL)
            assert isinstance(ours, str), name


def test_widths_are_those_modelopt_gives_a_network():
    quantization = pytest.importorskip("modelopt.torch.quantization")
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).eval()  # fmt: skip
    sample = torch.rand(2, 1, 8, 8)
    model = find_layers(network, sample, "net").spec
    lists = [
        [
            {"quantizer_name": "*", "enable": False},
            {"quantizer_name": "0.*", "cfg": {"num_bits": 4}},
        ],
        [{"*weight_quantizer": {"num_bits": 4, "axis": 0}}, {"2*": {"enable": False}}],
        [{"nn.Linear": {"*": {"num_bits": 2}}}, {"quantizer_name": "*input*", "enable": False}],
        [
            {"quantizer_name": "5.*", "cfg": {"num_bits": 3}, "parent_class": "nn.Conv2d"},
            {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": 6}},
        ],
        [{"default": {"enable": False}}, {"[02]*weight*": {"num_bits": 5}}],
    ]
    for entries in lists:
        document = {"quant_cfg": entries, "algorithm": "max"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that are not installed
            quantized = quantization.quantize(
                copy.deepcopy(network), copy.deepcopy(document), lambda net: net(sample)
            )
        bits, _ = only(json.dumps(document), model)
        for name in model.names:
            layer = quantized.get_submodule(name)
            theirs = [
                quantizer.num_bits if quantizer.is_enabled else 32
                for quantizer in (layer.weight_quantizer, layer.input_quantizer)
            ]
            assert bits[name] == LayerBits(*theirs), (entries, name)


def test_all_configurations_of_a_file_are_offered_and_what_is_left_out_is_said():
    text = """
A_CFG = {"quant_cfg": {"*weight_quantizer": {"num_bits": 8}, "*input_quantizer": {"num_bits": 8}}}
B_CFG = {"quant_cfg": {"*weight_quantizer": {"num_bits": 4}, "*input_quantizer": {"num_bits": 8}}}
C_CFG = {"quant_cfg": {"*weight_quantizer": {"num_bits": (4, 3)}}}
E_CFG = mtq.MXFP4_DEFAULT_CFG
ALL = {"d": {"quant_cfg": {"*weight_quantizer": {"num_bits": 2}}}}
"""
    found = read_allocations(text.encode(), MODEL)
    widths = {name: bits["fc"].weight for name, bits in found.choices.items()}
    assert widths == {"A_CFG": 8, "B_CFG": 4, "ALL.d": 2}
    for notes in found.notes.values():
        assert any("E_CFG is made from MXFP4_DEFAULT_CFG of ModelOpt" in note for note in notes)
        assert any(note.startswith("C_CFG is left out: Layer conv1 has weight") for note in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("M = copy.deepcopy(mtq.FP8_DEFAULT_CFG)", "FP8_DEFAULT_CFG of ModelOpt, whose formats"),
        (
            "M = mtq.NVFP4_DEFAULT_CFG\nM['quant_cfg']['*fc*'] = {}",
            "NVFP4_DEFAULT_CFG of ModelOpt, whose",
        ),
        ("M = {'quant_cfg': {'*weight_quantizer': {'num_bits': BITS}}}", "bits that only running"),
        ("M = {'quant_cfg': {lambda n: n: {'num_bits': 4}}}", "only known by running"),
        ("M = {'quant_cfg': {**SHARED, '*weight_quantizer': {'num_bits': 4}}}", "SHARED"),
        ("M = {'quant_cfg': [*shared(), {'*': {'num_bits': 4}}]}", r"shared\(\)"),
        ("M = {'quant_cfg': {'*': {'num_bits': 4}}}\nM['quant_cfg'].update(more)", "more"),
        ("M = {'quant_cfg': {'*': {'enable': False}}}", "switches all layers off"),
        ("M = {'quant_cfg': {'default': {'enable': False}}}", "No pattern"),
        ("M = {'quant_cfg': {'features*': {'num_bits': 4}}}", "No pattern"),
        ("M = {'quant_cfg': {'*weight*': [{'num_bits': 4}, {'num_bits': 8}]}}", "one width"),
    ],
)
def test_what_cannot_be_read_is_said_by_its_real_cause(text, said):
    with pytest.raises(InvalidConfig, match=said):
        read_allocations(text.encode(), MODEL)


def test_one_pattern_for_everything_is_a_configuration():
    bits, _ = only('{"quant_cfg": {"*": {"num_bits": 4}}}')
    assert set(bits.values()) == {LayerBits(4, 4)}


def test_layers_that_no_entry_names_are_named():
    bits, notes = only(
        '{"quant_cfg": {"*conv*": {"num_bits": 4}, "fd.weight_quantizer": {"axis": 0}}}'
    )
    assert bits["fc"] == LayerBits(8, 8)
    assert any("fc.weight_quantizer" in note and "8 bits" in note for note in notes)
    assert any("match no layer: fd.weight_quantizer" in note for note in notes)


RECIPE = """
metadata:
  recipe_type: ptq
imports:
  base: configs/ptq/units/base_disable_all
  never: configs/ptq/units/default_disabled_quantizers.yaml
  int8: configs/numerics/int8_per_channel
  kv_fp8: configs/ptq/units/kv_fp8
quantize:
  algorithm: max
  quant_cfg:
    - $import: base
    - quantizer_name: '*weight_quantizer'
      cfg:
        $import: int8
    - quantizer_name: '*input_quantizer'
      cfg: {num_bits: 4, axis: }
    - quantizer_name: '*fc*'
      enable: off
    - $import: kv_fp8
    - $import: never
"""


def test_a_recipe_is_read_with_what_it_imports():
    bits, notes = only(RECIPE)
    assert bits["conv1"] == LayerBits(8, 4)
    assert bits["fc"] == LayerBits(32, 32)
    assert "1 of 10 layers keep their weights in float: fc." in notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("units/base_disable_all", "units/experts_nvfp4"), "units/experts_nvfp4, which is not"),
        (("numerics/int8_per_channel", "numerics/nvfp4"), "numerics/nvfp4"),
        (("{num_bits: 4, axis: }", "{num_bits: e4m3}"), "'e4m3'"),
        (("quantize:", "__base__: {model_quant: [configs/ptq/base]}\nunused:"), "configs/ptq/base"),
    ],
)
def test_a_recipe_of_files_that_are_not_here_says_which(change, said):
    text = RECIPE.replace(*change)
    if "__base__" in text:
        text = text.partition("unused:")[0]
    with pytest.raises(InvalidConfig, match=said):
        read_allocations(text.encode(), MODEL)


def test_yaml_may_share_entries_by_alias_and_hold_several_documents():
    text = """
rest: &rest {default: {enable: false}}
a:
  quant_cfg: {'*weight_quantizer': {num_bits: 4}, <<: *rest}
---
b:
  quant_cfg: {'*weight_quantizer': {num_bits: 2}}
"""
    found = read_allocations(text.encode(), MODEL).choices
    assert found["document 1.a"]["fc"] == LayerBits(4, 32)
    assert found["document 2.b"]["fc"] == LayerBits(2, 8)
