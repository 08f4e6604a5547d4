"""Sizes that an ONNX file computes become numbers, so that the network can be followed."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from qcore.allocation import LayerBits
from qcore.formats.exports import EXPORTS, write_with_model
from qcore.models.loading.onnx.file import read_onnx
from qcore.network.layers import find_layers
from tests.qcore.formats.exports.nets import measured

RNG = np.random.default_rng(0)


class Residual(nn.Module):
    """A residual addition, channels shuffled by reshapes, sliced, and flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        x = functional.relu(self.first(x))
        x = x + self.second(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(functional.adaptive_avg_pool2d(x, 4)[:, : c // 2].reshape(n, -1))


def residual():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Residual().eval()


@pytest.fixture(scope="module", params=["open", "fixed"])
def exported(request, tmp_path_factory):
    """The network as torch's older exporter writes it, the batch size open or fixed at one."""
    path = tmp_path_factory.mktemp("onnx") / "n.onnx"
    axes = {"x": {0: "n"}} if request.param == "open" else None
    torch.onnx.export(
        residual(), (torch.rand(1, 3, 16, 16),), path, input_names=["x"], dynamic_axes=axes,
        dynamo=False,
    )  # fmt: skip
    return path


@pytest.mark.filterwarnings("ignore")
def test_every_layer_knows_who_feeds_it(exported):
    read = read_onnx(exported)
    assert read.converter == "onnx2torch"
    found = find_layers(read.network, torch.zeros(1, 3, 16, 16), "n")
    first, second, _ = found.spec.names
    assert found.exported
    assert [layer.producers for layer in found.spec.layers] == [(), (first,), (first, second)]
    assert found.spec.coverage == 1.0
    x = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(read.network(x), residual()(x), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_network_from_an_onnx_file_leaves_as_one(exported):
    network = read_onnx(exported).network
    sample = torch.rand(9, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    made = measured(network, "mine", sample, lambda i: LayerBits((8, 4, 3)[i % 3], 8))
    report = write_with_model(EXPORTS["onnx"], made.config, made.model, sample).report
    assert report["n"] == 9
    assert report["median_abs_diff"] < 1e-5
    assert report["argmax_agreement"] == 1.0


def tensor(name, *shape):
    return numpy_helper.from_array(RNG.normal(size=shape).astype(np.float32), name)


def numbers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def test_operators_of_newer_sets_are_computed_by_older_ones(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Gelu", ["c"], ["g"], name="gelu"),
        helper.make_node("Pad", ["g", "around"], ["p"], name="pad"),
        helper.make_node("Pad", ["p", "nothing"], ["q"], name="none", mode="edge"),
        helper.make_node("ReduceMean", ["q", "axes"], ["m"], name="mean", keepdims=1),
        helper.make_node("Reshape", ["m", "flat"], ["f"], name="flat", allowzero=1),
        helper.make_node("Gemm", ["f", "h"], ["y"], name="head", transB=1),
    ]
    tensors = [
        tensor("w", 4, 1, 3, 3), tensor("h", 3, 4), numbers("axes", 2, 3), numbers("flat", -1, 4),
        numbers("around", 0, 0, 1, 2, 0, 0, 0, 3), numbers("nothing", *[0] * 8),
    ]  # fmt: skip
    followed(save(tmp_path / "n.onnx", nodes, tensors), ["conv", "head"])


def test_a_class_token_is_repeated_for_each_image(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="patches", strides=[4, 4]),
        helper.make_node("Shape", ["c"], ["s"], name="shape"),
        helper.make_node("Slice", ["s", "0", "1"], ["n"], name="batch"),
        helper.make_node("Concat", ["n", "4", "-1"], ["places"], name="places", axis=0),
        helper.make_node("Reshape", ["c", "places"], ["p"], name="sequence"),
        helper.make_node("Concat", ["n", "4", "1"], ["one"], name="one", axis=0),
        helper.make_node("Expand", ["token", "one"], ["t"], name="token"),
        helper.make_node("Concat", ["t", "p"], ["tp"], name="both", axis=2),
        helper.make_node("Gather", ["tp", "place"], ["f"], name="second", axis=2),
        helper.make_node("Gemm", ["f", "h"], ["y"], name="head", transB=1),
    ]
    tensors = [
        tensor("w", 4, 1, 4, 4), tensor("h", 3, 4), tensor("token", 1, 4, 1), numbers("0", 0),
        numbers("1", 1), numbers("4", 4), numbers("-1", -1),
        numpy_helper.from_array(np.array(1, np.int64), "place"),
    ]  # fmt: skip
    followed(save(tmp_path / "n.onnx", nodes, tensors), ["patches", "head"])


def save(path, nodes, tensors):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "net", [x], [y], tensors)
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def followed(path, names):
    read = read_onnx(path)
    assert read.converter == "onnx2torch"
    assert read.difference < 1e-5
    found = find_layers(read.network, torch.zeros(1, 1, 8, 8), "n")
    assert found.exported
    assert list(found.spec.names) == names
    assert found.spec.layers[1].producers == (names[0],)
