"""Makes an ONNX file's computed sizes plain numbers, so that the converted network can be followed.

Exporters write a flattening as a small program on shapes (Shape, Gather, Concat, Reshape), and
converters turn it into tensors of sizes, which torch.export cannot follow: who feeds whom would
stay unknown, and the network could not be written as ONNX again. For one size of image all of
these are numbers, but for the batch. So the file is run with two batch sizes: what does not change
is a constant, what does is the batch.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Node

from qcore.models.loading.onnx.gathered import within_samples
from qcore.models.loading.onnx.graph import stored
from qcore.models.loading.onnx.runtime import copied
from qcore.models.loading.packages import need

AXES_ONCE_ATTRIBUTES = tuple(
    f"Reduce{name}"
    for name in ("Max", "Mean", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
)
_BATCH = -1

RECURRENT = ("LSTM", "GRU", "RNN")
GATHERS = ("Gather", "GatherND")

Values = Callable[[Any, list[str]], list[list[np.ndarray]]]
"""(model, names of values) -> the values, for each of some numbers of samples."""


@dataclass(frozen=True)
class Sized:
    """A file whose sizes are numbers.

    Attributes:
        proto: The model.
        expanded: Name of an Expand node to the shape it gives, -1 for the batch.
    """

    proto: Any
    expanded: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def with_sizes(proto: Any, values: Values) -> Sized:
    """A copy in which sizes that can be known are constants; the file as it is where none can.

    Args:
        proto: A model, tidied: nodes have names of their own, constants are stored.
        values: Runs a model; what it raises is passed on.
    """
    graph = proto.graph
    sizes = of_sizes_alone(graph)
    readers = [node for node in graph.node if not sizes.issuperset(node.output)]
    sought = {name for node in readers for name in node.input if name in sizes}
    moving = [n for n in readers if n.op_type in ("Reshape", "Expand") and n.input[1] in sought]
    gathers = [n for n in readers if n.op_type in GATHERS and n.input[1] in sought]
    told = [n for n in readers if n.op_type in RECURRENT and len(n.input) > 4 and n.input[4]]
    lengthy = {node.name for node in told}
    shown = sought | {n.output[0] for n in moving} | {n.input[0] for n in (*gathers, *told)}
    known = {each.name for each in (*graph.initializer, *graph.input)}
    names = sorted(shown - known)
    seen = [dict(zip(names, found, strict=True)) for found in values(proto, names)] if names else []
    copy = copied(proto)
    graph, expanded, nodes = copy.graph, {}, []
    made: dict[tuple[Any, ...], str] = {}
    for node in graph.node:
        nodes.append(node)
        if node.name in lengthy and _whole(graph, node, seen):
            node.input[4] = ""
        if not seen or sizes.issuperset(node.output):
            continue
        for place, name in enumerate(node.input):
            if name not in sought:
                continue
            one, other = seen[0][name], seen[-1][name]
            if node.op_type in RECURRENT and place in (5, 6) and not one.any():
                node.input[place] = ""  # a state of zeros is what it starts from anyway
                continue
            if np.array_equal(one, other):
                # what two nodes compute alike, as a weight turned twice, is one tensor
                key = (one.dtype.str, one.shape, one.tobytes())
                if key not in made:
                    made[key] = _constant(graph, f"{node.name}_{place}", one)
                node.input[place] = made[key]
                continue
            if node.op_type == "Resize" and place == 3 and np.array_equal(one[1:], other[1:]):
                # the number of samples is never resized, whatever stands there
                node.input[place] = _constant(graph, f"{node.name}_{place}", [1, *one[1:]])
                continue
            if node.op_type in GATHERS and place == 1:
                nodes[-1:] = _within_samples(graph, node, seen)
                continue
            if node.op_type not in ("Reshape", "Expand") or place != 1:
                continue
            given = _given(seen[0][node.output[0]], seen[-1][node.output[0]])
            if given is not None and node.op_type == "Expand":
                expanded[node.name] = given
            elif given is not None:
                node.input[place] = _constant(graph, f"{node.name}_shape", np.array(given))
    nodes = [copied(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    _forget_unused(graph)
    return Sized(copy, expanded)


def _within_samples(graph: Any, node: Any, seen: list[dict[str, np.ndarray]]) -> list[Any]:
    """A gather that reads every sample alike as one within samples; else the node as it is."""
    axes = ("axis", "batch_dims")
    axis = next((a.i for a in node.attribute if a.name in axes), 0)
    found = [
        within_samples(node.op_type, axis, each[node.input[0]], each[node.input[1]])
        if node.input[0] in each
        else None
        for each in (seen[0], seen[-1])
    ]
    one, other = found
    if one is None or other is None or one.rows != other.rows:
        return [node]
    if not np.array_equal(one.places, other.places):
        return [node]
    helper, rows = need("onnx", "").helper, f"{node.name}_rows"
    shape = _constant(graph, f"{node.name}_rows_shape", np.array(one.rows, np.int64))
    places = _constant(graph, f"{node.name}_places", one.places)
    return [
        helper.make_node("Reshape", [node.input[0], shape], [rows], name=rows),
        helper.make_node("Gather", [rows, places], list(node.output), name=node.name, axis=1),
    ]


def _whole(graph: Any, node: Any, seen: list[dict[str, np.ndarray]]) -> bool:
    """True where a recurrent node is always given as many steps as it has for every sample."""
    axis = 1 if any(a.name == "layout" and a.i for a in node.attribute) else 0
    name, lengths = node.input[0], node.input[4]
    fixed = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    numpy_helper = need("onnx.numpy_helper", "")
    kept = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.name == lengths}
    for found in seen or [{}]:
        given = kept.get(lengths, found.get(lengths))
        steps = found[name].shape[axis] if name in found else fixed[name][axis].dim_value
        if given is None or not (given == steps).all():
            return False
    return True


def of_sizes_alone(graph: Any) -> set[str]:
    """Names of values computed from shapes and stored tensors, never from what an image holds."""
    known = {"", *(tensor.name for tensor in graph.initializer)}
    learned = {
        t.name for t in graph.initializer if t.data_type == need("onnx", "").TensorProto.FLOAT
    }
    found: set[str] = set()
    for node in graph.node:
        if any(a.g.node or a.graphs for a in node.attribute):
            continue
        if node.op_type == "Expand" and node.input[0] in learned:
            continue  # a class token, repeated for each image
        if node.op_type == "Shape" or known.union(found).issuperset(node.input):
            found.update(node.output)
    return found


def _given(one: np.ndarray, other: np.ndarray) -> tuple[int, ...] | None:
    """The shape of a value, -1 for the dimension that grows with the batch; None where two do."""
    grows = [a != b for a, b in zip(one.shape, other.shape, strict=True)]
    if sum(grows) > 1:
        return None
    return tuple(_BATCH if g else size for g, size in zip(grows, one.shape, strict=True))


def lowered(proto: Any) -> Any:
    """A copy in which operators of newer sets stand as those of set 17 that compute the same."""
    copy = copied(proto)
    graph = copy.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        constant = tensors.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type == "Reshape" and "allowzero" in attributes:
            if constant is not None and 0 not in _values(constant):
                node.attribute.remove(attributes["allowzero"])
        elif node.op_type in AXES_ONCE_ATTRIBUTES and constant is not None:
            node.attribute.append(need("onnx", "").helper.make_attribute("axes", _values(constant)))
            del node.input[1:]
        if node.op_type == "Gemm" and len(node.input) > 2 and node.input[2] in tensors:
            _plain_bias(graph, node, tensors)
        if node.op_type == "Gelu" and not any(a.s == b"tanh" for a in node.attribute):
            nodes += _gelu(graph, node)
        else:
            nodes.append(copied(node))
    del graph.node[:]
    graph.node.extend(nodes)
    return copy


def _plain_bias(graph: Any, node: Any, tensors: Mapping[str, Any]) -> None:
    """Give a Gemm whose stored bias is one row, or one number, a bias of one number an output."""
    if node.input[1] not in tensors:
        return
    turned = any(a.name == "transB" and a.i for a in node.attribute)
    outputs = tensors[node.input[1]].dims[0 if turned else 1]
    bias = need("onnx.numpy_helper", "").to_array(tensors[node.input[2]])
    if bias.shape == (outputs,):
        return
    if bias.size == 1 or (bias.size == outputs and bias.shape[-1] == outputs):
        spread = np.broadcast_to(bias.reshape(-1), (outputs,))
        node.input[2] = _constant(graph, f"{node.name}_bias", np.array(spread))


def _gelu(graph: Any, node: Any) -> list[Any]:
    """The nodes of x / 2 * (1 + erf(x / sqrt(2)))."""
    helper, numpy_helper = need("onnx", "").helper, need("onnx.numpy_helper", "")
    x, y, name = node.input[0], node.output[0], node.name
    numbers = {"root": math.sqrt(0.5), "one": 1.0, "half": 0.5}
    for key, value in numbers.items():
        graph.initializer.append(numpy_helper.from_array(np.float32(value), f"{name}_{key}"))
    steps = (
        ("Mul", (x, f"{name}_root"), f"{name}_scaled"),
        ("Erf", (f"{name}_scaled",), f"{name}_erf"),
        ("Add", (f"{name}_erf", f"{name}_one"), f"{name}_sum"),
        ("Mul", (x, f"{name}_half"), f"{name}_halved"),
        ("Mul", (f"{name}_halved", f"{name}_sum"), y),
    )
    return [helper.make_node(op, i, [o], name=f"{o}_{op.lower()}") for op, i, o in steps]


def _values(tensor: Any) -> list[int]:
    return [int(v) for v in need("onnx.numpy_helper", "").to_array(tensor).reshape(-1)]


def _constant(graph: Any, name: str, values: Any) -> str:
    graph.initializer.append(need("onnx.numpy_helper", "").from_array(np.asarray(values), name))
    return name


def _forget_unused(graph: Any) -> None:
    """Drop nodes and tensors that nothing reads any more."""
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {value.name for value in graph.output}
        inner = [a for node in graph.node for a in node.attribute if a.g.node or a.graphs]
        if inner:
            return  # bodies of branches and loops read names of the graph around them
        kept = [copied(node) for node in graph.node if read & set(node.output)]
        if len(kept) == len(graph.node):
            break
        del graph.node[:]
        graph.node.extend(kept)
    tensors = [copied(tensor) for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(tensors)


# ---- after the conversion

KINDS = (
    "OnnxReshape", "OnnxExpand", "OnnxSlice", "OnnxGather", "OnnxSqueezeDynamicAxes", "OnnxSplit13",
)  # fmt: skip
"""Modules of onnx2torch that take sizes or places as tensors."""


def with_numbers(converted: GraphModule, expanded: Mapping[str, tuple[int, ...]]) -> GraphModule:
    """Give onnx2torch's reshapes, slices and gathers their stored sizes as numbers.

    Args:
        converted: What onnx2torch gave; changed in place.
        expanded: `Sized.expanded`.
    """
    modules = dict(converted.named_modules())
    graph = converted.graph
    image = next(node for node in graph.nodes if node.op == "placeholder")
    for node in list(graph.nodes):
        kind = type(modules[str(node.target)]).__name__ if node.op == "call_module" else ""
        if kind not in KINDS:
            continue
        with graph.inserting_before(node):
            made = _with_numbers(converted, node, kind, image, expanded.get(str(node.target)))
        if made is not None:
            node.replace_all_uses_with(made)
            graph.erase_node(node)
    graph.eliminate_dead_code()
    converted.delete_all_unused_submodules()
    converted.recompile()
    return converted


def _with_numbers(
    converted: GraphModule,
    node: Node,
    kind: str,
    image: Node,
    expanded: tuple[int, ...] | None,
) -> Node | None:
    graph, value = converted.graph, node.args[0]
    found = [_stored(converted, argument) for argument in node.args[1:]]
    stored = [numbers for numbers in found if numbers is not None]
    if not isinstance(value, Node):
        return None
    if kind == "OnnxExpand":
        sizes = expanded or (tuple(stored[0].tolist()) if stored else None)
        if sizes is None or (1 in sizes and expanded is None):
            return None  # a 1 there leaves the value's own size, which is not known here
        batch = graph.call_method("size", (image, 0)) if _BATCH in sizes else None
        return graph.call_method(
            "expand", (value, *(batch if size == _BATCH else size for size in sizes))
        )
    if not stored or len(stored) < len(found):
        return None
    if kind == "OnnxReshape":
        shape = [
            graph.call_method("size", (value, place)) if size == 0 else size
            for place, size in enumerate(stored[0].tolist())
        ]
        return graph.call_method("reshape", (value, *shape))
    module: Any = converted.get_submodule(str(node.target))
    if kind == "OnnxGather":
        one = stored[0].dim() == 0
        return graph.call_method("select", (value, module._axis, int(stored[0]))) if one else None
    if kind == "OnnxSqueezeDynamicAxes":
        return graph.call_method("squeeze", (value, tuple(stored[0].tolist())))
    if kind == "OnnxSplit13":
        return graph.call_method("split", (value, stored[0].tolist(), module.axis))
    return _sliced(graph, value, [numbers.tolist() for numbers in stored])


def _sliced(graph: Any, value: Node, numbers: list[list[int]]) -> Node | None:
    starts, ends = numbers[:2]
    axes = numbers[2] if len(numbers) > 2 else list(range(len(starts)))
    steps = numbers[3] if len(numbers) > 3 else [1] * len(starts)
    if min(steps) < 1 or min(axes) < 0 <= max(axes):
        return None
    parts = [slice(None)] * ((max(axes) + 1) if min(axes) >= 0 else -min(axes))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        parts[axis] = slice(start, end, step)
    places = tuple(parts) if min(axes) >= 0 else (Ellipsis, *parts)
    return graph.call_function(operator.getitem, (value, places))


def _stored(converted: GraphModule, argument: Any) -> torch.Tensor | None:
    """The whole numbers a node reads from the file, or None."""
    value = stored(argument, converted)
    return None if value is None or value.is_floating_point() else value
