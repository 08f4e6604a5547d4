"""ONNX files of networks that take no picture: their inputs are read, and they compute the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from qcore.add_network import add_network
from qcore.errors import DataUnavailable, InvalidConfig, InvalidParams, UnsupportedModel
from qcore.inputs import parse_input
from qcore.models.cards import card_folder
from qcore.models.loading import load_network
from qcore.models.loading.onnx.file import read_onnx
from qcore.models.new_network import NewNetwork
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.trees import call
from tests.variants import crossed

F, LONG, INT, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL


def w(name, *shape, seed=0):
    values = np.random.default_rng(seed + len(name)).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values * 0.3, name)


def numbers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def save(path, nodes, tensors, inputs, outputs, opset=17, ir=8):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, k, s) for n, k, s in inputs],
        [helper.make_tensor_value_info(n, k, s) for n, k, s in outputs],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.save(model, path)
    return path


N = helper.make_node


def text(path, ids=("n", 6), kind=LONG):
    """Ids and a mask through a table and a linear layer to classes."""
    nodes = [
        N("Gather", ["table", "ids"], ["e"], name="table"),
        N("Cast", ["mask"], ["m"], to=F),
        N("Unsqueeze", ["m", "two"], ["m3"]),
        N("Mul", ["e", "m3"], ["em"]),
        N("MatMul", ["em", "w"], ["h"], name="hidden"),
        N("Relu", ["h"], ["r"]),
        N("ReduceMean", ["r"], ["p"], axes=[1], keepdims=0),
        N("Gemm", ["p", "g", "b"], ["y"], name="head", transB=1),
        N("Softmax", ["y"], ["z"], axis=1),
    ]
    tensors = [w("table", 30, 8), w("w", 8, 8), w("g", 3, 8), w("b", 3), numbers("two", 2)]
    inputs = [("ids", kind, ids), ("mask", LONG, ids)]
    return save(path, nodes, tensors, inputs, [("z", F, (ids[0], 3))])


def wanted(path, feeds, names=None):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(names, feeds)


def test_inputs_are_read_from_the_file_with_their_vocabulary(tmp_path):
    path = text(tmp_path / "n.onnx", kind=INT)
    loaded = load_network("onnx", "", path, None, None, {})
    assert [each.words for each in loaded.inputs] == [
        "ids (6,) int32 below 30",
        "mask (6,) int64 below 2",
    ]
    assert loaded.judge.to_json() == {"name": "classes", "probabilities": True}
    found = find_layers(loaded.network, loaded.example, "n", loaded.inputs)
    assert {"hidden", "head"} <= set(found.spec.names)
    ids = np.random.default_rng(0).integers(0, 30, (4, 6)).astype(np.int32)
    mask = np.ones((4, 6), np.int64)
    mask[:, 4:] = 0
    x = {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask)}
    with torch.no_grad():
        got = call(loaded.network, x)
    assert np.allclose(got.numpy(), wanted(path, {"ids": ids, "mask": mask})[0], atol=1e-6)


def test_arguments_go_by_the_files_names_whatever_their_order(tmp_path):
    nodes = [
        N("Gemm", ["input_2", "w"], ["a"], name="first"),
        N("Gemm", ["input_1", "v"], ["b"], name="second"),
        N("Sub", ["a", "b"], ["y"]),
    ]
    inputs = [("input_2", F, ("n", 4)), ("input_1", F, ("n", 4))]
    path = save(
        tmp_path / "n.onnx", nodes, [w("w", 4, 3), w("v", 4, 3, seed=9)], inputs,
        [("y", F, ("n", 3))],
    )  # fmt: skip
    network = read_onnx(path).network
    one, two = torch.rand(2, 4), torch.rand(2, 4)
    with torch.no_grad():
        got = call(network, {"input_1": one, "input_2": two})
    aim = wanted(path, {"input_1": one.numpy(), "input_2": two.numpy()})[0]
    assert np.allclose(got.numpy(), aim, atol=1e-6)


def test_several_outputs_come_under_their_names_and_are_all_compared(tmp_path):
    nodes = [
        N("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1]),
        N("Split", ["c", "s"], ["a", "b"], axis=1),
        N("Sigmoid", ["a"], ["what"]),
        N("Tanh", ["b"], ["where:0"]),
    ]
    tensors = [w("w", 5, 4, 3), numbers("s", 2, 3)]
    path = save(
        tmp_path / "n.onnx", nodes, tensors, [("x", F, ("n", 4, 12))],
        [("where:0", F, ("n", 3, 12)), ("what", F, ("n", 2, 12))],
    )  # fmt: skip
    loaded = load_network("onnx", "", path, None, None, {})
    x = torch.randn(3, 4, 12)
    with torch.no_grad():
        got = loaded.network(x)
    for name, aim in zip(("where_0", "what"), wanted(path, {"x": x.numpy()}), strict=True):
        assert np.allclose(got[name].numpy(), aim, atol=1e-6)
    what = loaded.judge.to_json()["parts"][1]
    assert what == {"name": "map", "output": "what", "binary": True, "probabilities": True}


def lstm(path, batch="n", state=True, direction="forward", peepholes=None, lengths=None):
    """A signal through an LSTM that starts from a state, which it gives back."""
    ways = 2 if direction == "bidirectional" else 1
    nodes = [
        N("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        N("LSTM", ["t", "w", "r", "b", "" if lengths is None else "lengths",
                   *(("h", "c") if state else ("", "")),
                   "" if peepholes is None else "p"],
          ["y", "hn", "cn"], name="lstm", hidden_size=5, direction=direction),
        N("Transpose", ["y"], ["s"], perm=[2, 0, 1, 3]),
        N("Reshape", ["s", "flat"], ["f"]),
        N("Gemm", ["f", "g"], ["z"], name="head", transB=1),
    ]  # fmt: skip
    tensors = [
        w("w", ways, 20, 3), w("r", ways, 20, 5), w("b", ways, 40), w("g", 2, 7 * ways * 5),
        numbers("flat", 0, 7 * ways * 5),
    ]  # fmt: skip
    if peepholes is not None:
        values = w("p", ways, 15) if peepholes else None
        zeros = numpy_helper.from_array(np.zeros((ways, 15), np.float32), "p")
        tensors.append(values or zeros)
    inputs = [("x", F, (batch, 7, 3))]
    outputs = [("z", F, (batch, 2))]
    if lengths == "given":
        inputs.append(("lengths", TensorProto.INT32, (batch,)))
    elif lengths is not None and batch == 1:
        tensors.append(numpy_helper.from_array(np.array([lengths], np.int32), "lengths"))
    elif lengths is not None:
        tensors += [numpy_helper.from_array(np.array(lengths, np.int32), "each"), numbers("at", 0)]
        nodes[:0] = [N("Shape", ["x"], ["sizes"]), N("Gather", ["sizes", "at"], ["many"]),
                     N("Expand", ["each", "many"], ["lengths"])]  # fmt: skip
    if state:
        inputs += [(name, F, (ways, batch, 5)) for name in ("h", "c")]
        outputs += [(name, F, (ways, batch, 5)) for name in ("hn", "cn")]
    return save(path, nodes, tensors, inputs, outputs)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("batch", ["n", 1])
def test_states_come_second_in_the_file_and_first_here(tmp_path, direction, batch):
    path = lstm(tmp_path / "n.onnx", batch, direction=direction)
    read = read_onnx(path)
    ways = 2 if direction == "bidirectional" else 1
    assert [(each.name, each.shape, each.zeros) for each in read.inputs] == [
        ("x", (7, 3), False),
        ("h", (ways, 5), True),
        ("c", (ways, 5), True),
    ]
    assert any("hn is the state" in note for note in read.notes)
    x = {
        "x": torch.randn(3, 7, 3), "h": torch.randn(3, ways, 5), "c": torch.randn(3, ways, 5)
    }  # fmt: skip
    with torch.no_grad():
        got = call(read.network, x)
    for at in range(3):
        feeds = {"x": x["x"][at : at + 1].numpy()}
        feeds |= {name: x[name][at][:, None].numpy() for name in ("h", "c")}
        assert np.allclose(got[at].numpy(), wanted(path, feeds)[0][0], atol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_states_are_still_taken_once_its_matrices_are_layers(tmp_path, direction):
    path = lstm(tmp_path / "n.onnx", direction=direction)
    loaded = load_network("onnx", "", path, None, None, {})
    found = find_layers(loaded.network, loaded.example, "n", loaded.inputs)
    assert {"lstm.cells.ih_l0", "lstm.cells.hh_l0", "head"} <= set(found.spec.names)
    ways = 2 if direction == "bidirectional" else 1
    x = {name: torch.randn(1, ways, 5) for name in ("h", "c")} | {"x": torch.randn(1, 7, 3)}
    feeds = {name: v.numpy() if name == "x" else v[0][:, None].numpy() for name, v in x.items()}
    with torch.no_grad():
        got = call(loaded.network, x)
    assert np.allclose(got.numpy(), wanted(path, feeds)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("direction", "state"), crossed(["forward", "reverse", "bidirectional"], [True, False])
)
def test_gates_of_an_lstm_may_see_its_cell(tmp_path, direction, state):
    path = lstm(tmp_path / "n.onnx", state=state, direction=direction, peepholes=True)
    loaded = load_network("onnx", "", path, None, None, {})
    found = find_layers(loaded.network, loaded.example, "n", loaded.inputs)
    assert {"lstm.cells.inputs.0", "lstm.cells.states.0", "head"} <= set(found.spec.names)
    ways = 2 if direction == "bidirectional" else 1
    left = {name: count for name, count in found.spec.left_in_float.items() if "peepholes" in name}
    assert left == {f"lstm.cells.peepholes.{at}": 15 for at in range(ways)}
    x = {each.name: torch.randn(1, *each.shape) for each in loaded.inputs}
    feeds = {name: v.numpy() if name == "x" else v[0][:, None].numpy() for name, v in x.items()}
    with torch.no_grad():
        got = call(loaded.network, x if state else x["x"])
    assert np.allclose(got.numpy(), wanted(path, feeds)[0], atol=1e-5)


@pytest.mark.parametrize("batch", ["n", 1])
def test_lengths_that_are_all_steps_are_none(tmp_path, batch):
    path = lstm(tmp_path / "n.onnx", batch, state=False, lengths=7)
    read = read_onnx(path)
    assert any(isinstance(module, torch.nn.LSTM) for module in read.network.modules())
    x = torch.randn(1, 7, 3)
    with torch.no_grad():
        assert np.allclose(read.network(x).numpy(), wanted(path, {"x": x.numpy()})[0], atol=1e-5)


@pytest.mark.parametrize(("batch", "lengths"), [(1, 5), ("n", 5), ("n", "given")])
def test_other_lengths_are_refused_with_what_to_do(tmp_path, batch, lengths):
    path = lstm(tmp_path / "n.onnx", batch, state=False, lengths=lengths)
    with pytest.raises(UnsupportedModel, match="without pack_padded_sequence"):
        read_onnx(path)


def test_peepholes_of_zeros_are_none(tmp_path):
    read = read_onnx(lstm(tmp_path / "n.onnx", peepholes=False))
    assert isinstance(read.network.lstm.cells, torch.nn.LSTM)


@pytest.mark.parametrize(("bias", "fits"), [(-11.0, True), (-30.0, False)])
def test_small_probabilities_are_compared_as_far_as_a_sigmoid_is_exact(tmp_path, bias, fits):
    nodes = [N("Gemm", ["x", "w", "b"], ["s"], name="head"), N("Sigmoid", ["s"], ["y"])]
    low = numpy_helper.from_array(np.full(6, bias, np.float32), "b")
    path = save(
        tmp_path / "n.onnx", nodes, [w("w", 4, 6), low], [("x", F, ("n", 4))], [("y", F, ("n", 6))]
    )
    if fits:
        assert read_onnx(path).difference < 1e-3
        return
    with pytest.raises(UnsupportedModel, match="too small to show whether it computes the same"):
        read_onnx(path)


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_recurrent_layers_of_other_kinds_are_read(tmp_path, kind):
    gates = 3 if kind == "GRU" else 1
    more = {"linear_before_reset": 1} if kind == "GRU" else {"activations": ["Relu"]}
    nodes = [
        N(kind, ["x", "w", "r", "b"], ["y", "hn"], name="cells", hidden_size=5, **more),
        N("Squeeze", ["hn", "one"], ["z"]),
    ]
    tensors = [
        w("w", 1, gates * 5, 3), w("r", 1, gates * 5, 5), w("b", 1, gates * 10), numbers("one", 0)
    ]  # fmt: skip
    steps = [N("Transpose", ["given"], ["x"], perm=[1, 0, 2])]
    ends = [N("Gemm", ["z", "g"], ["out"], name="head", transB=1)]
    path = save(
        tmp_path / "n.onnx", [*steps, *nodes, *ends], [*tensors, w("g", 2, 5)],
        [("given", F, ("n", 7, 3))], [("out", F, ("n", 2))],
    )  # fmt: skip
    assert read_onnx(path).difference < 1e-5


def rate(path):
    """A signal whose way depends on its rate, a number without a place for samples."""

    def branch(name, weights):
        out = helper.make_tensor_value_info(f"{name}_y", F, None)
        return helper.make_graph(
            [N("MatMul", ["x", weights], [f"{name}_y"], name="product")], name, [], [out]
        )  # fmt: skip

    nodes = [
        N("Equal", ["sr", "k"], ["is"]),
        N("If", ["is"], ["h"], then_branch=branch("a", "w"), else_branch=branch("b", "v")),
        N("Gemm", ["h", "g"], ["y"], name="head", transB=1),
    ]
    tensors = [w("w", 4, 6), w("v", 4, 6, seed=5), w("g", 3, 6)]
    tensors.append(numpy_helper.from_array(np.array(16000, np.int64), "k"))
    return save(path, nodes, tensors, [("x", F, ("n", 4)), ("sr", LONG, ())], [("y", F, ("n", 3))])


@pytest.mark.parametrize("said", [None, 16000, 8000])
def test_an_input_without_samples_is_fixed_and_its_branch_taken(tmp_path, said):
    path = rate(tmp_path / "n.onnx")
    read = read_onnx(path, fixed={} if said is None else {"sr": said})
    assert [each.name for each in read.inputs] == ["x"]
    assert any("always 16000" in note for note in read.notes) == (said is None)
    x = torch.randn(3, 4)
    aim = wanted(path, {"x": x.numpy(), "sr": np.array(said or 16000)})[0]
    with torch.no_grad():
        assert np.allclose(read.network(x).numpy(), aim, atol=1e-5)
    with pytest.raises(InvalidParams, match="differs from sample to sample"):
        read_onnx(path, fixed={"x": 1})
    with pytest.raises(InvalidParams, match="no input 'rate' to fix"):
        read_onnx(path, fixed={"rate": 1})


def test_a_branch_that_samples_decide_is_said(tmp_path):
    def branch(name):
        out = helper.make_tensor_value_info(f"{name}_y", F, None)
        return helper.make_graph([N("Relu", ["x"], [f"{name}_y"])], name, [], [out])

    nodes = [
        N("ReduceMax", ["x"], ["m"], keepdims=0), N("Cast", ["m"], ["is"], to=B),
        N("If", ["is"], ["h"], then_branch=branch("a"), else_branch=branch("b")),
        N("Gemm", ["h", "g"], ["y"], transB=1),
    ]  # fmt: skip
    path = save(
        tmp_path / "n.onnx", nodes, [w("g", 3, 4)], [("x", F, ("n", 4))], [("y", F, ("n", 3))]
    )
    with pytest.raises(UnsupportedModel, match=r"\(If\) by what a sample holds"):
        read_onnx(path)


@pytest.mark.parametrize("batch", [1, 2, 4, 7])
def test_any_batch_size_written_into_a_file_is_opened(tmp_path, batch):
    path = text(tmp_path / "n.onnx", (batch, 6))
    read = read_onnx(path)
    assert read.difference < 1e-5
    x = {"ids": torch.randint(0, 30, (batch + 1, 6)), "mask": torch.ones(batch + 1, 6).long()}
    with torch.no_grad():
        assert call(read.network, x).shape == (batch + 1, 3)


SAID = {
    "another name": (["words:int64:6", "mask:int64:6"], "no input 'words'"),
    "another kind": (["ids:float32:6"], "takes int64, not float32"),
    "another size": (["ids:int64:9"], "is 6 in the file, not 9"),
    "the batch with it": (["ids:int64:1x6"], "the batch is left out"),
}


@pytest.mark.parametrize("case", SAID)
def test_inputs_that_the_file_does_not_have_are_said(tmp_path, case):
    inputs, words = SAID[case]
    path = text(tmp_path / "n.onnx")
    with pytest.raises(InvalidParams, match=words):
        read_onnx(path, inputs=tuple(map(parse_input, inputs)))


def test_open_sizes_are_proposed_and_can_be_said(tmp_path):
    path = text(tmp_path / "n.onnx", ("n", "length"))
    read = read_onnx(path)
    assert [each.shape for each in read.inputs] == [(128,), (128,)]
    assert any("leaves sizes open" in note for note in read.notes)
    said = tuple(map(parse_input, ("ids:int64:16<30=0", "mask:int64:16=0")))
    read = read_onnx(path, inputs=said)
    assert [(each.shape, each.pad) for each in read.inputs] == [((16,), 0.0), ((16,), 0.0)]


@pytest.mark.parametrize("end", ["ArgMax", "cast", "TopK"])
def test_a_decision_at_the_end_is_named_with_what_takes_it_off(tmp_path, end):
    nodes = [N("Gemm", ["x", "g"], ["scores"], name="head", transB=1)]
    tensors, kind = [w("g", 3, 4)], LONG
    if end == "TopK":
        nodes.append(N("TopK", ["scores", "k"], ["values", "y"]))
        tensors.append(numbers("k", 1))
    else:
        nodes.append(N("ArgMax", ["scores"], ["y" if end == "ArgMax" else "i"], axis=1))
    if end == "cast":
        nodes.append(N("Cast", ["i"], ["y"], to=F))
        kind = F
    path = save(tmp_path / "n.onnx", nodes, tensors, [("x", F, ("n", 4))], [("y", kind, ("n", 1))])
    with pytest.raises(UnsupportedModel) as caught:
        read_onnx(path)
    assert f"ends in {'TopK' if end == 'TopK' else 'ArgMax'}" in str(caught.value)
    assert "'scores'" in str(caught.value)


def test_decisions_beside_scores_are_left_out(tmp_path):
    nodes = [
        N("Gemm", ["x", "g"], ["scores"], name="head", transB=1),
        N("ArgMax", ["scores"], ["y"], axis=1),
    ]
    path = save(
        tmp_path / "n.onnx", nodes, [w("g", 3, 4)], [("x", F, ("n", 4))],
        [("y", LONG, ("n", 1)), ("scores", F, ("n", 3))],
    )  # fmt: skip
    read = read_onnx(path)
    assert any("Left out" in note and " y" in note for note in read.notes)
    assert read.network(torch.rand(2, 4)).shape == (2, 3)


def outside(folder, location):
    """A file whose weight lies elsewhere, wherever the location says."""
    path = text(folder / "n.onnx")
    model = onnx.load(path)
    entry = next(t for t in model.graph.initializer if t.name == "g")
    values = entry.raw_data
    entry.ClearField("raw_data")
    entry.data_location = TensorProto.EXTERNAL
    entry.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return path, values


@pytest.mark.parametrize("location", ["n.onnx.data", "weights/part 1.bin"])
def test_weights_beside_the_file_come_with_it(tmp_path, monkeypatch, location):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    path, values = outside(tmp_path, location)
    beside = tmp_path / location
    beside.parent.mkdir(exist_ok=True)
    beside.write_bytes(values)
    card, spec, _ = add_network(NewNetwork("mine", "onnx", "", str(path)))
    beside.unlink()
    assert [each.name for each in sorted(card_folder("mine").iterdir())] == [
        "card.json", "spec.json", "weights.onnx"
    ]  # fmt: skip
    x = {"ids": torch.zeros(2, 6).long(), "mask": torch.ones(2, 6).long()}
    assert call(load_model("mine"), x).shape == (2, 3)
    assert spec.inputs == card.inputs


@pytest.mark.parametrize(
    "location", ["../n.data", "/etc/passwd", "sub/../../n.data", "C:\\n.data", "..\\n.data", "link"]
)
def test_weights_outside_the_files_folder_are_never_read(tmp_path, location):
    (tmp_path / "net").mkdir()
    path, values = outside(tmp_path / "net", location)
    (tmp_path / "n.data").write_bytes(values)
    (tmp_path / "net" / "link").symlink_to(tmp_path / "n.data")
    with pytest.raises(InvalidConfig, match=r"outside its own folder|leaves its folder"):
        read_onnx(path)


def test_weights_that_are_missing_or_cut_short_are_named(tmp_path):
    path, values = outside(tmp_path, "n.data")
    with pytest.raises(DataUnavailable, match=r"'n\.data', and there is no such file"):
        read_onnx(path)
    (tmp_path / "n.data").write_bytes(values[:-4])
    with pytest.raises(InvalidConfig, match="ends too early"):
        read_onnx(path)


def test_a_weight_of_two_nodes_is_one_layer(tmp_path):
    nodes = [
        N("Conv", ["x", "w", "b"], ["c"], name="one", pads=[1, 1]),
        N("Relu", ["c"], ["r"]),
        N("Conv", ["r", "w", "b"], ["y"], name="two", pads=[1, 1]),
    ]
    path = save(
        tmp_path / "n.onnx", nodes, [w("w", 2, 2, 3), w("b", 2)], [("x", F, ("n", 2, 12))],
        [("y", F, ("n", 2, 12))],
    )  # fmt: skip
    read = read_onnx(path)
    spec = find_layers(read.network, torch.zeros(1, 2, 12), "n").spec
    assert [(layer.name, layer.weights, layer.macs) for layer in spec.layers] == [
        ("one", 12, 2 * 12 * 12)
    ]
    assert dict(spec.left_in_float) == {}


@pytest.mark.parametrize("axis", [-1, 1])
def test_one_hot_codes_say_how_many_ids_there_are(tmp_path, axis):
    nodes = [
        N("OneHot", ["ids", "depth", "values"], ["e"], axis=axis),
        N("Flatten", ["e"], ["f"]),
        N("MatMul", ["f", "w"], ["y"], name="head"),
    ]
    values = numpy_helper.from_array(np.array([-0.5, 1], np.float32), "values")
    tensors = [numbers("depth", 9), values, w("w", 45, 3)]
    path = save(
        tmp_path / "n.onnx", nodes, tensors, [("ids", LONG, ("n", 5))], [("y", F, ("n", 3))]
    )
    read = read_onnx(path)
    assert [each.words for each in read.inputs] == ["ids (5,) int64 below 9"]
    assert read.difference < 1e-5
    assert find_layers(read.network, torch.zeros(1, 5).long(), "n").spec.names == ("head",)


@pytest.mark.parametrize(
    ("direction", "bias"), crossed(["bidirectional", "reverse", "forward"], [True, False])
)
def test_a_gru_that_resets_before_the_product_is_read_step_by_step(tmp_path, direction, bias):
    ways = 2 if direction == "bidirectional" else 1
    given = ["x", "w", "r", "b" if bias else "", "", "h"]
    nodes = [
        N("Transpose", ["given"], ["x"], perm=[1, 0, 2]),
        N("GRU", given, ["y", "hn"], name="cells", hidden_size=5, direction=direction),
        N("Transpose", ["y"], ["t"], perm=[2, 0, 1, 3]),
        N("Reshape", ["t", "flat"], ["f"]),
        N("Gemm", ["f", "g"], ["out"], name="head", transB=1),
    ]
    tensors = [w("w", ways, 15, 3), w("r", ways, 15, 5, seed=4), w("b", ways, 30)]
    tensors += [numbers("flat", 0, -1), w("g", 2, 7 * ways * 5)]
    path = save(
        tmp_path / "n.onnx", nodes, tensors if bias else [t for t in tensors if t.name != "b"],
        [("given", F, ("n", 7, 3)), ("h", F, (ways, "n", 5))],
        [("out", F, ("n", 2)), ("hn", F, (ways, "n", 5))],
    )  # fmt: skip
    read = read_onnx(path)
    assert read.difference < 1e-5
    x = {"given": torch.randn(4, 7, 3), "h": torch.randn(4, ways, 5)}
    feeds = {"given": x["given"].numpy(), "h": x["h"].transpose(0, 1).contiguous().numpy()}
    with torch.no_grad():
        assert np.allclose(call(read.network, x).numpy(), wanted(path, feeds)[0], atol=1e-5)
    # each matrix is a layer, and runs at every step
    spec = find_layers(read.network, x, "n", read.inputs).spec
    assert sum(layer.weights for layer in spec.layers) == ways * (15 * 3 + 15 * 5) + 70 * ways
    assert sum(layer.macs for layer in spec.layers) == 7 * ways * (45 + 75) + 70 * ways


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
@pytest.mark.parametrize("whole", [True, False])
def test_files_of_halves_and_doubles_are_read_in_float32(tmp_path, kind, whole):
    dtype = helper.tensor_dtype_to_np_dtype(kind)

    def stored(name, *shape):
        values = numpy_helper.to_array(w(name, *shape)).astype(dtype if whole else np.float32)
        return numpy_helper.from_array(values, name)

    least = numpy_helper.from_array(np.finfo(dtype if whole else np.float32).min, "no")
    nodes = [
        N("Cast", ["x"], ["c"], to=kind if whole else F),
        N("MatMul", ["c", "w"], ["h"], name="hidden"),
        N("Max", ["h", "no"], ["m"]),
        N("Relu", ["m"], ["a"]),
        N("MatMul", ["a", "v"], ["e"], name="head"),
        N("Cast", ["e"], ["y"], to=kind),
    ]
    path = save(
        tmp_path / "n.onnx", nodes, [stored("w", 6, 8), stored("v", 8, 3), least],
        [("x", kind, ("n", 6))], [("y", kind, ("n", 3))],
    )  # fmt: skip
    read = read_onnx(path)
    assert [(each.name, each.dtype) for each in read.inputs] == [("x", "float32")]
    assert any("run in float32" in note for note in read.notes)
    assert {p.dtype for p in read.network.parameters()} == {torch.float32}
    x = torch.randn(5, 6).half().float()
    aim = wanted(path, {"x": x.numpy().astype(dtype)})[0]
    with torch.no_grad():
        got = read.network(x)
    assert got.dtype == torch.float32
    assert np.allclose(
        got.numpy(), aim.astype(np.float32), atol=5e-3 if "16" in str(dtype) else 1e-5
    )
    assert len(find_layers(read.network, {"x": x}, "n", read.inputs).spec.layers) == 2
