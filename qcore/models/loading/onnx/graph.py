"""Puts ONNX graphs, and what converters make of them, into the form bitdial finds layers in.

Exporters name equal tensors once and pass them on by Identity nodes, which neither converter
follows to the weights; and they write a linear layer on sequences as MatMul and Add, which a
converter leaves as plain functions, out of reach of any bit-width.
"""

import re
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Node

from qcore.models.loading.onnx.parse import graphs, nodes_of
from qcore.models.loading.packages import need


def tidied(proto: Any) -> Any:
    """A copy of a model without Identity and Constant nodes, all names plain.

    What an Identity passed on is read where it comes from. Names become letters, digits and "_",
    so that a node's name is also a module's.
    """
    copy = type(proto)()
    copy.CopyFrom(proto)
    graph = copy.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    other: dict[str, str] = {}
    kept = []
    read = {name for node in nodes_of(graph) for name in node.input} | outputs
    for node in graph.node:
        while node.input and not node.input[-1]:
            del node.input[-1]  # left out, as the upper end of a Clip
        for index, name in enumerate(node.input):
            node.input[index] = other.get(name, name)
        _reread(node, other)
        value = constant_of(node)
        passes = node.op_type == "Identity" or _rests(node, tensors, read)
        if node.output[0] in outputs or (value is None and not passes):
            kept.append(node)
        elif value is None:
            other[node.output[0]] = node.input[0]
        else:
            twin = graph.initializer.add()
            twin.CopyFrom(value)
            twin.name = node.output[0]
            tensors[twin.name] = twin
    whole = [type(node).FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(whole)
    del graph.value_info[:]
    _rename(graph)
    return copy


def _reread(node: Any, other: dict[str, str]) -> None:
    """Let branches and bodies within a node read what Identities passed on where it comes from."""
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for each in graphs(inner):
                for within in each.node:
                    for index, name in enumerate(within.input):
                        within.input[index] = other.get(name, name)
                for value in each.output:
                    value.name = other.get(value.name, value.name)


def _rests(node: Any, tensors: dict[str, Any], read: set[str]) -> bool:
    """True for a dropout, which passes its input on where the network does not train."""
    if node.op_type != "Dropout" or any(name in read for name in node.output[1:]):
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    told = tensors.get(node.input[2])
    return told is not None and not need("onnx.numpy_helper", "").to_array(told).any()


def constant_of(node: Any) -> Any:
    """The tensor of a Constant node; None for other nodes, and for constants of words."""
    if node.op_type != "Constant":
        return None
    told = {attribute.name: attribute for attribute in node.attribute}
    if "value" in told:
        return told["value"].t
    kinds = {"value_float": ("f", "f4"), "value_floats": ("floats", "f4")}
    kinds |= {"value_int": ("i", "i8"), "value_ints": ("ints", "i8")}
    for name, (field, kind) in kinds.items():
        if name in told:
            found = getattr(told[name], field)
            return need("onnx.numpy_helper", "").from_array(
                np.array(found if name[-1] != "s" else list(found), kind)
            )
    return None


def _rename(graph: Any) -> None:
    if any(attribute.g.node for node in graph.node for attribute in node.attribute):
        return  # bodies of loops and branches read names of the graph around them
    plain: dict[str, str] = {"": ""}
    taken: set[str] = set()

    def fresh_for(name: str) -> str:
        words = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "tensor"
        words = f"n{words}" if words[0].isdigit() else words
        count = 1
        while (fresh := words if count == 1 else f"{words}_{count}") in taken:
            count += 1
        taken.add(fresh)
        return fresh

    def name_for(name: str) -> str:
        if name not in plain:
            plain[name] = fresh_for(name)
        return plain[name]

    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = name_for(value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = name_for(name)
    taken.clear()
    for number, node in enumerate(graph.node):
        node.name = fresh_for(node.name.strip("/") or f"{node.op_type}_{number}")


def with_linears(converted: GraphModule) -> GraphModule:
    """Make a linear module of each product with a stored matrix, and of the addition after it.

    Args:
        converted: What onnx2torch gave; changed in place.
    """
    modules = dict(converted.named_modules())
    graph = converted.graph
    for node in list(graph.nodes):
        if kind_of(node, modules) == "OnnxGemm":
            _linear_of_gemm(node, modules[str(node.target)], converted)
        if kind_of(node, modules) != "OnnxMatMul":
            continue
        matrix = floats_of(node.args[1], converted)
        if matrix is None or matrix.dim() != 2 or not isinstance(node.args[0], Node):
            continue
        users = list(node.users)
        add = users[0] if len(users) == 1 and _is_addition(users[0], modules) else None
        bias = None
        if add is not None:
            others = [a for a in add.args if a is not node]
            bias = floats_of(others[0], converted) if len(others) == 1 else None
            bias = _row(bias, matrix.shape[1])
        linear = nn.Linear(matrix.shape[0], matrix.shape[1], bias is not None)
        linear.weight = nn.Parameter(matrix.t().contiguous())
        if bias is not None:
            linear.bias = nn.Parameter(bias.clone())
        last = add if add is not None and bias is not None else node
        # the module takes the place of the product's own
        converted.add_module(str(node.target), linear)
        with graph.inserting_before(node):
            call = graph.call_module(str(node.target), (node.args[0],))
        last.replace_all_uses_with(call)
        for gone in dict.fromkeys((last, node)):
            graph.erase_node(gone)
    graph.eliminate_dead_code()
    converted.delete_all_unused_submodules()
    _drop_unused_tensors(converted)
    converted.recompile()
    return converted


def _row(bias: torch.Tensor | None, length: int) -> torch.Tensor | None:
    """A bias as one number for each output; None where it differs between samples.

    It may be stored as (n,), (1, n), (1, 1) or one number, which are added alike.
    """
    if bias is None or bias.numel() not in (1, length) or bias.dim() > 2:
        return None
    if bias.numel() > 1 and bias.shape[-1] != length:
        return None
    return bias.reshape(-1).expand(length).contiguous()


def _linear_of_gemm(node: Node, gemm: Any, converted: GraphModule) -> None:
    """Make a linear module of a Gemm with a stored matrix and a bias of whatever shape."""
    arguments = dict(zip(("a", "b", "c"), node.args, strict=False))
    arguments["c"] = node.kwargs.get("input_c", arguments.get("c"))
    matrix = floats_of(arguments["b"], converted)
    if gemm.trans_a or matrix is None or matrix.dim() != 2:
        return
    weight = matrix if gemm.trans_b else matrix.t()
    bias = None
    if arguments["c"] is not None:
        bias = _row(floats_of(arguments["c"], converted), len(weight))
        if bias is None:
            return
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    linear.weight = nn.Parameter(weight.contiguous() * gemm.alpha)
    if bias is not None:
        linear.bias = nn.Parameter(bias * gemm.beta)
    converted.add_module(str(node.target), linear)
    node.args, node.kwargs = (node.args[0],), {}


def kind_of(node: Node, modules: dict[str, nn.Module]) -> str:
    """Name of the class of the module that a node calls; "" for other nodes."""
    return type(modules[str(node.target)]).__name__ if node.op == "call_module" else ""


def _is_addition(node: Node, modules: dict[str, nn.Module]) -> bool:
    if kind_of(node, modules) != "OnnxBinaryMathOperation":
        return False
    module: Any = modules[str(node.target)]
    return getattr(module, "math_op_function", None) is torch.add


def stored(argument: Any, converted: GraphModule) -> torch.Tensor | None:
    """The tensor that an argument of a node reads from the file, or None."""
    if not isinstance(argument, Node) or argument.op != "get_attr":
        return None
    value: Any = converted
    for part in str(argument.target).split("."):
        value = getattr(value, part)
    return value.detach() if isinstance(value, torch.Tensor) else None


def floats_of(argument: Any, converted: GraphModule) -> torch.Tensor | None:
    """The floats that an argument of a node reads from the file, or None."""
    value = stored(argument, converted)
    return value if value is not None and value.is_floating_point() else None


def _drop_unused_tensors(converted: GraphModule) -> None:
    used = {str(node.target) for node in converted.graph.nodes if node.op == "get_attr"}
    for name, _ in list(converted.named_buffers()):
        if name.startswith("initializers.") and name not in used:
            delattr(converted.get_submodule("initializers"), name.partition(".")[2])
