"""Writes QONNX files and runs them in qonnx' own executor; described in `formats.exports.qonnx`.

Reference: Pappalardo et al., QONNX: Representing Arbitrary-Precision Quantized Neural Networks,
2022, section 3: Quant (scale, zero point, bit width; signed, narrow, rounding) and BipolarQuant.
"""

import importlib.util
import warnings
from typing import Any

import numpy as np
from torch import Tensor, nn

from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Rendered
from qcore.formats.exports.torch_side import onnx_graph
from qcore.formats.exports.torch_side.onnx_graph import Made, Site, array
from qcore.formats.exports.torch_side.parts import (
    Taken,
    agreement,
    logits_of,
    refuse_grouped_transposed,
    require,
    take_apart,
    versions,
)

OPSET, DOMAIN, INPUTS = 18, "qonnx.custom_op.general", 8


def render(config: BitConfig, model: nn.Module, sample: Tensor) -> Rendered:
    """The file, and what qonnx' executor makes of the first eight images where it is installed.

    Raises:
        ExportRefused: packages are missing, or torch cannot trace the network.
    """
    require(onnx_graph.PACKAGES, "QONNX")
    taken = take_apart(config, model)
    return write(config, taken, onnx_graph.float_graph(taken, sample, OPSET), sample)


def write(config: BitConfig, taken: Taken, graph: Any, sample: Tensor) -> Rendered:
    """`render` for a float graph that is there already; the graph is changed in place."""
    refuse_grouped_transposed(taken, "QONNX")
    sites = onnx_graph.sites_of(graph, taken)
    onnx_graph.rewrite(graph, sites, _weight, _input)
    graph.opset_import.add(domain=DOMAIN, version=1)
    content = onnx_graph.finish(graph, config, "qonnx")
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
        "channels_with_negative_scale": sum(
            int((part.scale < 0).sum()) for part in taken.parts.values() if part.scale is not None
        ),
    }
    if importlib.util.find_spec("qonnx") is None:
        report["not_run"] = "qonnx is not installed here"
    else:
        images = sample[:INPUTS]
        report |= agreement(logits_of(taken.reference, images), logits(content, images))
    return Rendered(content, report)


def logits(content: bytes, sample: Tensor) -> np.ndarray:
    """Logits (n, classes) of a QONNX file as qonnx' executor computes them, node by node."""
    import onnx
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    model = onnx.load_from_string(content)
    shape = model.graph.input[0].type.tensor_type.shape
    fixed = shape.dim[0].dim_value
    size = fixed or len(sample)
    for value in (model.graph.input[0], model.graph.output[0]):
        # its executor takes no free dimension
        value.type.tensor_type.shape.dim[0].dim_value = size
    parts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = ModelWrapper(model).transform(InferShapes())
        for images in sample.split(size):
            given = {model.graph.input[0].name: images.float().numpy()}
            parts.append(execute_onnx(wrapped, given)[model.graph.output[0].name])
    return np.concatenate(parts)


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
    if grid is None:
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
