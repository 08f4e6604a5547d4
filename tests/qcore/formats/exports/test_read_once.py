"""A tensor that tied layers read is quantized once in ONNX and QONNX files."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from qcore.allocation import FLOAT16, LayerBits
from qcore.formats.exports.torch_side import onnx_graph, onnx_qdq, qonnx
from qcore.formats.exports.torch_side.parts import take_apart
from qcore.models.zoo import load_model
from tests.qcore.formats.exports.nets import Case, images, measured
from tests.variants import crossed

OPSETS = {"onnx8": 18, "onnx": 21, "onnx2": 25, "qonnx": 18}


class Attention(nn.Module):
    """Query, key and value of one tensor, without their names in a module of torch's."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        return self.out(torch.softmax(scores, -1) @ self.v(x)).mean(1)


def resnet():
    """Weights of all widths, inputs of 8, 6 and 4 bits or float, the same where read twice."""
    inputs = (8, 4, 8, 4, 6, 4, 8, 32, 8, 32)
    bits = [LayerBits((2, 3, 4, 8)[at % 4], width) for at, width in enumerate(inputs)]
    return measured(load_model("resnet8"), "resnet8", images(), bits.__getitem__)


def attention(inputs=6):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Attention().eval()
    return measured(model, "attention", images(6, (5, 8)) - 0.5, lambda i: LayerBits(4, inputs))


NETS = {"resnet": resnet, "attention": attention}
TIES = {
    "resnet": [tuple(f"layer{n}.0.{end}" for end in ("conv1", "shortcut.0")) for n in (2, 3)],
    "attention": [("q", "k", "v")],
}


@cache
def net(name) -> Case:
    return NETS[name]()


@cache
def traced(name):
    case = net(name)
    taken = take_apart(case.config, case.model)
    return taken, onnx_graph.float_graph(taken, case.sample, 21).SerializeToString()


def written(name, form, ties, taken=None):
    case = net(name)
    config = replace(case.config, model=case.config.model.sharing(ties))
    whole, graph = traced(name)
    model = onnx.load_from_string(graph)
    opset = OPSETS[form]
    model.opset_import[0].version, model.ir_version = opset, onnx_graph.IR_VERSIONS[opset]
    taken = taken or whole
    if form == "qonnx":
        return qonnx.write(config, taken, model, case.sample)
    return onnx_qdq.write(form, opset, config, taken, model, case.sample)


def entries(file):
    """Readers of each tensor of activations that is quantized, by the layer it is named after."""
    graph = onnx.load_from_string(file.content).graph
    ends = {
        node.output[0]: node.name.partition(".input.")[0]
        for node in graph.node
        if node.op_type in ("DequantizeLinear", "Quant") and ".input." in node.name
    }
    return Counter(ends[i] for node in graph.node for i in node.input if i in ends)


@pytest.mark.parametrize(("name", "form"), crossed(NETS, OPSETS))
def test_tied_layers_read_one_quantized_tensor_and_the_logits_stay(name, form):
    alone, tied = written(name, form, []), written(name, form, TIES[name])
    quantized = [n for n, bits in net(name).config.allocation.items() if bits.activation != 32]
    assert entries(alone) == Counter(quantized)
    groups = TIES[name]
    wanted = Counter(quantized)
    for first, *others in groups:
        wanted[first] += len(others)
        for other in others:
            del wanted[other]
    found = entries(tied)
    assert sorted(found.values()) == sorted(wanted.values())
    assert "quantized_once" not in alone.report
    once = tied.report["quantized_once"]
    assert {frozenset([*[k for k, v in once.items() if v == at], at]) for at in once.values()} == {
        frozenset(group) for group in groups
    }
    assert "quantized_apart" not in tied.report
    assert tied.report["median_abs_diff"] < 1e-5
    assert tied.report["argmax_agreement"] == 1
    # not about as good: the same numbers
    assert tied.report["max_abs_diff"] == pytest.approx(alone.report["max_abs_diff"], abs=1e-6)
    assert tied.report["bytes"] < alone.report["bytes"]


def test_only_what_is_tied_is_shared():
    # one of two tensors, though the other's readers have equal widths too
    file = written("resnet", "onnx", TIES["resnet"][1:])
    assert sorted(file.report["quantized_once"]) in (["layer3.0.conv1"], ["layer3.0.shortcut.0"])
    readers = entries(file)
    assert {"layer2.0.conv1", "layer2.0.shortcut.0"} <= set(readers)
    # two of three
    assert sorted(entries(written("attention", "onnx", [("q", "v")])).values()) == [1, 1, 2]


def test_levels_of_their_own_stay_apart_and_the_report_names_them():
    taken, _ = traced("attention")
    grid = taken.parts["v"].grid
    other = replace(grid, step=grid.step * 2)
    parts = {**taken.parts, "v": replace(taken.parts["v"], grid=other)}
    file = written("attention", "onnx8", TIES["attention"], replace(taken, parts=parts))
    assert file.report["quantized_apart"] == ["v"]
    assert sorted(entries(file).values()) == [1, 1, 2]
    steps = {
        i.name: float(onnx.numpy_helper.to_array(i))
        for i in onnx.load_from_string(file.content).graph.initializer
        if i.name.endswith(".input.scale")
    }
    assert steps["v.input.scale"] == np.float32(other.step)


def test_inputs_in_half_precision_are_rounded_once_too():
    case = attention(FLOAT16)
    taken = take_apart(case.config, case.model)
    graph = onnx_graph.float_graph(taken, case.sample, 21).SerializeToString()
    rounded = []
    for ties in ([], TIES["attention"]):
        config = replace(case.config, model=case.config.model.sharing(ties))
        model = onnx.load_from_string(graph)
        file = onnx_qdq.write("onnx", 21, config, taken, model, case.sample)
        nodes = onnx.load_from_string(file.content).graph.node
        rounded.append(sum(node.name.endswith(".input.half") for node in nodes))
        assert file.report["argmax_agreement"] == 1
        assert file.report["median_abs_diff"] < 1e-5
    assert rounded == [4, 2]
