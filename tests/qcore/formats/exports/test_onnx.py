"""ONNX and QONNX files, run by onnxruntime and by qonnx' executor."""

import json
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from qcore.allocation import LayerBits
from qcore.errors import ExportRefused
from qcore.formats.exports import EXPORTS, write_with_model
from qcore.formats.exports.torch_side import onnx_graph, onnx_qdq, qonnx, run_onnx
from qcore.formats.exports.torch_side.parts import take_apart
from tests.qcore.formats.exports.nets import CASES, graph, measured, odd, taken
from tests.variants import crossed

KINDS = {2: onnx.TensorProto.INT2, 4: onnx.TensorProto.INT4, 8: onnx.TensorProto.INT8}
FORMATS = {"onnx8": 18, "onnx": 21, "onnx2": 25}


def written(case, name):
    opset = FORMATS[name]
    made = CASES[case]()
    return onnx_qdq.write(name, opset, made.config, taken(case), graph(case, opset), made.sample)


@pytest.mark.parametrize(("case", "name"), crossed(CASES, FORMATS))
def test_onnxruntime_computes_the_measured_logits(case, name):
    report = written(case, name).report
    assert report["median_abs_diff"] < 1e-5
    # a value that lies between two levels may round the other way: one step of one layer's input
    assert report["max_abs_diff"] < 0.05 * report["logit_range"]
    assert report["argmax_agreement"] == 1
    assert report["optimised"]["argmax_agreement"] >= 0.9
    assert report["n"] == len(CASES[case]().sample)


@pytest.mark.parametrize("name", FORMATS)
def test_weights_lie_in_the_containers_that_the_report_states(name):
    made, file = CASES["residual"](), written("residual", name)
    arrays = {i.name: i for i in onnx.load_from_string(file.content).graph.initializer}
    stored = 0
    for layer, part in taken("residual").parts.items():
        codes = arrays[f"{layer}.weight.codes"]
        width = next(w for w in onnx_qdq.CONTAINERS[FORMATS[name]] if w >= part.bits.weight)
        assert codes.data_type == KINDS[width]
        assert np.array_equal(onnx.numpy_helper.to_array(codes).astype(int), part.codes)
        assert (width != part.bits.weight) == ("weights" in file.report["widened"].get(layer, ""))
        stored += len(codes.raw_data)
    assert stored == file.report["weight_bytes_stored"] < len(file.content)
    assert made.config.model.names


def test_inputs_keep_to_the_levels_of_their_bits():
    # every integer that reaches a layer, seen as an extra output of the graph
    model = onnx.load_from_string(written("residual", "onnx8").content)
    grids = {n: p.grid for n, p in taken("residual").parts.items() if p.grid is not None}
    for name in grids:
        output = f"{name}.input.quantizelinear"
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(output, onnx.TensorProto.UINT8, None)
        )
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    given = {"input": 50 * CASES["residual"]().sample.numpy() - 20}
    for grid, codes in zip(grids.values(), session.run(None, given)[1:], strict=True):
        assert codes.min() >= 0
        assert codes.max() <= grid.high - grid.low


def test_files_are_equal_byte_for_byte_and_say_where_they_come_from():
    first, second = written("depthwise", "onnx"), written("depthwise", "onnx")
    assert first.content == second.content
    model = onnx.load_from_string(first.content)
    origin = json.loads({p.key: p.value for p in model.metadata_props}["bitdial.provenance"])
    config = CASES["depthwise"]().config
    assert origin["bits"] == config.allocation.to_json()
    assert origin["weights_sha256"] == config.model.digest
    assert b".py" not in first.content, "no path of a source file is written"


def test_any_number_of_images_is_taken():
    case = CASES["residual"]()
    content = written("residual", "onnx").content
    together = run_onnx.logits(content, case.sample)
    one = run_onnx.logits(content, case.sample[3:4])
    assert np.allclose(together[3:4], one, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_qonnx_keeps_every_width_and_its_executor_computes_the_measured_logits(case):
    made = CASES[case]()
    file = qonnx.write(made.config, taken(case), graph(case, 18), made.sample)
    assert file.report["median_abs_diff"] < 1e-5
    assert file.report["max_abs_diff"] < 0.05 * file.report["logit_range"]
    assert file.report["argmax_agreement"] == 1
    assert file.report["widened"] == {}
    model = onnx.load_from_string(file.content)
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    found = Counter(
        int(arrays[node.input[3]]) for node in model.graph.node if node.op_type == "Quant"
    )
    calls = 2 if case == "odd" else 1  # `mix` runs twice: one weight, two inputs
    wanted = Counter(bits.weight for bits in made.config.allocation.values())
    for name, bits in made.config.allocation.items():
        wanted[bits.activation] += calls if name == "mix" else 1
    del wanted[32]
    assert found == wanted


def test_one_bit_is_widened_in_onnx_and_bipolar_in_qonnx():
    case = odd((1, 1, 1, 32), (1, 32, 1, 8))
    apart = take_apart(case.config, case.model)
    model = onnx_graph.float_graph(apart, case.sample, 25)
    content = model.SerializeToString()
    file = onnx_qdq.write("onnx2", 25, case.config, apart, model, case.sample)
    assert file.report["widened"]["up"] == "1-bit weights in int2"
    assert file.report["median_abs_diff"] < 1e-5
    again = onnx.load_from_string(content)
    again.opset_import[0].version, again.ir_version = 18, 8
    file = qonnx.write(case.config, apart, again, case.sample)
    assert file.report["median_abs_diff"] < 1e-5
    nodes = Counter(node.op_type for node in onnx.load_from_string(file.content).graph.node)
    assert nodes["BipolarQuant"] == 3


def test_a_layer_lost_on_the_way_is_refused():
    model = graph("odd", 21)
    gone = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    del model.graph.node[gone]
    case = odd()
    with pytest.raises(ExportRefused, match="entry"):
        onnx_qdq.write("onnx", 21, case.config, taken("odd"), model, case.sample)


class Spectrum(nn.Module):
    """The logarithm of a power that may be 0, as sounds have it."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 16, 3)

    def forward(self, x):
        power = torch.relu(self.conv(x)).square() + 1e-10
        return self.head((power.log() * 1.000005).flatten(1))


@pytest.mark.parametrize("name", ["onnx", "qonnx"])
def test_numbers_that_are_nearly_nothing_stay_in_the_file(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Spectrum().eval()
    x = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    made = measured(model, "spectrum", x, lambda index: LayerBits(8, 32))
    report = write_with_model(EXPORTS[name], made.config, made.model, x).report
    # a logarithm of 0 alone would be infinite
    assert report["max_abs_diff"] < 1e-5 * report["logit_range"]
