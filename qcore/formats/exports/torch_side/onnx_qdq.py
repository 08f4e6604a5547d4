"""Writes ONNX QDQ files and runs them in onnxruntime; described in `formats.exports.onnx_qdq`.

Weight: integers -> DequantizeLinear (one scale per channel). Input: Clip (Max and Min before
containers below 8 bits) to the range of its bits where the container is wider -> QuantizeLinear ->
DequantizeLinear. Floats of 16 bits: the weight is
stored as such -> Cast; the input: Clip to the type's range -> Cast -> Cast back. Rounding is half
to even in both ONNX and torch. Biases and everything else stay in float.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from qcore.allocation import (
    FLOAT16,
    FLOAT_BITS,
    HALF_WIDTHS,
    is_float_width,
    stored_bits,
    width_text,
)
from qcore.errors import ExportRefused
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Rendered
from qcore.formats.exports.packing import pack_codes
from qcore.formats.exports.torch_side import onnx_graph, run_onnx
from qcore.formats.exports.torch_side.answers import judge_of
from qcore.formats.exports.torch_side.onnx_graph import Made, Site, array
from qcore.formats.exports.torch_side.packed import half_bytes
from qcore.formats.exports.torch_side.parts import (
    Part,
    Taken,
    refuse_grouped_transposed,
    require,
    take_apart,
    versions,
)
from qcore.formats.exports.torch_side.read_once import read_together, said
from qcore.quantizers import HALF_TYPES, HalfGrid
from qcore.trees import Tree

CONTAINERS = {18: (8,), 21: (4, 8, 16), 25: (2, 4, 8, 16)}
"""Opset to the integer widths its DequantizeLinear takes."""


BLOCKS_FROM = 21
"""The first opset whose DequantizeLinear has a scale for each block of inputs."""


def render_int8(config: BitConfig, model: nn.Module, sample: Tree) -> Rendered:
    """Opset 18, int8 alone; raises as `render` does."""
    return render("onnx8", 18, config, model, sample)


def render_int4(config: BitConfig, model: nn.Module, sample: Tree) -> Rendered:
    """Opset 21, int8 and int4; raises as `render` does."""
    return render("onnx", 21, config, model, sample)


def render_int2(config: BitConfig, model: nn.Module, sample: Tree) -> Rendered:
    """Opset 25, int8, int4 and int2; raises as `render` does."""
    return render("onnx2", 25, config, model, sample)


def render(name: str, opset: int, config: BitConfig, model: nn.Module, sample: Tree) -> Rendered:
    """The file, and what onnxruntime makes of the sample where that is installed.

    Raises:
        ExportRefused: packages are missing, torch cannot trace the network, or a layer's levels
            fit no integer of this opset.
    """
    require(onnx_graph.PACKAGES, "ONNX")
    taken = take_apart(config, model)
    return write(name, opset, config, taken, onnx_graph.float_graph(taken, sample, opset), sample)


def write(
    name: str, opset: int, config: BitConfig, taken: Taken, graph: Any, sample: Tree
) -> Rendered:
    """`render` for a float graph that is there already; the graph is changed in place."""
    refuse_grouped_transposed(taken, "ONNX")
    _refuse_groups(opset, taken)
    widths = CONTAINERS[opset]
    containers = {part.name: _containers(part, widths) for part in taken.parts.values()}
    sites = onnx_graph.sites_of(graph, taken)
    weight = partial(_weight, containers=containers)
    tied = read_together(config.model.layers, taken.parts)
    entry = partial(_input, containers=containers)
    once = onnx_graph.rewrite(graph, sites, weight, entry, tied)
    content = onnx_graph.finish(graph, config, name, onnx_graph.input_names(sample))
    quantized = [part for part in taken.parts.values() if part.codes is not None]
    report: dict[str, Any] = {
        "format": name,
        "opset": opset,
        "versions": versions(("torch", "onnx", "onnxscript", "onnxruntime")),
        "bytes": len(content),
        "weight_bytes_stored": sum(
            -(-part.weight.numel() * containers[part.name][0] // 8)
            if part.codes is not None
            else part.weight.numel() * stored_bits(part.bits.weight) // 8
            # a tied weight may be there twice, as it is and transposed
            for part in {(site.part.name, site.turned): site.part for site in sites}.values()
        ),
        "widened": _widened(taken, containers),
        **said(config.model.layers, taken.parts, once),
        "channels_with_negative_scale": sum(
            int((part.scale < 0).sum()) for part in quantized if part.scale is not None
        ),
    }
    report |= run_onnx.compare(content, taken.reference, sample, judge_of(config))
    return Rendered(content, report)


def _refuse_groups(opset: int, taken: Taken) -> None:
    """Raise where scales of groups have no place: DequantizeLinear has blocks of one axis."""
    grouped = [part for part in taken.parts.values() if part.group]
    if grouped and opset < BLOCKS_FROM:
        raise ExportRefused(
            f"Opset {opset} has no scales of groups, which {grouped[0].name} has: take the format "
            "with int4, or give its weights bits without groups."
        )
    other = [part.name for part in grouped if part.weight.dim() != 2]
    if other:
        raise ExportRefused(
            "ONNX has scales of groups along one axis, which the rows of a convolution are not: "
            f"{', '.join(other[:3])}. Give their weights bits without groups."
        )


def _containers(part: Part, widths: tuple[int, ...]) -> tuple[int, int]:
    """Bits of the integers that hold the weight's codes and the input's; 32 where floats do."""
    weight = next((w for w in widths if part.code_bits <= w), FLOAT_BITS)
    if part.codes is not None and weight == FLOAT_BITS:
        raise ExportRefused(
            f"The levels of layer {part.name!r} need integers of {part.code_bits} bits, which this "
            f"opset lacks; it has {', '.join(map(str, widths))}."
        )
    if is_float_width(part.bits.activation):
        return weight, FLOAT_BITS
    entry = next((w for w in widths if part.bits.activation <= w), FLOAT_BITS)
    if entry == FLOAT_BITS:
        raise ExportRefused(
            f"The input of layer {part.name!r} has {part.bits.activation} bits, and this opset has "
            f"integers of {', '.join(map(str, widths))}: take the format with int4, whose opset "
            "has 16."
        )
    return weight, entry


def _widened(taken: Taken, containers: dict[str, tuple[int, int]]) -> dict[str, str]:
    found = {}
    for part in taken.parts.values():
        weight, entry = containers[part.name]
        words = []
        if part.codes is not None and weight != stored_bits(part.bits.weight):
            words.append(f"{width_text(part.bits.weight)}-bit weights in int{weight}")
        if not is_float_width(part.bits.activation) and part.bits.activation != entry:
            words.append(f"{part.bits.activation}-bit inputs in uint{entry}, clipped")
        if words:
            found[part.name] = "; ".join(words)
    return found


def _integers(name: str, codes: np.ndarray, bits: int, signed: bool) -> Any:
    """An initializer of int2, int4, int8 or int16, packed as ONNX wants it."""
    import onnx

    if bits >= 8:
        kind = np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
        return array(name, codes.astype(kind))
    kind = getattr(onnx.TensorProto, f"{'INT' if signed else 'UINT'}{bits}")
    values = np.asarray(codes, np.int16)
    if bits > 1 and not signed:
        values = np.where(values >= 1 << (bits - 1), values - (1 << bits), values)
    return array(name, codes, kind, pack_codes(values, bits))


def _weight(site: Site, prefix: str, containers: dict[str, tuple[int, int]]) -> Made:
    import onnx

    part = site.part
    if part.bits.weight in HALF_WIDTHS:
        return _half_weight(site, prefix)
    if part.codes is None or part.scale is None:
        weight = part.weight.numpy()
        return Made(prefix, arrays=[array(prefix, weight.T if site.turned else weight)])
    codes = part.codes.T if site.turned else part.codes
    axis = 1 - part.axis if site.turned else part.axis
    names = (f"{prefix}.codes", f"{prefix}.scale")
    scale = part.scale
    blocks: dict[str, Any] = {}
    if part.group:
        # blocks run along the inputs, the other axis of a matrix
        axis, blocks = 1 - axis, {"block_size": part.group}
        scale = scale.T if site.turned else scale
    node = onnx.helper.make_node(
        "DequantizeLinear", names, [prefix], name=f"{prefix}.dequantize", axis=axis, **blocks
    )
    stored = _integers(names[0], codes, containers[part.name][0], signed=True)
    return Made(prefix, [node], [stored, array(names[1], scale.astype(np.float32))])


def _half_weight(site: Site, prefix: str) -> Made:
    import onnx

    weight = site.part.weight.T if site.turned else site.part.weight
    data, _ = half_bytes(weight, site.part.bits.weight)
    stored = f"{prefix}.half"
    kind = _half_type(site.part.bits.weight)
    node = onnx.helper.make_node(
        "Cast", [stored], [prefix], name=f"{prefix}.cast", to=onnx.TensorProto.FLOAT
    )
    return Made(prefix, [node], [array(stored, np.empty(weight.shape), kind, data)])


def _half_type(width: int) -> Any:
    import onnx

    return onnx.TensorProto.FLOAT16 if width == FLOAT16 else onnx.TensorProto.BFLOAT16


def _half_input(value: str, width: int, prefix: str) -> Made:
    """Clip -> Cast -> Cast: the values of the type, as floats of 32 bits."""
    import onnx

    most = torch.finfo(HALF_TYPES[width]).max
    names = [f"{prefix}.{end}" for end in ("low", "high", "clip", "half", "float")]
    nodes = [
        onnx.helper.make_node("Clip", [value, *names[:2]], [names[2]], name=names[2]),
        onnx.helper.make_node("Cast", [names[2]], [names[3]], name=names[3], to=_half_type(width)),
        onnx.helper.make_node(
            "Cast", [names[3]], [names[4]], name=names[4], to=onnx.TensorProto.FLOAT
        ),
    ]
    bounds = [array(names[0], np.float32(-most)), array(names[1], np.float32(most))]
    return Made(names[4], nodes, bounds)


def _input(site: Site, prefix: str, containers: dict[str, tuple[int, int]]) -> Made:
    import onnx

    grid, bits = site.part.grid, containers[site.part.name][1]
    if grid is None:
        return Made()
    if isinstance(grid, HalfGrid):
        return _half_input(site.node.input[0], grid.width, prefix)
    nodes: list[Any] = []
    arrays = [
        array(f"{prefix}.scale", np.float32(grid.step)),
        _integers(f"{prefix}.zero", np.array(-grid.low), bits, signed=False),
    ]
    value = site.node.input[0]

    def add(operator: str, *inputs: str) -> str:
        name = f"{prefix}.{operator.lower()}"
        nodes.append(onnx.helper.make_node(operator, [value, *inputs], [name], name=name))
        return name

    if grid.offset:
        arrays.append(array(f"{prefix}.offset", np.float32(grid.offset)))
        value = add("Sub", f"{prefix}.offset")
    if grid.high - grid.low + 1 < 2**bits or bits < 8:
        bounds = {"low": grid.low * grid.step, "high": grid.high * grid.step}
        arrays += [array(f"{prefix}.{end}", np.float32(x)) for end, x in bounds.items()]
        if bits < 8:
            # ONNX Runtime 1.31 cannot start where a Clip, a convolution or a pooling stands before
            # integers of 4 bits
            value = add("Max", f"{prefix}.low")
            value = add("Min", f"{prefix}.high")
        else:
            value = add("Clip", f"{prefix}.low", f"{prefix}.high")
    value = add("QuantizeLinear", f"{prefix}.scale", f"{prefix}.zero")
    value = add("DequantizeLinear", f"{prefix}.scale", f"{prefix}.zero")
    if grid.offset:
        value = add("Add", f"{prefix}.offset")
    return Made(value, nodes, arrays)
