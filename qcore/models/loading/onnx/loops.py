"""Writes Loops and Scans out, step by step, where no sample can change how many steps there are.

Exporters write loops over the steps of a sequence, or over layers. For one size of sample their
number is a constant, and the steps can stand one behind the other, all reading the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qcore.errors import UnsupportedModel
from qcore.models.loading.onnx.bodies import body_of, own_names, passed_on, rename, stored_apart
from qcore.models.loading.onnx.parse import nodes_of
from qcore.models.loading.onnx.runtime import copied
from qcore.models.loading.packages import need

LOOPS = ("Loop", "Scan")
MOST_NODES = 4_000
"""Operators that loops of a file may come to once they are written out."""

_AXES_ARE_INPUTS = 13
"""Set of operators from which Unsqueeze takes its axes as an input."""

_OLD_SCAN = 8
_NO_END = 2**31
"""A Loop that is told to run so often is told by its condition when to end."""

Known = Callable[[str], list[np.ndarray] | None]
"""Name of a value to what it is for each of some batches; None where a sample can change it."""


@dataclass
class Written:
    """What a loop comes to.

    Attributes:
        nodes: Its operators, in order.
        tensors: Tensors they read, that the file did not store.
    """

    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)

    def stored(self, name: str, value: Any) -> str:
        """Store a constant; returns its name."""
        made = need("onnx.numpy_helper", "").from_array(np.asarray(value), name)
        self.tensors.append(made)
        return name

    def add(self, kind: str, given: list[str], name: str, **attributes: Any) -> str:
        """Add an operator of one output; returns the output's name."""
        helper = need("onnx", "").helper
        self.nodes.append(helper.make_node(kind, given, [name], f"{name}_made", **attributes))
        return name


def steps_of_loop(node: Any, known: Known) -> int | None:
    """How often a Loop runs at most; None where that depends on a sample.

    Raises:
        UnsupportedModel: it differs with the number of samples.
    """
    if len(node.input) > 1 and node.input[1]:
        begins = known(node.input[1])
        if begins is None:
            return None
        if not all(bool(np.asarray(each).reshape(-1)[0]) for each in begins):
            return 0
    if not node.input[0]:
        return _NO_END
    return _same(known(node.input[0]), "Loop")


def steps_of_scan(node: Any, shapes: list[tuple[int, ...]] | None) -> int | None:
    """How often a Scan runs: the length of what it goes over; None where that is not known."""
    if not shapes:
        return None
    told = _told(node)
    axis = (list(told.get("scan_input_axes", [])) or [0])[0]
    found = {shape[axis] for shape in shapes}
    return found.pop() if len(found) == 1 else None


def scanned(node: Any) -> list[str]:
    """Names of the values that a Scan goes over."""
    count = int(_told(node)["num_scan_inputs"])
    return list(node.input[len(node.input) - count :])


def check_size(node: Any, steps: int) -> None:
    """Raise where a loop written out would be too large.

    Raises:
        UnsupportedModel: says how large, and what to do.
    """
    body = body_of(node, "body")
    total = steps * sum(1 for _ in nodes_of(body))
    if total > MOST_NODES:
        raise UnsupportedModel(
            f"The file repeats a part of {total // steps:,} operators {steps:,} times "
            f"({node.op_type}), which comes to {total:,}; at most {MOST_NODES:,} are written out. "
            "Give shorter samples (--input NAME:KIND:SIZES), or export it without the loop."
        )


def loop_written(node: Any, steps: int, start: str, opset: int) -> tuple[Written, list[str]]:
    """A Loop written out.

    Args:
        node: The Loop.
        steps: How often it runs.
        start: What names of its values begin with.
        opset: The set of operators that the file uses.

    Returns:
        (its operators, the name of its condition after each step).
    """
    body, tensors = stored_apart(body_of(node, "body"), start)
    out = Written(tensors=tensors)
    given = [value.name for value in body.input]
    makes = [value.name for value in body.output]
    states, conditions = list(node.input[2:]), []
    condition = node.input[1] if len(node.input) > 1 and node.input[1] else ""
    condition = condition or out.stored(f"{start}begin", np.array(True))
    rows: list[list[str]] = [[] for _ in makes[1 + len(states) :]]
    for step in range(steps):
        number = out.stored(f"{start}{step}_number", np.array(step, np.int64))
        read = dict(zip(given, [number, condition, *states], strict=True))
        fresh = read | _step(out, body, read, f"{start}{step}_")
        condition, *made = (fresh.get(name, name) for name in makes)
        conditions.append(condition)
        states = made[: len(states)]
        for row, name in zip(rows, made[len(states) :], strict=True):
            row.append(name)
    ends = [*states, *(_stacked(out, row, 0, f"{start}rows{at}_", opset, node, at + len(states))
                       for at, row in enumerate(rows))]  # fmt: skip
    _passed(out, node, ends)
    return out, conditions


def scan_written(node: Any, steps: int, start: str, opset: int) -> Written:
    """A Scan written out; see `loop_written`.

    Raises:
        UnsupportedModel: it is of the first kind, which has samples of its own.
    """
    if opset <= _OLD_SCAN:
        raise UnsupportedModel(
            "The file uses a Scan as ONNX had it before set 9; export it with a newer one."
        )
    told = _told(node)
    count = int(told["num_scan_inputs"])
    axes = list(told.get("scan_input_axes", [])) or [0] * count
    back = list(told.get("scan_input_directions", [])) or [0] * count
    body, tensors = stored_apart(body_of(node, "body"), start)
    out = Written(tensors=tensors)
    given = [value.name for value in body.input]
    makes = [value.name for value in body.output]
    kept = len(node.input) - count
    states, sources = list(node.input[:kept]), list(node.input[kept:])
    rows: list[list[str]] = [[] for _ in makes[kept:]]
    for step in range(steps):
        parts = []
        for at, (source, axis, turned) in enumerate(zip(sources, axes, back, strict=True)):
            place = steps - 1 - step if turned else step
            index = out.stored(f"{start}{step}_at{at}", np.array(place, np.int64))
            parts.append(out.add("Gather", [source, index], f"{start}{step}_part{at}", axis=axis))
        read = dict(zip(given, [*states, *parts], strict=True))
        fresh = read | _step(out, body, read, f"{start}{step}_")
        made = [fresh.get(name, name) for name in makes]
        states = made[:kept]
        for row, name in zip(rows, made[kept:], strict=True):
            row.append(name)
    ends = list(told.get("scan_output_axes", [])) or [0] * len(rows)
    turns = list(told.get("scan_output_directions", [])) or [0] * len(rows)
    stacks = [
        _stacked(out, row[::-1] if turned else row, axis, f"{start}rows{at}_", opset, node,
                 at + kept)
        for at, (row, axis, turned) in enumerate(zip(rows, ends, turns, strict=True))
    ]  # fmt: skip
    _passed(out, node, [*states, *stacks])
    return out


def _step(out: Written, body: Any, read: dict[str, str], start: str) -> dict[str, str]:
    """Add the operators of one step; names of its body to those they have now."""
    once = copied(body)
    fresh = own_names(once, start)
    rename(once, read)
    out.tensors.extend(once.initializer)
    out.nodes.extend(once.node)
    return fresh


def _stacked(
    out: Written, row: list[str], axis: int, start: str, opset: int, node: Any, place: int
) -> str:
    """What each step gave, one behind the other; "" where nobody reads it."""
    if place >= len(node.output) or not node.output[place]:
        return ""
    if not row:
        raise UnsupportedModel(
            f"The file collects what a {node.op_type} gives, and it runs not once for samples of "
            "this size. Give larger ones (--input NAME:KIND:SIZES)."
        )
    parts = []
    for step, name in enumerate(row):
        if opset >= _AXES_ARE_INPUTS:
            where = out.stored(f"{start}{step}_axes", np.array([axis], np.int64))
            parts.append(out.add("Unsqueeze", [name, where], f"{start}{step}"))
        else:
            parts.append(out.add("Unsqueeze", [name], f"{start}{step}", axes=[axis]))
    return out.add("Concat", parts, f"{start}all", axis=axis)


def _passed(out: Written, node: Any, ends: list[str]) -> None:
    for given, name in zip(ends, node.output, strict=False):
        if name:
            out.nodes.append(passed_on(node, given, name))


def _same(answers: list[np.ndarray] | None, what: str) -> int | None:
    if answers is None:
        return None
    found = {int(np.asarray(each).reshape(-1)[0]) for each in answers}
    if len(found) > 1:
        raise UnsupportedModel(
            f"The file repeats a part ({what}) as often as it is given samples. Export it with the "
            "batch size fixed at 1."
        )
    return max(0, found.pop())


def _told(node: Any) -> dict[str, Any]:
    helper = need("onnx", "").helper
    return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name != "body"}
