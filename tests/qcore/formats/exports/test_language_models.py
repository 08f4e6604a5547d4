"""Files for AutoRound and GPTQModel hold just what those tools' own loaders read.

What a loader does is written down anew from its source, which the exports' docstrings name.
"""

import json
import re

import pytest
from torch import nn

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, ModelSpec
from qcore.errors import ExportRefused
from qcore.formats.config import BitConfig
from qcore.formats.exports import EXPORTS, write
from qcore.formats.imports import read_allocations
from tests import configs
from tests.qcore.formats.gguf.language_nets import linear, llama, of

TOOLS = {"autoround": (2, 3, 4, 5, 6, 8), "gptqmodel": (2, 3, 4, 8)}


def linear_only(widths, model=None):
    """Bits for linear layers, embeddings in float."""
    spec = model or llama(11, words=320)
    made = of(spec, *widths, FLOAT_BITS).allocation
    bits = {
        layer.name: LayerBits(FLOAT_BITS) if layer.looks_up else made[layer.name]
        for layer in spec.layers
    }
    return BitConfig(spec, BitAllocation(bits))


def dynamic_get(dynamic, name):
    """GPTQModel's rule: in order, "-:" leaves a module out, any other key sets its values."""
    for pattern, values in dynamic.items():
        if pattern.startswith("-:"):
            if re.match(pattern.removeprefix("-:"), name):
                return False
        elif re.match(pattern.removeprefix("+:"), name):
            return values
    return None


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "turned round"])
def test_gptqmodel_finds_each_layers_bits_whatever_the_order(reverse):
    config = linear_only(TOOLS["gptqmodel"])
    document = json.loads(write(EXPORTS["gptqmodel"], config))
    entries = list(document["dynamic"].items())
    dynamic = dict(reversed(entries) if reverse else entries)
    for layer in config.model.layers:
        width, found = config.allocation[layer.name].weight, dynamic_get(dynamic, layer.name)
        if layer.kind != "linear":
            assert found is None
        elif width == FLOAT_BITS:
            assert found is False
        else:
            assert found == {"bits": width, "group_size": -1, "sym": True}
    assert dynamic_get(dynamic, "model.layers.111.mlp.up_proj") is None
    assert document["lm_head"] == (config.allocation["lm_head"].weight != FLOAT_BITS)
    assert document["bits"] in TOOLS["gptqmodel"]


def test_gptqmodels_patterns_match_hostile_names_alone():
    spec = configs.hostile_model()
    config = BitConfig(spec, BitAllocation.uniform(spec.layers, 4))
    dynamic = json.loads(write(EXPORTS["gptqmodel"], config))["dynamic"]
    for pattern in dynamic:
        assert sum(bool(re.match(pattern[2:], name)) for name in spec.names) == 1


def test_autoround_finds_each_layers_bits_by_its_full_name():
    config = linear_only(TOOLS["autoround"])
    found = json.loads(write(EXPORTS["autoround"], config))
    assert set(found) == {each.name for each in config.model.layers if each.kind == "linear"}
    # the keys of its QuantizationScheme that are used here
    assert {key for entry in found.values() for key in entry} <= {
        "bits", "group_size", "sym", "data_type", "act_bits"
    }  # fmt: skip
    for name, entry in found.items():
        width = config.allocation[name].weight
        assert entry["bits"] == (16 if width == FLOAT_BITS else width)
        assert entry["act_bits"] == 16


def attention(apart=False):
    """A block's attention, and layers whose names only look like it."""
    names = ("a.q_proj", "a.k_proj", "a.v_proj", "b*.q", "b*.k", "b*.v", "c.q_proj", "c.k_proj")
    spec = ModelSpec("attention", "0" * 64, tuple(linear(name, 32, 32) for name in names))
    bits = {name: LayerBits(4, 8) for name in names}
    bits["a.v_proj"] = LayerBits(6 if apart else 4, 8)
    return BitConfig(spec, BitAllocation(bits))


def test_modelopt_ties_queries_keys_and_values_of_one_width():
    quantization = pytest.importorskip("modelopt.torch.quantization")
    for apart in (False, True):
        config = attention(apart)
        content = write(EXPORTS["modelopt"], config)
        names = [entry["quantizer_name"] for entry in json.loads(content)["quant_cfg"]]
        assert ("a.[qkv]_proj.weight_quantizer" in names) is not apart
        assert ("a.v_proj.weight_quantizer" in names) is apart
        assert "b[*].[qkv].input_quantizer" in names
        assert "c.q_proj.weight_quantizer" in names
        assert list(read_allocations(content, config.model).choices.values()) == [config.allocation]
        told = EXPORTS["modelopt"].report(config)
        assert bool(told.get("not_fused")) is apart
        net = nn.ModuleDict(
            {"a": nn.ModuleDict({f"{each}_proj": nn.Linear(32, 32) for each in "qkv"})}
        )
        made = quantization.quantize(net, json.loads(content), None)
        for each in "qkv":
            bits = config.allocation[f"a.{each}_proj"]
            assert made["a"][f"{each}_proj"].weight_quantizer.num_bits == bits.weight
            assert made["a"][f"{each}_proj"].input_quantizer.num_bits == bits.activation


@pytest.mark.parametrize("tool", TOOLS)
def test_what_the_tool_cannot_hold_is_refused_in_words(tool):
    def refused(config):
        with pytest.raises(ExportRefused) as error:
            write(EXPORTS[tool], config)
        return str(error.value)

    assert "linear layers only: model.embed_tokens (embedding)" in refused(of(llama(1), 4))
    assert "no layer is quantized" in refused(of(llama(1), FLOAT_BITS))
    tied = refused(linear_only((4,), llama(1, words=320, tied=True)))
    assert "model.embed_tokens (tied_embedding)" in tied
    inputs = linear_only((4,), llama(1, words=320))
    bits = {name: LayerBits(each.weight, 32) for name, each in inputs.allocation.items()}
    bits["lm_head"] = LayerBits(4, 8)
    assert "activations of float" in refused(BitConfig(inputs.model, BitAllocation(bits)))
    for width in set(range(1, 19)) - set(TOOLS[tool]):
        assert "it holds weights of" in refused(linear_only((width,), llama(1, words=320)))


def test_autoround_would_leave_odd_sides_in_float():
    spec = ModelSpec("odd", "0" * 64, (linear("lm_head", 100, 64), linear("other", 64, 64)))
    with pytest.raises(ExportRefused, match="no multiple of 32: lm_head"):
        write(EXPORTS["autoround"], of(spec, 4))
    assert EXPORTS["autoround"].carries(of(spec, FLOAT_BITS, 4)) is None
