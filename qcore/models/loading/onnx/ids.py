"""How an ONNX graph uses an input: as ids of a vocabulary, a state, or a number to compare."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from qcore.models.loading.onnx.parse import nodes_of
from qcore.models.loading.packages import need

_PASSING = (
    "Cast", "Reshape", "Unsqueeze", "Squeeze", "Identity", "Transpose", "Expand", "Slice",
    "Flatten", "Clip", "Split", "Tile", "Concat", "Gather",
)  # fmt: skip
_RECURRENT = ("LSTM", "GRU", "RNN")


def readers(graph: Any, name: str) -> Iterator[tuple[Any, int]]:
    """Nodes that read a value, or what passes it on unchanged, with the place they read it at."""
    nodes = list(nodes_of(graph))
    wanted, done = [name], set[str]()
    while wanted:
        current = wanted.pop()
        if current in done:
            continue
        done.add(current)
        for node in nodes:
            for place, given in enumerate(node.input):
                if given != current:
                    continue
                yield node, place
                if node.op_type in _PASSING and place == 0:
                    wanted += list(node.output)


def _stored(graph: Any) -> dict[str, Any]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in nodes_of(graph):
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = attribute.t
    return found


def vocabulary(graph: Any, name: str) -> int | None:
    """How many ids an input of whole numbers has, from the table it picks rows of; None unknown.

    A table is read by Gather; a one-hot code is made by OneHot, or by comparing with 0, 1, 2, ...
    """
    stored, found = _stored(graph), []
    numpy_helper = need("onnx.numpy_helper", "")
    for node, place in readers(graph, name):
        if node.op_type == "Gather" and place == 1 and node.input[0] in stored:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            found.append(int(stored[node.input[0]].dims[axis]))
        elif node.op_type == "OneHot" and place == 0 and node.input[1] in stored:
            found.append(int(numpy_helper.to_array(stored[node.input[1]]).reshape(-1)[0]))
        elif node.op_type == "Equal" and node.input[1 - place] in stored:
            values = numpy_helper.to_array(stored[node.input[1 - place]]).reshape(-1)
            if len(values) > 1 and np.array_equal(values, np.arange(len(values))):
                found.append(len(values))
    return min(found, default=None)


def compared_with(graph: Any, name: str) -> float | None:
    """The number that the file compares an input with; None where it does not."""
    stored = _stored(graph)
    for node, place in readers(graph, name):
        if node.op_type == "Equal" and node.input[1 - place] in stored:
            values = need("onnx.numpy_helper", "").to_array(stored[node.input[1 - place]])
            if values.size == 1:
                return float(values.reshape(-1)[0])
    return None


def feeds_state(graph: Any, name: str) -> bool:
    """True where an input is the state that a recurrent layer starts from."""
    return any(
        node.op_type in _RECURRENT and place in (5, 6) for node, place in readers(graph, name)
    )
