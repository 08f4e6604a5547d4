"""Operators of ONNX, in old sets and new ones, compute here what onnxruntime computes."""

from itertools import product

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from qcore.models.loading.onnx.file import read_onnx
from qcore.models.loading.onnx.resizing import PLACES, REPEATING, ROUNDS, Resize
from qcore.network.layers import find_layers

N = helper.make_node
HALVES = ("half_pixel", "pytorch_half_pixel")
"""Ways to resize linearly that are torch's own."""


def w(name, *shape, seed=0):
    values = np.random.default_rng(seed + len(name)).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values * 0.3, name)


def of(name, *values, kind=np.int64):
    return numpy_helper.from_array(np.array(values, kind), name)


def net(path, middle, tensors=(), opset=17, shape=(4, 8, 8), last="Flatten"):
    """A convolution, what is tried (c to m), and its values in rows."""
    kernel = [1] * (len(shape) - 1)
    nodes = [N("Conv", ["x", "w"], ["c"], name="conv", kernel_shape=kernel), *middle]
    nodes.append(N(last, ["m"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", None])
    tensors = [w("w", 4, shape[0], *kernel), *tensors]
    graph = helper.make_graph(nodes, "net", [x], [y], tensors)
    ir = 13 if opset > 21 else 8
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.save(model, path)
    return path


def one(op, *tensors, opset=17, shape=(4, 8, 8), after=(), **told):
    """A case of one operator on the convolution's output, with stored tensors behind it."""
    node = N(op, ["c", *(t if isinstance(t, str) else t.name for t in tensors)], ["m"], **told)
    stored = [t for t in tensors if not isinstance(t, str)]
    return ([node, *after], stored, opset, shape)


def pad(*amounts, mode="constant", value=None, shape=(4, 8, 8), opset=17):
    more = [] if value is None else [of("v", value, kind=np.float32)]
    if value is not None:
        more = [numpy_helper.from_array(np.array(value, np.float32), "v")]
    return one("Pad", of("pads", *amounts), *more, mode=mode, shape=shape, opset=opset)


def resize(mode, place, scale=None, size=None, opset=17, **told):
    roi, none = of("roi", kind=np.float32), of("none", kind=np.float32)
    sizes = [of("factors", 1, 1, *scale, kind=np.float32)] if scale else [none]
    told = {"mode": mode, "coordinate_transformation_mode": place, **told}
    if not size:
        return one("Resize", roi, *sizes, opset=opset, **told)
    shape = [
        N("Shape", ["c"], ["s"]), N("Slice", ["s", "z", "t"], ["nc"]),
        N("Concat", ["nc", "hw"], ["all"], axis=0),
        N("Resize", ["c", "", "", "all"], ["m"], **told),
    ]  # fmt: skip
    return (shape, [of("z", 0), of("t", 2), of("hw", *size)], opset, (4, 8, 8))


def norm(opset):
    return one(
        "BatchNormalization", w("scale", 4), w("shift", 4), w("mean", 4),
        of("var", 0.5, 1, 2, 1.5, kind=np.float32), opset=opset,
    )  # fmt: skip


CASES = {
    "reflect": pad(0, 0, 1, 2, 0, 0, 0, 3, mode="reflect"),
    "edge": pad(0, 0, 1, 2, 0, 0, 0, 3, mode="edge"),
    "channels": pad(0, 1, 1, 0, 0, 2, 0, 1, mode="edge"),
    "a value": pad(0, 0, 1, 2, 0, 0, 0, 3, value=0.7),
    "cut": pad(0, 0, -1, 2, 0, 0, 0, -3),
    "wrap": pad(0, 0, 1, 2, 0, 0, 0, 3, mode="wrap", opset=19),
    "sequences": pad(0, 0, 3, 0, 0, 2, mode="reflect", shape=(4, 8)),
    "old padding": one("Pad", opset=9, pads=[0, 0, 1, 2, 0, 0, 0, 3], mode="reflect"),
    "nearest": resize("nearest", "asymmetric", (2, 2), nearest_mode="floor"),
    "nearest, half": resize("nearest", "half_pixel", (1.5, 2.5)),
    "nearest, up": resize("nearest", "half_pixel", (0.6, 3), nearest_mode="round_prefer_ceil"),
    "nearest to a size": resize("nearest", "asymmetric", size=(11, 5), nearest_mode="floor"),
    "linear": resize("linear", "half_pixel", (2, 3)),
    "linear, corners": resize("linear", "align_corners", (2, 1.7)),
    "linear, torch": resize("linear", "pytorch_half_pixel", size=(16, 1)),
    "linear, smaller": resize("linear", "asymmetric", (0.5, 0.75)),
    "old nearest": one(
        "Upsample", of("factors", 1, 1, 2, 3, kind=np.float32), opset=9, mode="nearest"
    ),
    "older nearest": one("Upsample", opset=7, scales=[1.0, 1.0, 2.0, 3.0], mode="nearest"),
    "old linear": one(
        "Upsample", of("factors", 1, 1, 2, 2, kind=np.float32), opset=9, mode="linear"
    ),
    "resize of set 10": one("Resize", of("factors", 1, 1, 2, 3, kind=np.float32), opset=10),
    "same, upper": one("MaxPool", opset=17, kernel_shape=[3, 2], strides=[2, 2],
                       auto_pad="SAME_UPPER"),
    "same, lower": one("MaxPool", opset=17, kernel_shape=[3, 3], strides=[2, 2],
                       auto_pad="SAME_LOWER"),
    "same, mean": one("AveragePool", opset=17, kernel_shape=[3, 3], strides=[1, 1],
                      auto_pad="SAME_UPPER"),
    "largest of all": one("GlobalMaxPool"),
    "blocks": one("SpaceToDepth", blocksize=2),
    "triangle": one("Trilu", upper=0),
    "no dropout": one("Dropout", opset=17),
    "smooth": one("Mish", opset=18),
    "groups": one("GroupNormalization", w("scale", 4), w("shift", 4), opset=21, num_groups=2),
    "norm of set 7": norm(7),
    "norm of set 9": norm(9),
    "pool of set 7": one("MaxPool", opset=7, kernel_shape=[2, 2], strides=[2, 2]),
    "dropout of set 7": one("Dropout", opset=7),
    "softmax of set 7": one("Softmax", opset=7, axis=1),
    "softmax of set 11": one("Softmax", opset=11, axis=1),
    "sum of set 7": one("Sum", "c", opset=7),
    "clip of set 7": one("Clip", opset=7, min=-0.2, max=0.3),
    "mean of set 18": one("ReduceMean", of("axes", 2, 3), opset=18),
    "relu of set 25": one("Relu", opset=25),
    "reshape of set 25": one("Reshape", of("sizes", 0, 2, -1), opset=25),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_operator_computes_the_same_and_the_layer_before_it_is_found(case, tmp_path):
    middle, tensors, opset, shape = CASES[case]
    read = read_onnx(net(tmp_path / "n.onnx", middle, tensors, opset, shape))
    assert read.difference < 1e-4
    assert read.converter == "onnx2torch"
    example = torch.zeros(1, *shape)
    found = find_layers(torch.nn.Sequential(read.network), example, "n")
    assert [layer.weights for layer in found.spec.layers] == [4 * shape[0]]
    assert found.exported


def head(bias, **told):
    nodes = [N("Flatten", ["x"], ["f"]), N("Gemm", ["f", "g", "b"], ["y"], name="head", **told)]
    return nodes, bias


BIASES = {"one row": (1, 3), "one number": (1,), "no dimension": (), "plain": (3,)}


@pytest.mark.parametrize("shape", BIASES.values(), ids=BIASES.keys())
@pytest.mark.parametrize("turned", [0, 1])
def test_a_head_is_a_layer_whatever_the_shape_of_its_bias(shape, turned, tmp_path):
    nodes, bias = head(w("b", *shape), transB=turned, alpha=0.5, beta=2.0)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    tensors = [w("g", *((3, 8) if turned else (8, 3))), bias]
    graph = helper.make_graph(nodes, "net", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "n.onnx")
    read = read_onnx(tmp_path / "n.onnx")
    assert read.difference < 1e-5
    spec = find_layers(read.network, torch.zeros(1, 2, 4), "n").spec
    assert [(layer.name, layer.weights) for layer in spec.layers] == [("head", 24)]


@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_an_addition_of_one_row_is_the_bias_of_the_product_before(shape, tmp_path):
    nodes = [N("MatMul", ["x", "g"], ["p"], name="head"), N("Add", ["p", "b"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5, 3])
    graph = helper.make_graph(nodes, "net", [x], [y], [w("g", 8, 3), w("b", *shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "n.onnx")
    read = read_onnx(tmp_path / "n.onnx")
    spec = find_layers(torch.nn.Sequential(read.network), torch.zeros(1, 5, 8), "n").spec
    assert [(layer.weights, layer.biases) for layer in spec.layers] == [(24, 3)]


@pytest.mark.parametrize("rounding", ROUNDS)
@pytest.mark.parametrize("place", PLACES)
def test_torchs_own_resizing_is_taken_only_for_the_same_neighbours(place, rounding, monkeypatch):
    own, used = functional.interpolate, []
    monkeypatch.setattr(functional, "interpolate", lambda *a, **k: used.append(1) or own(*a, **k))
    for old, factor, linear in product((1, 3, 5), (0.5, 1.5, 2, 3, 4, 8), (False, True)):
        layer = Resize({2: factor, 3: 2.0}, {}, linear, place, rounding)
        x = torch.rand(2, 3, old + 1, old, generator=torch.Generator().manual_seed(old))
        found, by_axis = layer(x), x
        for axis, scale in ((2, factor), (3, 2.0)):
            size = x.shape[axis]
            by_axis = layer._along(by_axis, axis, size, int(size * scale + 1e-6), scale)
        assert found.shape == by_axis.shape
        assert (found - by_axis).abs().max() <= (1e-6 if linear else 0)
    assert bool(used) == ((place, rounding) in REPEATING or place in HALVES)
