"""Loops and Scans of ONNX files: written out where no sample decides how long they run."""

import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from qcore.errors import InvalidParams, UnsupportedModel
from qcore.inputs import parse_input
from qcore.models.loading import load_network
from qcore.models.loading.onnx import runtime
from qcore.models.loading.onnx.file import read_onnx
from qcore.network.layers import find_layers
from tests.qcore.models.loading.test_onnx_typed import save, w

F, LONG, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
N = helper.make_node
STEPS, SIZE, WIDTH = 5, 3, 4


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def scalar(name, number, kind=np.int64):
    return numpy_helper.from_array(np.array(number, kind), name)


STEP = N("Gather", ["x", "step"], ["part"], axis=1)


def cell(more=(), condition="go", tensors=(), reads=STEP):
    """A step of a recurrent network: reads x[:, step], keeps its state, gives it as a row too."""
    nodes = [
        reads,
        N("MatMul", ["part", "w"], ["a"], name="inputs"),
        N("Gemm", ["h", "r", "b"], ["c"], name="states", transB=1),
        N("Add", ["a", "c"], ["s"]),
        N("Tanh", ["s"], ["fresh"]),
        *more,
        N("Identity", ["fresh"], ["row"]),
    ]
    return helper.make_graph(
        nodes,
        "body",
        [value("step", LONG, ()), value("go", B, ()), value("h", F, ("n", WIDTH))],
        [value(condition, B, ()), value("fresh", F, ("n", WIDTH)), value("row", F, ("n", WIDTH))],
        [w("r", WIDTH, WIDTH), w("b", WIDTH), *tensors],
    )


def looped(path, count="count", begin="yes", body=None, before=(), tensors=(), steps=STEPS):
    nodes = [
        *before,
        N("MatMul", ["first", "zero"], ["h0"], name="begin"),
        N("Loop", [count, begin, "h0"], ["last", "rows"], body=body or cell(), name="loop"),
        N("Transpose", ["rows"], ["turned"], perm=[1, 0, 2]),
        N("ReduceMean", ["turned"], ["mean"], axes=[1], keepdims=0),
        N("Add", ["mean", "last"], ["both"]),
        N("Gemm", ["both", "g"], ["y"], name="head", transB=1),
    ]
    first = [N("Gather", ["x", "none"], ["first"], axis=1)]
    stored = [
        w("w", SIZE, WIDTH), w("zero", SIZE, WIDTH), w("g", 2, WIDTH), scalar("none", 0),
        scalar("count", steps), scalar("yes", True, bool), *tensors,
    ]  # fmt: skip
    return save(
        path, [*first, *nodes], stored, [("x", F, ("n", steps, SIZE))], [("y", F, ("n", 2))]
    )


def agrees(path, **more):
    read = read_onnx(path, **more)
    shape = next(iter(read.inputs)).shape
    x = torch.randn(4, *shape)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    aim = session.run(None, {"x": x.numpy()})[0]
    with torch.no_grad():
        assert np.allclose(read.network(x).numpy(), aim, atol=1e-5)
    return read


def test_a_loop_is_written_out_and_its_steps_share_their_weights(tmp_path):
    path = looped(tmp_path / "n.onnx")
    agrees(path)
    loaded = load_network("onnx", "", path, None, None, {})
    spec = find_layers(loaded.network, loaded.example, "n", loaded.inputs).spec
    assert len(spec.layers) == 4
    assert {layer.weights for layer in spec.layers} == {SIZE * WIDTH, WIDTH * WIDTH, 2 * WIDTH}
    macs = sum(layer.macs for layer in spec.layers)
    assert macs == SIZE * WIDTH * (STEPS + 1) + WIDTH * WIDTH * STEPS + 2 * WIDTH


def test_the_number_of_steps_may_be_that_of_the_samples_own_length(tmp_path):
    before = [
        N("Shape", ["x"], ["shape"]),
        N("Gather", ["shape", "one"], ["length"], axis=0),
    ]
    agrees(looped(tmp_path / "n.onnx", "length", before=before, tensors=[scalar("one", 1)]))


@pytest.mark.parametrize("count", ["", "many", "count"])
def test_a_condition_on_the_step_ends_a_loop(tmp_path, count):
    more = [N("Less", ["step", "end"], ["goes"])]
    body = cell(more, "goes", [scalar("end", 2)])
    tensors = [scalar("many", 2**62)]
    read = agrees(looped(tmp_path / "n.onnx", count, body=body, tensors=tensors))
    calls = [str(node.target) for node in read.network.graph.nodes]
    assert sum(call.startswith("Tanh") for call in calls) == 3


def test_a_branch_on_the_step_and_what_an_identity_passed_on_are_read(tmp_path):
    def branch(name, operator):
        out = value(f"{name}_y", F, None)
        return helper.make_graph([N(operator, ["s", "same"], [f"{name}_y"])], name, [], [out])

    more = [
        N("Less", ["step", "end"], ["early"]),
        N("If", ["early"], ["other"],
          then_branch=branch("a", "Add"), else_branch=branch("b", "Mul")),
        N("Identity", ["go"], ["goes"]),
    ]  # fmt: skip
    body = cell(more, "goes", [scalar("end", 2)])
    body.output[2].name = "other"
    before = [N("Identity", ["bias"], ["same"])]
    agrees(looped(tmp_path / "n.onnx", body=body, before=before, tensors=[w("bias", WIDTH)]))


def scan(path, directions=(0,), outputs=(0,), axis=1):
    body = helper.make_graph(
        [
            N("MatMul", ["part", "w"], ["a"], name="inputs"),
            N("Gemm", ["h", "r"], ["c"], name="states", transB=1),
            N("Add", ["a", "c"], ["s"]),
            N("Tanh", ["s"], ["fresh"]),
            N("Mul", ["fresh", "two"], ["row"]),
        ],
        "body",
        [value("h", F, ("n", WIDTH)), value("part", F, ("n", SIZE))],
        [value("fresh", F, ("n", WIDTH)), value("row", F, ("n", WIDTH))],
        [w("w", SIZE, WIDTH), w("r", WIDTH, WIDTH), scalar("two", 2.0, np.float32)],
    )
    nodes = [
        N("Gather", ["x", "none"], ["first"], axis=1),
        N("MatMul", ["first", "zero"], ["h0"], name="begin"),
        N("Scan", ["h0", "x"], ["last", "rows"], body=body, num_scan_inputs=1,
          scan_input_axes=[axis], scan_input_directions=list(directions), scan_output_axes=[axis],
          scan_output_directions=list(outputs)),
        N("MatMul", ["rows", "v"], ["each"], name="rows"),
        N("Add", ["each", "place"], ["placed"]),
        N("ReduceMax", ["placed"], ["most"], axes=[1], keepdims=0),
        N("Add", ["most", "last"], ["y"]),
    ]  # fmt: skip
    stored = [
        w("zero", SIZE, WIDTH), w("v", WIDTH, WIDTH), w("place", STEPS, 1), scalar("none", 0)
    ]  # fmt: skip
    return save(path, nodes, stored, [("x", F, ("n", STEPS, SIZE))], [("y", F, ("n", WIDTH))])


@pytest.mark.parametrize("directions", [(0,), (1,)])
@pytest.mark.parametrize("outputs", [(0,), (1,)])
def test_a_scan_is_written_out_in_either_direction(tmp_path, directions, outputs):
    agrees(scan(tmp_path / "n.onnx", directions, outputs))


def test_a_loop_that_a_sample_decides_is_said(tmp_path):
    more = [
        N("ReduceMax", ["fresh"], ["most"], keepdims=0),
        N("Less", ["most", "end"], ["goes"]),
    ]
    body = cell(more, "goes", [scalar("end", 0.5, np.float32)])
    with pytest.raises(UnsupportedModel, match=r"\(Loop\) as often as a sample decides"):
        read_onnx(looped(tmp_path / "n.onnx", body=body))


def test_a_loop_that_is_too_long_is_refused_before_it_is_written_out(tmp_path):
    path = looped(tmp_path / "n.onnx", steps=5000)
    started = time.process_time()
    with pytest.raises(UnsupportedModel, match=r"at most 4,000 are written out"):
        read_onnx(path)
    assert time.process_time() - started < 20


def test_a_loop_without_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "MOST_SECONDS", 0.5)
    goes = N("GreaterOrEqual", ["step", "end"], ["goes"])
    mean = N("ReduceMean", ["x"], ["part"], axes=[1], keepdims=0)
    body = cell([goes], "goes", [scalar("end", 0)], mean)
    path = looped(tmp_path / "n.onnx", "", body=body)
    with pytest.raises(UnsupportedModel, match=r"did not end within 0\.5 seconds"):
        read_onnx(path)


READ = """
from pathlib import Path
import sys
from qcore.errors import InvalidParams, UnsupportedModel
from qcore.inputs import parse_input
from qcore.models.loading.onnx import runtime
from qcore.models.loading.onnx.file import read_onnx
runtime.MOST_BYTES = 2**28
try:
    read_onnx(Path(sys.argv[1]))
except UnsupportedModel as error:
    print(error)
"""
"""What is registered with onnxruntime holds for a whole process, so this is one of its own."""


@pytest.mark.slow
def test_memory_without_bound_is_refused(tmp_path):
    """Each of the steps doubles what the one before gave: 60 of them are an exabyte."""
    body = helper.make_graph(
        [N("Concat", ["h", "h"], ["more"], axis=1), N("Identity", ["go"], ["goes"])],
        "body",
        [value("step", LONG, ()), value("go", B, ()), value("h", F, None)],
        [value("goes", B, ()), value("more", F, None)],
    )
    nodes = [
        N("Loop", ["count", "", "x"], ["last"], body=body),
        N("ReduceSum", ["last"], ["sum"], keepdims=1),
        N("Gemm", ["sum", "g"], ["y"], name="head"),
    ]
    path = save(
        tmp_path / "n.onnx", nodes, [w("g", 1, 2), scalar("count", 60)], [("x", F, ("n", 4096))],
        [("y", F, ("n", 2))],
    )  # fmt: skip
    command = [sys.executable, "-c", READ, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "needs more than 0.25 GiB of memory" in done.stdout


NOTHING = {
    "a newer set of operators": ({"opset": 9999}, "operators of set 9,999"),
    "no output": ({"outputs": []}, "gives no output"),
}


@pytest.mark.parametrize("case", NOTHING)
def test_files_that_onnxruntime_has_only_its_own_words_for(tmp_path, case):
    changed, words = NOTHING[case]
    outputs = changed.get("outputs", [("y", F, ("n", 2))])
    nodes = [N("Gemm", ["x", "g"], ["y"], name="head")]
    path = save(tmp_path / "n.onnx", nodes, [w("g", 4, 2)], [("x", F, ("n", 4))], outputs,
                opset=changed.get("opset", 17))  # fmt: skip
    with pytest.raises(UnsupportedModel, match=words):
        read_onnx(path)


def test_a_file_that_gives_nan_and_one_of_too_large_inputs_are_said(tmp_path):
    nodes = [N("ReduceMean", ["x"], ["m"], axes=[1]), N("Gemm", ["m", "g"], ["y"], name="head")]
    damaged = numpy_helper.from_array(np.full((1, 2), np.nan, np.float32), "g")
    outputs = [("y", F, ("n", 2))]
    path = save(tmp_path / "n.onnx", nodes, [damaged], [("x", F, ("n", 4))], outputs)
    with pytest.raises(UnsupportedModel, match="itself gives NaN or infinity"):
        read_onnx(path)
    path = save(tmp_path / "n.onnx", nodes, [w("g", 1, 2)], [("x", F, ("n", 2**40))], outputs)
    with pytest.raises(InvalidParams, match="at most 67,108,864 numbers"):
        read_onnx(path)
    with pytest.raises(InvalidParams, match="is padded with nan"):
        parse_input("x:float32:3=nan")
