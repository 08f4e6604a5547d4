"""Files for other tools: what they hold, and what each refuses to hold."""

import ast
import fnmatch
import json
import sys
import types

import jsonschema
import numpy as np
import pytest
import yaml

from qcore.allocation import BIT_WIDTHS, FLOAT16, BitAllocation, LayerBits
from qcore.errors import ExportRefused
from qcore.formats.config import dump_bits
from qcore.formats.exports import EXPORTS, write
from qcore.formats.exports.templates.mct import node_name
from qcore.formats.schemas import CONFIGURATION
from tests import configs

MODEL = configs.RESNET8
LANGUAGE = ("gguf", "autoround", "gptqmodel")
"""Formats of language models, whose files have tests of their own."""

FREE = {
    name: export
    for name, export in EXPORTS.items()
    if not export.needs_model and name not in LANGUAGE
}
STRICT = ("hawq", "haq", "mct", "modelopt", "aimet")


def uniform(weight, activation, model=MODEL):
    return BitAllocation.uniform(model.layers, weight, activation)


def written(name, bits=None, model=MODEL, **changes):
    return write(EXPORTS[name], configs.config(model, bits, **changes)).decode()


@pytest.mark.parametrize("name", FREE)
def test_every_file_is_the_same_each_time_and_ends_its_last_line(name):
    bits = uniform(4, 8)
    assert written(name, bits) == written(name, bits)
    assert written(name, bits).endswith("\n")


@pytest.mark.parametrize("name", LANGUAGE)
def test_formats_of_language_models_refuse_convolutions_by_their_names(name):
    with pytest.raises(ExportRefused, match=r"layer1\.0\.conv1"):
        written(name, uniform(4, 8))


@pytest.mark.parametrize("name", [name for name in FREE if name not in ("hawq", "script", "csv")])
def test_hostile_names_stay_text(name):
    model = configs.hostile_model()
    text = written(name, uniform(4, 8, model), model)
    if EXPORTS[name].suffix.endswith(".py"):
        ast.parse(text)
    elif name == "yaml":
        assert yaml.safe_load(text) == json.loads(written("json", uniform(4, 8, model), model))
    else:
        json.loads(text)


def test_the_mct_script_sets_each_width_by_calls(monkeypatch):
    calls = {}

    class Config:
        def set_manual_weights_bit_width(self, place, bits, attribute):
            calls[place] = bits, attribute

    class Filter(str):
        __slots__ = ()

        def __or__(self, other):
            return f"{self}|{other}"

    core = types.ModuleType("model_compression_toolkit.core")
    core.BitWidthConfig = Config
    editors = types.ModuleType("network_editors")
    editors.NodeNameFilter = Filter
    place = "model_compression_toolkit.core"
    names = {place: core, f"{place}.common.network_editors": editors}
    names |= {n: types.ModuleType(n) for n in (place.split(".")[0], f"{place}.common")}
    for name, module in names.items():
        monkeypatch.setitem(sys.modules, name, module)
    model = configs.hostile_model()
    bits = configs.allocation(model, (2, 4, 8), (8,))
    space = {}
    exec(compile(written("mct", bits, model), "mct.py", "exec"), space)
    space["bit_width_config"]()
    assert space["MODEL"] == model.name
    assert calls == {
        f"{node_name(name)}|{node_name(name)}_bn": (bits[name].weight, "weight")
        for name in model.names
    }


def test_node_names_are_those_of_torch_fx():
    assert node_name("layer1.0.conv1") == "layer1_0_conv1"
    assert node_name("Mixed_5b.branchPool.0") == "mixed_5b_branch_pool_0"
    assert node_name("0.weight") == "_0_weight"


def test_modelopt_patterns_match_their_own_quantizer_and_no_other():
    model = configs.hostile_model()
    document = json.loads(written("modelopt", uniform(4, 8, model), model))
    patterns = [entry["quantizer_name"] for entry in document["quant_cfg"][1:]]
    names = [f"{name}.{kind}_quantizer" for name in model.names for kind in ("weight", "input")]
    for pattern, name in zip(patterns, names, strict=True):
        assert [other for other in names if fnmatch.fnmatchcase(other, pattern)] == [name]


@pytest.mark.parametrize(
    ("name", "bits", "said"),
    [
        ("aimet", uniform(3, 8), "start at 4 bits"),
        ("aimet", uniform(8, 2), "start at 4 bits"),
        ("mct", uniform(3, 8), "weights of 2, 4, 8 bits"),
        ("mct", uniform(4, 4), "activations of 8 bits or float"),
        ("mct", uniform(4, 8).replace("fc", LayerBits(4, 32)), "one width for all"),
        ("haq", uniform(1, 8), "fc has 1 bit|conv1 has 1 bit"),
        ("modelopt", uniform(1, 8), "1 bit"),
        ("modelopt", uniform(8, 1), "1 bit"),
        ("hawq", uniform(4, 32), "conv1 has float"),
        ("hawq", uniform(1, 8), "1 bit"),
        ("hawq", uniform(4, 8).replace("layer2.0.shortcut.0", LayerBits(4, 4)), "one tensor"),
    ],
)
def test_what_a_format_cannot_carry_is_refused_with_the_reason(name, bits, said):
    config = configs.config(bits=bits)
    reason = EXPORTS[name].carries(config)
    assert reason is not None
    with pytest.raises(ExportRefused, match=said):
        write(EXPORTS[name], config)


def test_hawq_has_no_names_for_a_mobile_network():
    with pytest.raises(ExportRefused, match="own residual networks"):
        written("hawq", uniform(4, 8, configs.MOBILENET), configs.MOBILENET)


def test_aimet_needs_ranges():
    with pytest.raises(ExportRefused, match="measure the configuration first"):
        written("aimet", uniform(4, 8), state=False)
    assert EXPORTS["aimet"].carries(configs.config(bits=uniform(32, 32), state=False)) is None


@pytest.mark.parametrize("name", STRICT)
def test_a_long_list_of_what_is_wrong_stays_short(name):
    model = configs.hostile_model()
    reason = EXPORTS[name].carries(configs.config(model, uniform(1, 1, model)))
    assert reason is not None
    assert len(reason) < 600
    assert reason.endswith(".")


def test_aimet_grids_are_the_measured_ones():
    bits = configs.allocation(MODEL, range(4, 9), (4, 8, 32))
    config = configs.config(bits=bits)
    document = json.loads(write(EXPORTS["aimet"], config))
    for layer in MODEL.layers:
        width = bits[layer.name]
        entries = document["param_encodings"][f"{layer.name}.weight"]
        assert len(entries) == layer.channels
        steps = config.state[layer.name]["weight_step"]
        for entry, step in zip(entries, steps, strict=True):
            codes = np.arange(-(2 ** (width.weight - 1)), 2 ** (width.weight - 1))
            ours = np.sort(codes * float(step))
            theirs = (np.arange(2 ** entry["bitwidth"]) + entry["offset"]) * entry["scale"]
            assert np.allclose(ours, theirs)
            assert (entry["min"], entry["max"]) == (theirs[0], theirs[-1])
        found = document["activation_encodings"].get(layer.name)
        assert (found is None) == (width.activation == 32)
        if found is not None:
            assert found["input"]["0"]["bitwidth"] == width.activation


def test_the_overlay_colours_both_spellings_of_a_weight():
    bits = configs.allocation(MODEL, range(1, 9))
    results = json.loads(written("model_explorer", bits))["graph"]["results"]
    assert results["p_layer1_0_conv1_weight"] == results["layer1.0.conv1.weight"]
    assert {n: r["value"] for n, r in results.items() if n.endswith(".weight")} == {
        f"{name}.weight": bits[name].weight for name in MODEL.names
    }


def test_colours_are_the_dashboards():
    from pages.plots.style import BIT_COLOURS, DARK_DIGITS_FROM
    from qcore.formats.exports import model_explorer

    assert model_explorer.COLOURS == BIT_COLOURS
    assert model_explorer.DARK_DIGITS_FROM == DARK_DIGITS_FROM


def test_yaml_says_what_json_says():
    config = configs.config()
    odd = {
        "tiny": 1e-30, "large": 1e22, "exact": 0.1, "whole": 3.0, "yes": True, "none": None,
        "list": [1, [2, {"a": []}], {}], "text": "yes", "empty": "", "no: colon": "- a #b",
    }  # fmt: skip
    config = type(config)(config.model, config.allocation, provenance=odd)
    assert yaml.safe_load(write(EXPORTS["yaml"], config)) == json.loads(dump_bits(config))


def schema():
    return json.loads(CONFIGURATION.read_text(encoding="utf-8"))


def test_the_schema_is_one_and_accepts_what_we_write():
    jsonschema.Draft202012Validator.check_schema(schema())
    check = jsonschema.Draft202012Validator(schema())
    for model in (MODEL, configs.MOBILENET, configs.hostile_model()):
        bits = configs.allocation(model, BIT_WIDTHS, (2, 8, 16, FLOAT16, 32))
        check.validate(json.loads(dump_bits(configs.config(model, bits))))
        check.validate(json.loads(dump_bits(configs.config(model, bits, state=False))))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("format",), "other"),
        (("bits", "fc"), [17, 32]),
        (("bits", "fc"), [4]),
        (("bits", "fc"), [4, 4, 4]),
        (("bits", "fc"), ["4", 4]),
        (("scores", "test", "accuracy"), 1.5),
        (("state", "fc", "unknown"), {"shape": [1], "float32": ""}),
        (("model", "layers"), []),
        (("unknown",), {}),
    ],
)
def test_the_schema_refuses(path, value):
    document = json.loads(dump_bits(configs.config()))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert not jsonschema.Draft202012Validator(schema()).is_valid(document)
