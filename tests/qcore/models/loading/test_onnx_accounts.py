"""Every weight of an ONNX file is in the accounts, once, however it is stored."""

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from qcore.models.loading import load_network
from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel, float_gap
from tests.qcore.models.loading.test_onnx_file import body, save, tensor

CONV = {"pads": [1, 1, 1, 1]}


def node(op, inputs, output, **options):
    return helper.make_node(op, inputs, [output], **options)


def found_in(path, nodes, tensors, opset=17):
    loaded = load_network(
        "onnx", "", save(path / "n.onnx", nodes, tensors, opset=opset), None, None, {}
    )
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = find_layers(loaded.network, x, "net")
    # what is wrapped computes the same too
    assert float_gap(loaded.network, QuantizedModel(loaded.network, found), x) < 1e-5
    return found


BIASES = {"n": (3,), "row": (1, 3), "one": (1,), "one in a row": (1, 1), "number": ()}


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("turned", [0, 1])
def test_a_classifier_is_a_layer_whatever_the_shape_of_its_bias(tmp_path, bias, turned):
    gemm = node("Gemm", ["f", "g", "h"], "y", transB=turned, alpha=0.5, beta=2.0, name="head")
    shape = (3, 4) if turned else (4, 3)
    tensors = [tensor("w", 4, 1, 3, 3), tensor("b", 4), tensor("g", *shape),
               tensor("h", *BIASES[bias])]  # fmt: skip
    spec = found_in(tmp_path, [*body("f"), gemm], tensors).spec
    assert [(layer.kind, layer.weights) for layer in spec.layers] == [
        ("conv2d", 36),
        ("linear", 12),
    ]
    assert (spec.coverage, dict(spec.left_in_float)) == (1.0, {})


@pytest.mark.parametrize("bias", BIASES)
def test_a_product_and_a_sum_are_a_layer_whatever_the_shape_of_the_sum(tmp_path, bias):
    nodes = [*body("f"), node("MatMul", ["f", "g"], "m"), node("Add", ["h", "m"], "y")]
    tensors = [tensor("w", 4, 1, 3, 3), tensor("b", 4), tensor("g", 4, 3),
               tensor("h", *BIASES[bias])]  # fmt: skip
    spec = found_in(tmp_path, nodes, tensors).spec
    assert [layer.kind for layer in spec.layers] == ["conv2d", "linear"]
    assert spec.coverage == 1.0


def test_a_matrix_that_stays_a_plain_product_is_left_in_float(tmp_path):
    nodes = [*body("f"), node("Gemm", ["f", "g"], "y0", name="head"),
             node("Unsqueeze", ["y0", "axis"], "u"), node("MatMul", ["k", "u"], "v"),
             node("Squeeze", ["v", "axis"], "y")]  # fmt: skip
    axis = numpy_helper.from_array(np.array([2]), "axis")
    tensors = [tensor("w", 4, 1, 3, 3), tensor("b", 4), tensor("g", 4, 3), tensor("k", 3, 3), axis]
    spec = found_in(tmp_path, nodes, tensors).spec
    assert list(spec.left_in_float.values()) == [9]
    assert spec.coverage == pytest.approx((36 + 12) / (36 + 12 + 9))


@pytest.mark.parametrize("through", ["name", "identity"])
@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul", "padded"])
def test_one_stored_tensor_in_two_nodes_is_one_layer(tmp_path, through, op):
    again = ["w2", "b2"]
    nodes = [node("Conv", ["x", "w", "b"], "c0", name="first", **CONV)]
    if through == "identity":
        nodes += [node("Identity", [name], f"{name}_again") for name in again]
        again = [f"{name}_again" for name in again]
    tensors = [tensor("w", 4, 1, 3, 3), tensor("b", 4), tensor("g", 3, 4), tensor("b2", 4)]
    flat = [node("GlobalAveragePool", ["c0"], "p"), node("Flatten", ["p"], "f0")]
    if op in ("Conv", "padded"):
        tensors.append(tensor("w2", 4, 4, 3, 3))
        pads = CONV if op == "Conv" else {"pads": [0, 0, 2, 2]}
        nodes += [node("Conv", ["c0", "w2", "b2"], "c1", name="one", **pads),
                  node("Relu", ["c1"], "r"),
                  node("Conv", ["r", *again], "c2", name="two", **pads),
                  node("GlobalAveragePool", ["c2"], "p"), node("Flatten", ["p"], "f")]  # fmt: skip
        weights = 144
    else:
        tensors.append(tensor("w2", 4, 4))
        nodes += flat
        for number, (weight, bias) in enumerate([("w2", "b2"), again]):
            source, end = f"f{number}", "f" if number else "f1"
            if op == "Gemm":
                nodes.append(node("Gemm", [source, weight, bias], end, name=f"fc{number}"))
            else:
                nodes += [node("MatMul", [source, weight], f"m{number}", name=f"fc{number}"),
                          node("Add", [f"m{number}", bias], end)]  # fmt: skip
        weights = 16
    nodes.append(node("Gemm", ["f", "g"], "y", transB=1, name="head"))
    found = found_in(tmp_path, nodes, tensors)
    assert [layer.weights for layer in found.spec.layers] == [36, weights, 12]
    assert found.spec.left_in_float == {}
    twice = found.spec.layers[1]
    assert len(found.aliases[twice.name]) == 1
    assert twice.macs == 2 * (weights * 64 if weights == 144 else weights)


@pytest.mark.parametrize("biases", ["shared", "own", "none"])
def test_one_stored_tensor_read_at_several_strides_is_one_layer(tmp_path, biases):
    names = {"shared": ("b2", "b2"), "own": ("b2", "b3"), "none": (None, None)}[biases]
    nodes = [node("Conv", ["x", "w", "b"], "c0", name="first", **CONV)]
    ways = ({"pads": [1] * 4}, {"pads": [1] * 4, "strides": [2, 2]})
    for number, (bias, way) in enumerate(zip(names, ways, strict=True)):
        given = ["c0", "w2", *([bias] if bias else [])]
        nodes += [node("Conv", given, f"c{number + 1}", name=f"way{number}", **way),
                  node("GlobalAveragePool", [f"c{number + 1}"], f"p{number}")]  # fmt: skip
    nodes += [node("Add", ["p0", "p1"], "p"), node("Flatten", ["p"], "f"),
              node("Gemm", ["f", "g"], "y", transB=1, name="head")]  # fmt: skip
    tensors = [tensor("w", 4, 1, 3, 3), tensor("b", 4), tensor("g", 3, 4), tensor("w2", 4, 4, 3, 3)]
    tensors += [tensor(name, 4) for name in dict.fromkeys(names) if name]
    found = found_in(tmp_path, nodes, tensors)
    assert [layer.weights for layer in found.spec.layers] == [36, 144, 12]
    assert found.readers == {"way0": ("way1",)}
    assert (found.spec.layers[1].macs, found.spec.coverage) == (144 * (64 + 16), 1.0)
    assert found.spec.layers[1].biases == {"shared": 4, "own": 8, "none": 0}[biases]


def test_a_weight_that_is_turned_for_each_of_its_readers_is_one_layer(tmp_path):
    nodes = [node("Conv", ["x", "w", "b"], "c0", name="first", **CONV),
             node("GlobalAveragePool", ["c0"], "p"), node("Flatten", ["p"], "f0")]  # fmt: skip
    for number in range(2):
        nodes += [node("Transpose", ["w2"], f"t{number}", perm=[1, 0]),
                  node("MatMul", [f"f{number}", f"t{number}"], f"f{number + 1}",
                       name=f"fc{number}")]  # fmt: skip
    nodes.append(node("Gemm", ["f2", "g"], "y", transB=1, name="head"))
    tensors = [tensor("w", 4, 1, 3, 3), tensor("b", 4), tensor("g", 3, 4), tensor("w2", 4, 4)]
    found = found_in(tmp_path, nodes, tensors)
    assert [layer.weights for layer in found.spec.layers] == [36, 16, 12]


def test_equal_weights_stored_twice_stay_two_layers(tmp_path):
    w = tensor("w1", 1, 1, 3, 3)
    twin = numpy_helper.from_array(numpy_helper.to_array(w), "w2")
    nodes = [node("Conv", ["x", "w1"], "c", name="one", **CONV),
             node("Conv", ["c", "w2"], "d", name="two", **CONV),
             node("GlobalAveragePool", ["d"], "p"), node("Flatten", ["p"], "f"),
             node("Gemm", ["f", "g"], "y", name="head")]  # fmt: skip
    spec = found_in(tmp_path, nodes, [w, twin, tensor("g", 1, 2)]).spec
    assert [layer.weights for layer in spec.layers] == [9, 9, 2]
