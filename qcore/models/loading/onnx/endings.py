"""What an output of an ONNX graph was made by: a softmax, a sigmoid, or a decision.

A decision, as the number of the largest class, says nothing of how sure the network is; bits cannot
be judged by it.
"""

from typing import Any

_PASSING = (
    "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Cast", "Gather", "Slice"
)  # fmt: skip
_ENDS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
DECISIONS = (
    "ArgMax", "ArgMin", "TopK", "NonMaxSuppression", "NonZero", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "Equal", "Hardmax", "Round", "Sign", "Not", "And", "Or", "OneHot",
)  # fmt: skip


def maker(graph: Any, name: str) -> Any:
    """The node that made a value, beyond those that only pass it on; None for an input."""
    made = {output: node for node in graph.node for output in node.output}
    while name in made:
        node = made[name]
        if node.op_type not in _PASSING or not node.input:
            return node
        name = node.input[0]
    return None


def ending(graph: Any, name: str) -> str:
    """What ends an output: "softmax", "sigmoid", or "" for anything else."""
    node = maker(graph, name)
    return "" if node is None else _ENDS.get(node.op_type, "")


def decision(graph: Any, name: str) -> tuple[str, str] | None:
    """(operator, what it decides on) where an output is a decision; None where it is not."""
    node = maker(graph, name)
    if node is None or node.op_type not in DECISIONS:
        return None
    if node.op_type == "TopK" and node.output[0] == name:
        return None
    return node.op_type, node.input[0]
