"""Puts copies of the graph within a node, a branch or a body, into the graph around it."""

from collections.abc import Mapping
from typing import Any

from qcore.models.loading.onnx.graph import constant_of
from qcore.models.loading.onnx.parse import graphs
from qcore.models.loading.onnx.runtime import copied


def body_of(node: Any, name: str) -> Any:
    """A copy of the graph that an attribute of a node holds."""
    return copied(next(a.g for a in node.attribute if a.name == name))


def stored_apart(body: Any, start: str) -> tuple[Any, list[Any]]:
    """A copy of a body without stored tensors and constants, and these under names of their own.

    Copies of the body then read one tensor, and not each its own.

    Args:
        body: The graph.
        start: What the tensors' names begin with.
    """
    copy = copied(body)
    kept, tensors, fresh = [], [], {}
    for tensor in copy.initializer:
        tensors.append(copied(tensor))
        fresh[tensor.name] = tensors[-1].name = start + tensor.name
    outputs = {value.name for value in copy.output}
    for node in copy.node:
        value = constant_of(node)
        if value is None or node.output[0] in outputs:
            kept.append(copied(node))
            continue
        tensors.append(copied(value))
        fresh[node.output[0]] = tensors[-1].name = start + node.output[0]
    del copy.initializer[:]
    del copy.node[:]
    copy.node.extend(kept)
    rename(copy, fresh)
    for value in copy.output:
        value.name = fresh.get(value.name, value.name)
    return copy, tensors


def own_names(body: Any, start: str) -> dict[str, str]:
    """Give all that a graph makes names of its own; old name to new one. Changed in place."""
    fresh = {}
    for tensor in body.initializer:
        fresh[tensor.name] = start + tensor.name
        tensor.name = fresh[tensor.name]
    for node in body.node:
        fresh |= {name: start + name for name in node.output if name}
    rename(body, fresh)
    return fresh


def rename(body: Any, fresh: Mapping[str, str]) -> None:
    """Call values of a graph otherwise, also where graphs within it read them; in place."""
    for each in graphs(body):
        for node in each.node:
            for names in (node.input, node.output) if each is body else (node.input,):
                for place, name in enumerate(names):
                    names[place] = fresh.get(name, name)
        if each is not body:
            for value in each.output:
                value.name = fresh.get(value.name, value.name)


def passed_on(node: Any, given: str, name: str) -> Any:
    """An Identity that gives a value another name."""
    made = type(node)()
    made.op_type, made.name = "Identity", f"{name}_taken"
    made.input.append(given)
    made.output.append(name)
    return made


def replaced(proto: Any, nodes: list[Any], tensors: list[Any]) -> Any:
    """A copy of a model with other nodes, and further stored tensors."""
    copy = copied(proto)
    whole = list(map(copied, nodes))
    del copy.graph.node[:]
    copy.graph.node.extend(whole)
    copy.graph.initializer.extend(tensors)
    del copy.graph.value_info[:]
    return copy


def needed_for(proto: Any, names: list[str]) -> Any:
    """A copy of a model with only what some of its values are computed from."""
    wanted, kept = set(names), []
    for node in reversed(proto.graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
            inner = [graph for a in node.attribute for graph in (a.g, *a.graphs)]
            wanted.update(name for each in inner for name in _reads(each))
    copy = replaced(proto, kept[::-1], [])
    del copy.graph.output[:]
    return copy


def _reads(inner: Any) -> set[str]:
    found = {name for each in graphs(inner) for node in each.node for name in node.input}
    return found | {value.name for each in graphs(inner) for value in each.output}
