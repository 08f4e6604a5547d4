"""ONNX files become networks that compute what onnxruntime computes, or are refused in words."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import DataUnavailable, InvalidConfig, UnsupportedModel
from qcore.judges import CLASSES
from qcore.judges.classes import Classes
from qcore.models.loading import load_network
from qcore.models.loading.onnx.file import CONVERTERS, read_onnx
from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel

RNG = np.random.default_rng(0)


def tensor(name, *shape):
    return numpy_helper.from_array(RNG.normal(size=shape).astype(np.float32), name)


def save(path, nodes, tensors, inputs=(("x", ("n", 1, 8, 8)),), opset=17, outputs=("y",)):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, None]) for n in outputs],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(model, path)
    return path


def body(end="y"):
    """Convolution, its bias shared through an Identity, clip with constants, pooling."""
    return [
        helper.make_node("Identity", ["b"], ["shared"]),
        helper.make_node("Conv", ["x", "w", "shared"], ["c"], name="/first/first.0/Conv",
                         pads=[1, 1, 1, 1]),
        helper.make_node("Constant", [], ["low"], value=numpy_helper.from_array(np.float32(0))),
        helper.make_node("Constant", [], ["high"], value=numpy_helper.from_array(np.float32(6))),
        helper.make_node("Clip", ["c", "low", "high"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], [end]),
    ]  # fmt: skip


def net(path, opset=17):
    nodes = [*body("f"), helper.make_node("Gemm", ["f", "g", "h"], ["y"], transB=1, name="head")]
    return save(
        path,
        nodes,
        [tensor("w", 4, 1, 3, 3), tensor("b", 4), tensor("g", 3, 4), tensor("h", 3)],
        opset=opset,
    )


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_a_file_is_converted_and_agrees_with_onnxruntime(tmp_path, opset):
    read = read_onnx(net(tmp_path / "n.onnx", opset))
    assert read.input_shape == (1, 8, 8)
    assert read.difference < 1e-5
    found = find_layers(read.network, torch.zeros(1, 1, 8, 8), "n")
    assert [layer.kind for layer in found.spec.layers] == ["conv2d", "linear"]
    assert found.spec.names == ("first_first_0_Conv", "head")
    assert found.spec.coverage == 1.0
    assert read_onnx(tmp_path / "n.onnx", None, read.converter).converter == read.converter


def test_a_converted_network_can_be_quantized_and_switched(tmp_path):
    network = read_onnx(net(tmp_path / "n.onnx")).network
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = find_layers(network, x, "n")
    model = QuantizedModel(network, found)
    full = BitAllocation(dict.fromkeys(found.spec.names, LayerBits(32, 32)))
    model.set_allocation(full)
    assert torch.allclose(model(x), network(x), atol=1e-6)
    model.set_allocation(BitAllocation(dict.fromkeys(found.spec.names, LayerBits(2, 32))))
    assert not torch.allclose(model(x), network(x), atol=1e-3)


def test_a_product_with_a_stored_matrix_is_a_linear_layer(tmp_path):
    nodes = [
        *body("f"),
        helper.make_node("MatMul", ["f", "m"], ["k"], name="product"),
        helper.make_node("Add", ["h", "k"], ["y"]),
    ]
    tensors = [tensor("w", 4, 1, 3, 3), tensor("b", 4), tensor("m", 4, 3), tensor("h", 3)]
    read = read_onnx(save(tmp_path / "n.onnx", nodes, tensors))
    assert read.converter == "onnx2torch"
    spec = find_layers(read.network, torch.zeros(1, 1, 8, 8), "n").spec
    assert [(x.name, x.weights, x.biases) for x in spec.layers][1:] == [("product", 12, 3)]
    assert (spec.coverage, dict(spec.left_in_float)) == (1.0, {})


def test_the_other_converter_takes_over_where_the_first_is_wrong(tmp_path, monkeypatch):
    def wrong(proto):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))

    monkeypatch.setitem(CONVERTERS, "onnx2torch", wrong)
    read = read_onnx(net(tmp_path / "n.onnx"))
    assert read.converter == "onnx2pytorch"
    assert "differ from onnxruntime's" in read.notes[0]
    monkeypatch.setitem(CONVERTERS, "onnx2pytorch", wrong)
    with pytest.raises(UnsupportedModel, match="differ from onnxruntime's"):
        read_onnx(tmp_path / "n.onnx")


def test_operators_nobody_converts_are_listed(tmp_path):
    nodes = [
        *body("f"),
        helper.make_node("RandomUniformLike", ["f"], ["u"]),
        helper.make_node("RandomNormalLike", ["u"], ["y"]),
    ]
    path = save(tmp_path / "n.onnx", nodes, [tensor("w", 4, 1, 3, 3), tensor("b", 4)], opset=18)
    with pytest.raises(UnsupportedModel) as caught:
        read_onnx(path)
    assert "does not know: RandomNormalLike, RandomUniformLike." in str(caught.value)
    assert "onnx2pytorch: its outputs differ from onnxruntime's" in str(caught.value)


def test_a_batch_size_written_into_a_reshape_is_opened(tmp_path):
    nodes = [
        *body("f"),
        helper.make_node("Reshape", ["f", "s"], ["y"]),
    ]
    shape = numpy_helper.from_array(np.array([1, 4]), "s")
    path = save(tmp_path / "n.onnx", nodes, [tensor("w", 4, 1, 3, 3), tensor("b", 4), shape])
    read = read_onnx(path)
    assert read.difference < 1e-5
    assert read.network(torch.rand(5, 1, 8, 8)).shape == (5, 4)


@pytest.mark.parametrize("op", ["Load", "save", "Compile", "import_ir_module"])
def test_an_operator_named_like_a_function_of_torch_is_never_called(tmp_path, op):
    nodes = [*body("f"), helper.make_node(op, ["f"], ["y"])]
    path = save(tmp_path / "n.onnx", nodes, [tensor("w", 4, 1, 3, 3), tensor("b", 4)])
    with pytest.raises(InvalidConfig, match="no valid ONNX file"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (TensorProto.UINT8, ("n", 1, 8, 8), "takes uint8 numbers"),
        (TensorProto.FLOAT, ("n", 224, 224, 3), r"224x224x3: it seems to have channels last"),
    ],
)
def test_inputs_that_are_no_float_images_are_told(tmp_path, kind, shape, message):
    model = onnx.load(net(tmp_path / "n.onnx"))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("raw", kind, shape))
    to = TensorProto.FLOAT
    model.graph.node.insert(0, helper.make_node("Cast", ["raw"], ["cast"], to=to))
    model.graph.node.insert(1, helper.make_node("Identity", ["cast"], ["x"]))
    onnx.save(model, tmp_path / "n.onnx")
    with pytest.raises(UnsupportedModel, match=message):
        read_onnx(tmp_path / "n.onnx")


def test_a_network_that_is_quantized_already_is_told(tmp_path):
    nodes = [
        *body("f"),
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    step = numpy_helper.from_array(np.float32(0.1), "s")
    zero = numpy_helper.from_array(np.int8(0), "z")
    tensors = [tensor("w", 4, 1, 3, 3), tensor("b", 4), step, zero]
    with pytest.raises(UnsupportedModel, match=r"quantized already.*float network"):
        read_onnx(save(tmp_path / "n.onnx", nodes, tensors))


def test_a_softmax_at_the_end_is_noted(tmp_path):
    nodes = [*body("f"), helper.make_node("Softmax", ["f"], ["y"])]
    path = save(tmp_path / "n.onnx", nodes, [tensor("w", 4, 1, 3, 3), tensor("b", 4)])
    loaded = load_network("onnx", "", path, None, None, {})
    assert loaded.judge == Classes(probabilities=True)
    assert any("are probabilities already" in note for note in loaded.notes)
    plain = load_network("onnx", "", net(tmp_path / "plain.onnx"), None, None, {})
    assert plain.judge == CLASSES
    assert not any("probabilities" in note for note in plain.notes)


def test_operators_outside_onnx_are_listed(tmp_path):
    nodes = [*body("f"), helper.make_node("Magic", ["f"], ["y"], domain="com.example")]
    path = save(tmp_path / "n.onnx", nodes, [tensor("w", 4, 1, 3, 3), tensor("b", 4)])
    with pytest.raises((UnsupportedModel, InvalidConfig), match=r"com\.example"):
        read_onnx(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x07\x12"])
def test_damaged_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "n.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidConfig, match=r"n\.onnx"):
        read_onnx(path)
    whole = net(tmp_path / "whole.onnx").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidConfig, match=r"n\.onnx"):
        read_onnx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataUnavailable, match="nowhere"):
        read_onnx(tmp_path / "nowhere.onnx")


def test_an_input_that_is_left_out_at_the_end_is_none(tmp_path):
    nodes = [*body("f"), helper.make_node("Clip", ["f", "floor", ""], ["y"])]
    floor = numpy_helper.from_array(np.array(0.0, np.float32), "floor")
    path = save(tmp_path / "n.onnx", nodes, [tensor("w", 4, 1, 3, 3), tensor("b", 4), floor])
    network = load_network("onnx", "", path, None, None, {}).network
    with torch.no_grad():
        assert float(network(torch.randn(3, 1, 8, 8)).min()) >= 0
