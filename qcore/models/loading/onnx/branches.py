"""Puts the branch that is taken in the place of an If whose condition no sample can change.

Exporters write questions about shapes and settings as Ifs: is there one channel, is the rate
16 kHz. For one size of sample the answer is a constant.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from qcore.errors import UnsupportedModel
from qcore.models.loading.onnx.parse import graphs
from qcore.models.loading.onnx.runtime import copied
from qcore.models.loading.onnx.sizes import of_sizes_alone

MOST_ROUNDS = 50

Values = Callable[[Any, list[str]], list[list[np.ndarray]]]
"""(model, names) -> their values, for each of some batches."""


def without_branches(proto: Any, values: Values) -> Any:
    """A copy without Ifs.

    Args:
        proto: The model; inputs that are fixed are initializers.
        values: Runs it.

    Raises:
        UnsupportedModel: which branch is taken depends on the sample.
    """
    for number in range(MOST_ROUNDS):
        nodes = [node for node in proto.graph.node if node.op_type == "If"]
        if not nodes:
            return proto
        names = sorted({node.input[0] for node in nodes})
        known = of_sizes_alone(proto.graph) | {t.name for t in proto.graph.initializer}
        open_ones = [name for name in names if name not in known]
        if len(open_ones) == len(names):
            raise UnsupportedModel(
                "The file takes one of two ways (If) by what a sample holds, which cannot be "
                "followed. Export it without that, or bring the weights and the architecture."
            )
        decided = [name for name in names if name in known]
        seen = values(proto, decided)
        taken: dict[str, bool] = {}
        for name, *answers in zip(decided, *seen, strict=True):
            truth = {bool(np.asarray(answer).reshape(-1)[0]) for answer in answers}
            if len(truth) > 1:
                raise UnsupportedModel(
                    "The file takes one of two ways (If) by how many samples it is given. Export "
                    "it with the batch size left open, or fixed at 1."
                )
            taken[name] = truth.pop()
        proto = _inlined(proto, taken, number)
    raise UnsupportedModel("The file nests its branches (If) too deeply.")


def _inlined(proto: Any, taken: dict[str, bool], number: int) -> Any:
    copy = copied(proto)
    graph, nodes = copy.graph, []
    for place, node in enumerate(copy.graph.node):
        if node.op_type != "If" or node.input[0] not in taken:
            nodes.append(copied(node))
            continue
        wanted = "then_branch" if taken[node.input[0]] else "else_branch"
        branch = copied(next(a.g for a in node.attribute if a.name == wanted))
        outputs = [value.name for value in branch.output]
        fresh = _own_names(branch, f"b{number}_{place}_")
        made = [fresh.get(name, name) for name in outputs]
        graph.initializer.extend(branch.initializer)
        nodes += [copied(each) for each in branch.node]
        nodes += [
            _identity(copied(node), given, name)
            for given, name in zip(made, node.output, strict=True)
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return copy


def _identity(node: Any, given: str, name: str) -> Any:
    """An Identity in the place of a node, which is changed."""
    node.Clear()
    node.op_type, node.name = "Identity", f"{name}_taken"
    node.input.append(given)
    node.output.append(name)
    return node


def _own_names(branch: Any, start: str) -> dict[str, str]:
    """Give all that a branch makes names of its own; old name to new one."""
    fresh = {}
    for tensor in branch.initializer:
        fresh[tensor.name] = start + tensor.name
        tensor.name = fresh[tensor.name]
    for node in branch.node:
        fresh |= {name: start + name for name in node.output if name}
    for each in graphs(branch):
        for node in each.node:
            for names in (node.input, node.output) if each is branch else (node.input,):
                for place, name in enumerate(names):
                    names[place] = fresh.get(name, name)
        if each is not branch:
            for value in each.output:
                value.name = fresh.get(value.name, value.name)
    return fresh
