"""What is proposed as one fused operation is one in ONNX Runtime, and only at one width."""

import re
from collections import Counter
from dataclasses import replace

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from qcore.allocation import LayerBits
from qcore.formats.exports.torch_side import onnx_graph, onnx_qdq
from qcore.formats.exports.torch_side.parts import take_apart
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.rules.proposals import proposals
from qcore.rules.resolve import resolve
from tests import attention_nets
from tests.qcore.formats.exports.nets import images, measured

TITLE = "Convolutions and what reads their output"
TRACED = {}
"""Network to its float graph as ONNX."""


def conv(inputs, outputs=4):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Between(nn.Module):
    """What may lie between a convolution and its reader, and what may not."""

    def __init__(self):
        super().__init__()
        for name in ("relu", "pool", "relu6", "silu", "mean", "added", "flat"):
            setattr(self, name, conv(1 if name == "relu" else 4))
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(16, 3)

    def forward(self, x):
        x = torch.relu(self.relu(x))
        x = nn.functional.max_pool2d(torch.relu(self.norm(self.pool(x))), 2)
        x = nn.functional.relu6(self.relu6(x))
        x = nn.functional.silu(self.silu(x))
        x = nn.functional.avg_pool2d(torch.relu(self.mean(x)), 2)
        x = x + torch.relu(self.added(x))
        return self.head(torch.relu(self.flat(x)).flatten(1))


class Joined(nn.Module):
    """Convolutions that two read, that end in a concatenation, and that are read beside one."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right, self.alone = conv(1), conv(4), conv(4), conv(4)
        self.mixed, self.last = conv(8), conv(8)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        left, right = torch.relu(self.left(x)), torch.relu(self.right(x))
        x = torch.relu(self.mixed(torch.cat([left, right], 1)))
        return self.last(torch.cat([x, torch.relu(self.alone(x))], 1)).mean((2, 3))


def net(name):
    torch.manual_seed(0)
    if name == "resnet8":
        return load_model(name), images(4)
    return {"between": Between, "joined": Joined}[name]().eval(), images(4, (1, 8, 8))


def proposed(spec):
    return {p.title.partition(" (")[0]: p for p in proposals(spec)}


def kernels(name, folder, inputs):
    """Operators that ONNX Runtime makes of a network with weights of 8 bits, ties as proposed."""
    model, sample = net(name)
    case = measured(model, name, sample, lambda at: LayerBits(8, inputs[at]))
    ties = [tie.layers for p in proposals(case.config.model) for tie in p.ties]
    config = replace(case.config, model=case.config.model.sharing(ties))
    taken = take_apart(config, model)
    if name not in TRACED:  # which takes most of the time, and is the same at all bits
        TRACED[name] = onnx_graph.float_graph(taken, sample, 21).SerializeToString()
    graph = onnx.load_from_string(TRACED[name])
    made = onnx_qdq.write("onnx", 21, config, taken, graph, sample)
    assert made.report["optimised"]["argmax_agreement"] == 1
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    # further optimisations change how tensors lie in memory
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(made.content, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    return Counter(re.sub(r"\W", "", node.op_type) for node in nodes)


FUSED = {
    "resnet8": [
        ("layer1.0.conv1", "layer1.0.conv2"),
        ("layer2.0.conv1", "layer2.0.conv2"),
        ("layer3.0.conv1", "layer3.0.conv2"),
    ],
    "between": [("relu", "pool", "relu6", "silu"), ("flat", "head")],
    "joined": [("stem", "left", "right")],
}
INTEGER = {"resnet8": 3, "between": 4, "joined": 1}
"""Convolutions that are one integer operation where all is at 8 bits."""


@pytest.mark.parametrize("name", FUSED)
def test_what_is_proposed_is_what_the_runtime_fuses(name, tmp_path):
    model, sample = net(name)
    spec = find_layers(model, sample, name).spec
    found = proposed(spec)
    assert [tie.layers for tie in found[TITLE].ties] == FUSED[name]
    followed = {layer.follows for layer in spec.layers if layer.follows}
    for other in (8, 4):
        # every second layer at another width: what fuses reads and is read at 8 bits
        inputs = [other if at % 2 else 8 for at in range(len(spec.layers))]
        width = dict(zip(spec.names, inputs, strict=True))
        whole = [
            each
            for each in followed
            if spec.layers[spec.names.index(each)].kind == "conv2d"
            and {width[each], *(width[x.name] for x in spec.layers if x.follows == each)} == {8}
        ]
        assert kernels(name, tmp_path, inputs)["QLinearConv"] == len(whole)
        assert len(whole) == (INTEGER[name] if other == 8 else 0)


@pytest.mark.parametrize("bits", [3, 4])
def test_a_runtime_without_integer_kernels_for_narrow_inputs_starts_all_the_same(bits, tmp_path):
    found = kernels("between", tmp_path, [bits] * 8)
    assert found["QLinearConv"] == 0
    assert found["QuantizeLinear"] == 8


def test_query_key_and_value_are_one_group_of_a_transformer_that_fuses_no_convolution():
    found = proposed(attention_nets.found_in("vit").spec)
    assert TITLE not in found
    fused = found["Linear layers that read one tensor"]
    assert all(len(tie.layers) == 3 for tie in fused.ties)
    assert {tie.part for tie in fused.ties} == {"weight", "activation"}


@pytest.mark.parametrize("name", ["resnet8", "between", "joined"])
def test_the_proposal_can_be_taken(name):
    model, sample = net(name)
    spec = find_layers(model, sample, name).spec
    taken = proposed(spec)[TITLE]
    assert set(resolve(taken.rules, spec.layers, (4, 8), (4, 8)).ties) == set(taken.ties)
    assert "QLinearConv" in taken.reason


def test_facts_of_old_files_and_of_others_propose_nothing():
    spec = find_layers(*net("joined"), "joined").spec
    for follows in ("", "gone"):
        layers = tuple(replace(layer, follows=follows) for layer in spec.layers)
        assert TITLE not in proposed(replace(spec, layers=layers))
