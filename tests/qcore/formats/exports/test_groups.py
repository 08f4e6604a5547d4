"""Weights with a scale per group of inputs: every format has a file that agrees, or a refusal."""

import copy
import functools
import itertools
import json
import types

import onnx
import pytest
import torch
from torch import nn

from qcore.allocation import FLOAT_BITS, LayerBits, parse_width
from qcore.costs import COSTS
from qcore.errors import ExportRefused
from qcore.formats.apply import apply_bits
from qcore.formats.config import dump_bits, parse_bits
from qcore.formats.exports import EXPORTS, write
from qcore.formats.exports.base import write_with_model
from qcore.formats.exports.torch_side import run_onnx
from tests.qcore.formats.exports.nets import measured, odd
from tests.variants import crossed

GROUPED = tuple(map(parse_width, ("4g32", "8g64", "3g128", "2g32")))


class Matrices(nn.Module):
    """Linear layers alone, rows that are whole groups of 32 and rows that are none."""

    def __init__(self, inner=96, last=128):
        super().__init__()
        self.first = nn.Linear(64, inner)
        self.second = nn.Linear(inner, last, bias=False)
        self.head = nn.Linear(last, 10)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


@functools.cache
def matrices(widths, inputs=8, inner=96):
    torch.manual_seed(3)
    bits = [LayerBits(parse_width(width), inputs) for width in widths]
    return measured(Matrices(inner).eval(), "matrices", torch.randn(40, 64), lambda i: bits[i])


CASES = {
    "whole groups": lambda: matrices(("4g64", "4g32", "8")),
    "the last one short": lambda: matrices(("4g64", "4g32", "2g32"), inner=100),
    "weights alone": lambda: matrices(("8g64", "4g32", "4g128"), FLOAT_BITS),
    "convolutions": lambda: odd((GROUPED[0], 8, GROUPED[1], GROUPED[3]), (8, 8, FLOAT_BITS, 8)),
}


def attempt(export, made):
    """The file, or None and why there is none."""
    try:
        return write_with_model(export, made.config, made.model, made.sample), ""
    except ExportRefused as error:
        return None, str(error)


ONNX = ("onnx", "onnx8", "onnx2")


# a network is traced for each file of ONNX, which takes a second
@pytest.mark.parametrize(
    ("name", "case"),
    [
        *itertools.product([name for name in EXPORTS if name not in ONNX], CASES),
        *crossed(ONNX, CASES),
    ],
)
def test_a_file_runs_and_agrees_or_is_refused_in_words(name, case):
    made, export = CASES[case](), EXPORTS[name]
    file, reason = attempt(export, made)
    if file is None:
        assert len(reason) > 40
        assert any(word in reason for word in (*made.config.model.names, "this network"))
        return
    assert file.content
    if export.needs_model:
        assert "failed" not in file.report
        assert file.report.get("argmax_agreement", 1.0) >= 0.95
        assert file.report.get("max_abs_diff", 0.0) < 2e-3
    if name == "packed" or (name == "onnx" and case != "convolutions"):
        assert "max_abs_diff" in file.report


def test_onnx_has_blocks_of_the_inputs_as_small_as_chosen():
    made = CASES["whole groups"]()
    file = write_with_model(EXPORTS["onnx"], made.config, made.model, made.sample)
    assert file.report["widened"] == {}
    nodes = [
        node
        for node in onnx.load_from_string(file.content).graph.node
        if node.op_type == "DequantizeLinear"
    ]
    blocks = [
        attribute.i
        for node in nodes
        for attribute in node.attribute
        if attribute.name == "block_size" and attribute.i
    ]
    assert blocks == [64, 32]
    for optimise in (False, True):
        got = torch.from_numpy(run_onnx.logits(file.content, made.sample, optimise))
        assert torch.allclose(got, made.wanted, atol=2e-3)


def test_packed_weights_and_scales_take_what_they_cost():
    made = matrices(("4g64", "3g32", "8g128"), FLOAT_BITS)
    file = write_with_model(EXPORTS["packed"], made.config, made.model, made.sample)
    layers = made.config.model.layers
    assert (
        file.report["weight_bytes"]
        == COSTS["weight_bytes"].total(made.config.model, made.config.allocation)
        == sum(layer.weights * bits // 8 for layer, bits in zip(layers, (4, 3, 8), strict=True))
    )
    scales = 2 * sum(
        layer.weights // group for layer, group in zip(layers, (64, 32, 128), strict=True)
    )
    assert file.report["overhead"]["scales"] == scales
    biases = 4 * sum(layer.biases for layer in layers)
    priced = COSTS["model_bytes"].total(made.config.model, made.config.allocation)
    assert file.report["weight_bytes"] + scales + biases == priced


@pytest.mark.parametrize("case", CASES)
def test_a_configuration_and_its_script_give_the_measured_answers(case):
    made = CASES[case]()
    text = dump_bits(made.config)
    read = parse_bits(text)
    assert read.allocation == made.config.allocation
    with torch.no_grad():
        assert torch.equal(apply_bits(made.model, read)(made.sample), made.wanted)
    assert {width for pair in json.loads(text)["bits"].values() for width in pair} & {
        "4g64",
        "8g64",
        "4g32",
    }
    script = types.ModuleType("applied")
    exec(compile(write(EXPORTS["script"], made.config), "applied", "exec"), vars(script))
    with torch.no_grad():
        got = script.apply(copy.deepcopy(made.model))(made.sample)
    assert torch.allclose(got, made.wanted, atol=2e-3)


@pytest.mark.parametrize(("name", "key"), [("autoround", "bits"), ("gptqmodel", "bits")])
def test_language_model_tools_are_given_their_group_sizes(name, key):
    made = matrices(("4g64", "3g32", "8"), FLOAT_BITS)
    document = json.loads(write(EXPORTS[name], made.config)) if name == "gptqmodel" else None
    chosen = document["dynamic"].values() if document else None
    if chosen is None:
        with pytest.raises(ExportRefused, match="multiple of 32"):
            write(EXPORTS[name], made.config)  # the head has ten outputs
        return
    assert [(entry["bits"], entry["group_size"]) for entry in chosen] == [(4, 64), (3, 32), (8, -1)]
    assert document["bits"] == 8


def test_rows_that_are_no_whole_groups_are_refused_by_tools_that_need_them():
    made = matrices(("4g64", "4g32", "8"), FLOAT_BITS, inner=100)
    for name in ("gptqmodel", "torchao"):
        _, reason = attempt(EXPORTS[name], made)
        assert "second has 100 inputs in groups of 32" in reason
