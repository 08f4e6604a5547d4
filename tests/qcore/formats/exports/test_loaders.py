"""Files for tools that are not installed here hold just what those tools' own loaders read.

What a loader does is written down anew from its source; docs/exports.md names files and commits.
"""

import json
import runpy

import pytest
import torch
from torch import nn

import qcore.models._torchvision
from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.formats.config import BitConfig
from qcore.formats.exports import EXPORTS, write
from qcore.formats.exports.hawq_names import architecture
from qcore.models.zoo import load_model
from tests import configs
from tests.qcore.formats.exports.nets import odd, residual

UNITS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def imagenet(name):
    """A configuration of a torchvision network: units share the width of their input."""
    with torch.device("meta"):
        model = qcore.models._torchvision.torchvision.models.get_model(name)
    layers = (nn.Conv2d, nn.Linear)
    names = [n for n, module in model.named_modules() if isinstance(module, layers)]
    spec = ModelSpec(
        f"my-{name}", "0" * 64, tuple(LayerSpec(n, "conv2d", 12, 3, 3, 4, 4, 3) for n in names)
    )
    inputs = {n: 2 + len(n.replace("downsample.0", "conv1")) % 7 for n in names}
    bits = {n: LayerBits(2 + at % 7, inputs[n]) for at, n in enumerate(names)}
    return BitConfig(spec, BitAllocation(bits))


def hawq_network(name):
    """Modules under the names of HAWQ's Q_ResNet classes; widths unset."""

    def quantizer(kind):
        module = nn.Module()
        setattr(module, kind, None)
        return module

    deep = name != "resnet18"
    net = nn.Module()
    for part in ("quant_input", "quant_act_int32", "quant_act_output"):
        setattr(net, part, quantizer("activation_bit"))
    setattr(
        net, "quant_init_convbn" if deep else "quant_init_block_convbn", quantizer("weight_bit")
    )
    net.quant_output = quantizer("weight_bit")
    for stage, units in enumerate(UNITS[name], 1):
        for unit in range(1, units + 1):
            inside = nn.Module()
            for number in ("", "1", "2") if deep else ("", "1"):
                setattr(inside, f"quant_act{number}", quantizer("activation_bit"))
                following = int(number or 0) + 1
                setattr(inside, f"quant_convbn{following}", quantizer("weight_bit"))
            inside.quant_act_int32 = quantizer("activation_bit")
            if unit == 1 and (deep or stage > 1):
                inside.quant_identity_convbn = quantizer("weight_bit")
            setattr(net, f"stage{stage}.unit{unit}", inside)
    return net


@pytest.mark.parametrize("name", UNITS)
def test_hawq_finds_every_module_of_its_network_and_no_width_is_left_out(name, tmp_path):
    config = imagenet(name)
    path = tmp_path / "bit_config.py"
    path.write_bytes(write(EXPORTS["hawq"], config))
    entry = runpy.run_path(str(path))["bit_config_dict"][f"bit_config_{name}_bitdial"]
    found = {}
    for place, module in hawq_network(name).named_modules():
        if place in entry:
            kind = "activation_bit" if hasattr(module, "activation_bit") else "weight_bit"
            found[place] = (kind, entry[place])
        else:
            assert not {"activation_bit", "weight_bit"} & set(vars(module)), place
    assert len(found) == len(entry)
    weights = [width for kind, width in found.values() if kind == "weight_bit"]
    wanted = [bits.weight for bits in config.allocation.values()]
    assert sorted(weights) == sorted(wanted)
    assert found["quant_output"] == ("weight_bit", config.allocation["fc"].weight)
    assert found["stage2.unit1.quant_identity_convbn"] == (
        "weight_bit",
        config.allocation["layer2.0.downsample.0"].weight,
    )


def test_a_network_that_hawq_has_no_class_for_is_named_as_such():
    assert architecture(configs.RESNET8.names) is None
    bits = BitAllocation.uniform(configs.RESNET8.layers, 4, 8)
    text = write(EXPORTS["hawq"], BitConfig(configs.RESNET8, bits)).decode()
    assert "no class for this network" in text


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "mobilenet"])
def test_haq_gives_each_pair_to_the_layer_it_was_meant_for(name):
    spec = {"resnet8": configs.RESNET8, "resnet20": configs.RESNET20}.get(name, configs.MOBILENET)
    bits = configs.allocation(spec, range(2, 9), (1, 4, 8, 32))
    strategy = json.loads(write(EXPORTS["haq"], BitConfig(spec, bits)))
    model = load_model(name)
    places = [n for n, m in model.named_modules() if type(m) in (nn.Conv2d, nn.Linear)]
    assert len(places) == len(strategy)
    for place, (weight, activation) in zip(places, strategy, strict=True):
        assert weight == bits[place].weight
        assert activation == (-1 if bits[place].activation == 32 else bits[place].activation)


def test_haq_refuses_layers_it_does_not_count_and_signed_inputs_of_one_bit():
    assert "kind conv1d" in EXPORTS["haq"].carries(odd().config)
    bits = configs.allocation(configs.RESNET8, (4,), (1,))
    made = configs.config(bits=bits)
    assert EXPORTS["haq"].carries(made) is None
    made.state["conv1"]["activation_grid"][1] = -1
    assert "both signs and 1 bit" in EXPORTS["haq"].carries(made)


def test_model_explorer_finds_every_weight_in_the_exported_graph():
    # its adapter calls a parameter's node by the name of its placeholder, and the graph "graph"
    case = residual()
    program = torch.export.export(case.model, (case.sample[:1],))
    nodes = {node.name for node in program.graph.nodes if node.op == "placeholder"}
    document = json.loads(write(EXPORTS["model_explorer"], case.config))
    results = document["graph"]["results"]
    found = {name: entry["value"] for name, entry in results.items() if name in nodes}
    wanted = {
        f"p_{name.replace('.', '_')}_weight": bits.weight
        for name, bits in case.config.allocation.items()
    }
    assert found == wanted
