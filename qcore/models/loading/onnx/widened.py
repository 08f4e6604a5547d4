"""ONNX files that compute in halves or doubles, made ones of float32: cast at the door.

A network is quantized from float32, and its data are float32. Halves lose nothing by it, doubles
the digits beyond the seventh.
"""

from typing import Any

import numpy as np

from qcore.models.loading.onnx.parse import WHAT, graphs
from qcore.models.loading.onnx.runtime import copied
from qcore.models.loading.packages import need

_KINDS = ("FLOAT16", "DOUBLE", "BFLOAT16")
_SAYING = ("to", "dtype", "output_dtype")
"""Attributes that name the kind of what a node gives."""


def widened(proto: Any) -> Any:
    """A copy in which all that is half or double is float32; the model itself where nothing is."""
    kinds = need("onnx", WHAT).TensorProto
    others = {getattr(kinds, name) for name in _KINDS}
    if not _is_wide(proto, others):
        return proto  # a copy would hold all weights once more
    copy = copied(proto)
    changed = False
    for graph in graphs(copy.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in others:
                value.type.tensor_type.elem_type = kinds.FLOAT
                changed = True
        for tensor in graph.initializer:
            changed |= _as_float(tensor, others)
        changed |= _nodes_as_float(graph.node, others)
    for function in copy.functions:
        changed |= _nodes_as_float(function.node, others)
    return copy if changed else proto


def _is_wide(proto: Any, others: set[int]) -> bool:
    """Whether anything in a model may be of these kinds."""
    nodes = [each.node for each in (*graphs(proto.graph), *proto.functions)]
    for graph in graphs(proto.graph):
        values = (*graph.input, *graph.output, *graph.value_info)
        if any(value.type.tensor_type.elem_type in others for value in values):
            return True
        if any(tensor.data_type in others for tensor in graph.initializer):
            return True
    attributes = (entry for row in nodes for node in row for entry in node.attribute)
    return any(
        entry.t.data_type in others or (entry.name in _SAYING and entry.i in others)
        for entry in attributes
    )


def _nodes_as_float(nodes: Any, others: set[int]) -> bool:
    changed = False
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                changed |= _as_float(attribute.t, others)
            if attribute.name in _SAYING and attribute.i in others:
                attribute.i = need("onnx", WHAT).TensorProto.FLOAT
                changed = True
    return changed


def _as_float(tensor: Any, others: set[int]) -> bool:
    if tensor.data_type not in others:
        return False
    helper = need("onnx.numpy_helper", WHAT)
    values = np.asarray(helper.to_array(tensor))
    room = np.finfo(np.float32)
    # what masks with the least double masks with the least float
    finite = np.where(np.isfinite(values), values, 0).astype(np.float64).clip(room.min, room.max)
    found = np.where(np.isfinite(values), finite, values).astype(np.float32)
    tensor.CopyFrom(helper.from_array(found.reshape(tuple(tensor.dims)), tensor.name))
    return True
