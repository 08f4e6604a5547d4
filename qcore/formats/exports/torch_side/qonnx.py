"""Writes QONNX files and runs them in qonnx' own executor; described in `formats.exports.qonnx`.

Reference: Pappalardo et al., QONNX: Representing Arbitrary-Precision Quantized Neural Networks,
2022, section 3: Quant (scale, zero point, bit width; signed, narrow, rounding) and BipolarQuant.
"""

import importlib.util
import warnings
from typing import Any

import numpy as np
from torch import nn

from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Rendered
from qcore.formats.exports.torch_side import onnx_graph
from qcore.formats.exports.torch_side.answers import agreement, answers_of, judge_of, like
from qcore.formats.exports.torch_side.onnx_graph import Made, Site, array
from qcore.formats.exports.torch_side.parts import (
    Taken,
    refuse_grouped_transposed,
    require,
    take_apart,
    versions,
)
from qcore.formats.exports.torch_side.read_once import read_together, said
from qcore.formats.exports.torch_side.run_onnx import feeds_of
from qcore.quantizers import ActivationGrid
from qcore.trees import Tree, count, part

OPSET, DOMAIN, INPUTS = 18, "qonnx.custom_op.general", 8


def render(config: BitConfig, model: nn.Module, sample: Tree) -> Rendered:
    """The file, and what qonnx' executor makes of the first eight samples where it is installed.

    Raises:
        ExportRefused: packages are missing, or torch cannot trace the network.
    """
    require(onnx_graph.PACKAGES, "QONNX")
    taken = take_apart(config, model)
    return write(config, taken, onnx_graph.float_graph(taken, sample, OPSET), sample)


def write(config: BitConfig, taken: Taken, graph: Any, sample: Tree) -> Rendered:
    """`render` for a float graph that is there already; the graph is changed in place."""
    refuse_grouped_transposed(taken, "QONNX")
    sites = onnx_graph.sites_of(graph, taken)
    tied = read_together(config.model.layers, taken.parts)
    once = onnx_graph.rewrite(graph, sites, _weight, _input, tied)
    graph.opset_import.add(domain=DOMAIN, version=1)
    content = onnx_graph.finish(graph, config, "qonnx", onnx_graph.input_names(sample))
    report: dict[str, Any] = {
        "format": "qonnx",
        "opset": OPSET,
        "versions": versions(("torch", "onnx", "onnxscript", "onnxruntime", "qonnx")),
        "bytes": len(content),
        "widened": {
            part.name: f"{part.bits.weight}-bit weights as {part.code_bits}-bit integers"
            for part in taken.parts.values()
            if part.codes is not None
            and part.bits.weight > 1
            and part.code_bits != part.bits.weight
        },
        **said(config.model.layers, taken.parts, once),
        "channels_with_negative_scale": sum(
            int((part.scale < 0).sum()) for part in taken.parts.values() if part.scale is not None
        ),
    }
    if importlib.util.find_spec("qonnx") is None:
        report["not_run"] = "qonnx is not installed here"
    else:
        few = part(sample, slice(INPUTS))
        wanted = answers_of(taken.reference, few)
        got = like(wanted, outputs_of(content, few))
        report |= agreement(judge_of(config), few, wanted, got)
    return Rendered(content, report)


def outputs_of(content: bytes, sample: Tree) -> list[np.ndarray]:
    """Outputs (n, ...) of a QONNX file as qonnx' executor computes them, node by node."""
    import onnx
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    model = onnx.load_from_string(content)
    entries = list(model.graph.input)
    size = entries[0].type.tensor_type.shape.dim[0].dim_value or count(sample)
    for value in (*entries, *model.graph.output):
        # its executor takes no free dimension
        value.type.tensor_type.shape.dim[0].dim_value = size
    names = [value.name for value in model.graph.output]
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = ModelWrapper(model).transform(InferShapes())
        for start in range(0, count(sample), size):
            few = part(sample, slice(start, start + size))
            given = execute_onnx(wrapped, feeds_of(few, [entry.name for entry in entries]))
            found.append([given[name] for name in names])
    return [np.concatenate(each) for each in zip(*found, strict=True)]


def _quant(value: str, prefix: str, scale: np.ndarray, zero: int, bits: int, signed: int) -> Made:
    import onnx

    names = [f"{prefix}.{end}" for end in ("scale", "zero", "bits")]
    node = onnx.helper.make_node(
        "Quant", [value, *names], [f"{prefix}.quant"], name=f"{prefix}.quant", domain=DOMAIN,
        signed=signed, narrow=0, rounding_mode="ROUND",
    )  # fmt: skip
    arrays = [array(names[0], np.asarray(scale, np.float32))]
    arrays += [array(n, np.float32(v)) for n, v in zip(names[1:], (zero, bits), strict=True)]
    return Made(f"{prefix}.quant", [node], arrays)


def _weight(site: Site, prefix: str) -> Made:
    import onnx

    part = site.part
    weight = part.weight.numpy()
    stored = array(prefix, weight.T if site.turned else weight)
    if part.codes is None or part.scale is None:
        return Made(prefix, arrays=[stored])
    axis = 1 - part.axis if site.turned else part.axis
    scale = part.scale.reshape([-1 if d == axis else 1 for d in range(weight.ndim)])
    if part.bits.weight == 1 and set(np.unique(part.codes)) <= {-1, 1}:
        name = f"{prefix}.bipolar"
        node = onnx.helper.make_node(
            "BipolarQuant", [prefix, f"{prefix}.scale"], [name], name=name, domain=DOMAIN
        )
        return Made(name, [node], [stored, array(f"{prefix}.scale", scale.astype(np.float32))])
    made = _quant(prefix, prefix, scale, 0, part.code_bits, 1)
    return Made(made.output, made.nodes, [stored, *made.arrays])


def _input(site: Site, prefix: str) -> Made:
    import onnx

    grid, bits = site.part.grid, site.part.bits.activation
    if not isinstance(grid, ActivationGrid):
        return Made()
    value = site.node.input[0]
    if not grid.offset:
        return _quant(value, prefix, np.array(grid.step), -grid.low, bits, 0)
    offset = array(f"{prefix}.offset", np.float32(grid.offset))
    names = (f"{prefix}.sub", f"{prefix}.add")
    made = _quant(names[0], prefix, np.array(grid.step), -grid.low, bits, 0)
    before = onnx.helper.make_node("Sub", [value, offset.name], [names[0]], name=names[0])
    after = onnx.helper.make_node("Add", [made.output, offset.name], [names[1]], name=names[1])
    return Made(names[1], [before, *made.nodes, after], [offset, *made.arrays])
