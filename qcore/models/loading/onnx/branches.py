"""A file without Ifs, Loops and Scans, where no sample can change the way that is taken.

Exporters write questions about shapes and settings as Ifs: is there one channel, is the rate
16 kHz; and steps of a sequence as loops. For one size of sample the answers are constants: the
branch that is taken stands in the place of the If, and a loop's steps one behind the other.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from qcore.errors import UnsupportedModel
from qcore.models.loading.onnx import loops
from qcore.models.loading.onnx.bodies import (
    body_of,
    needed_for,
    own_names,
    passed_on,
    replaced,
)
from qcore.models.loading.onnx.parse import nodes_of
from qcore.models.loading.onnx.sizes import of_sizes_alone
from qcore.models.loading.packages import need

MOST_ROUNDS = 50
_CONTROL = ("If", *loops.LOOPS)

Values = Callable[[Any, list[str]], list[list[np.ndarray]]]
"""(model, names) -> their values, for each of some batches."""


def without_branches(proto: Any, values: Values) -> Any:
    """A copy without Ifs, Loops and Scans.

    Args:
        proto: The model; inputs that are fixed are initializers.
        values: Runs it.

    Raises:
        UnsupportedModel: which branch is taken, or how often a part is repeated, depends on the
            sample; or a loop is too long.
    """
    most = sum(1 for _ in nodes_of(proto.graph)) + loops.MOST_NODES
    for number in range(MOST_ROUNDS):
        nodes = [node for node in proto.graph.node if node.op_type in _CONTROL]
        if not nodes:
            return proto
        found = _without_loops(_without_ifs(proto, values, number), values, number)
        if found is proto:
            _refuse(nodes)
        proto = found
        if len(proto.graph.node) > most:
            raise UnsupportedModel(
                f"Loops of the file come to more than {loops.MOST_NODES:,} operators once they are "
                "written out. Give shorter samples (--input NAME:KIND:SIZES), or export it without "
                "loops."
            )
    raise UnsupportedModel("The file nests its branches and loops (If, Loop) too deeply.")


def _refuse(nodes: list[Any]) -> None:
    if any(node.op_type == "If" for node in nodes):
        raise UnsupportedModel(
            "The file takes one of two ways (If) by what a sample holds, which cannot be followed. "
            "Export it without that, or bring the weights and the architecture."
        )
    raise UnsupportedModel(
        f"The file repeats a part ({nodes[0].op_type}) as often as a sample decides, which cannot "
        "be followed. Export it with a fixed number of steps, or bring the weights and the "
        "architecture."
    )


def _known(proto: Any) -> set[str]:
    """Values that no sample changes."""
    return of_sizes_alone(proto.graph) | {tensor.name for tensor in proto.graph.initializer}


def _seen(proto: Any, values: Values, names: list[str]) -> dict[str, list[np.ndarray]]:
    """Each of some values, for each of some batches."""
    read = need("onnx.numpy_helper", "").to_array
    seen = {t.name: [read(t)] for t in proto.graph.initializer if t.name in names}
    wanted = [name for name in dict.fromkeys(names) if name not in seen]
    found = values(needed_for(proto, wanted), wanted) if wanted else []
    return seen | {name: [batch[at] for batch in found] for at, name in enumerate(wanted)}


def _without_ifs(proto: Any, values: Values, number: int) -> Any:
    """The model with the Ifs decided that can be; itself where none can."""
    known = _known(proto)
    ifs = [n for n in proto.graph.node if n.op_type == "If" and n.input[0] in known]
    if not ifs:
        return proto
    taken: dict[str, bool] = {}
    for name, answers in _seen(proto, values, [node.input[0] for node in ifs]).items():
        truth = {bool(np.asarray(answer).reshape(-1)[0]) for answer in answers}
        if len(truth) > 1:
            raise UnsupportedModel(
                "The file takes one of two ways (If) by how many samples it is given. Export "
                "it with the batch size left open, or fixed at 1."
            )
        taken[name] = truth.pop()
    nodes, tensors = [], []
    for place, node in enumerate(proto.graph.node):
        if node.op_type != "If" or node.input[0] not in taken:
            nodes.append(node)
            continue
        branch = body_of(node, "then_branch" if taken[node.input[0]] else "else_branch")
        outputs = [value.name for value in branch.output]
        fresh = own_names(branch, f"b{number}_{place}_")
        tensors += list(branch.initializer)
        nodes += list(branch.node)
        nodes += [
            passed_on(node, fresh.get(name, name), given)
            for name, given in zip(outputs, node.output, strict=True)
        ]
    return replaced(proto, nodes, tensors)


def _without_loops(proto: Any, values: Values, number: int) -> Any:
    """The model with the Loops and Scans written out that can be; itself where none can."""
    nodes = list(proto.graph.node)
    if not any(node.op_type in loops.LOOPS for node in nodes):
        return proto
    known = _known(proto)
    told = [n for node in nodes if node.op_type == "Loop" for n in node.input[:2] if n in known]
    over = [loops.scanned(node)[0] for node in nodes if node.op_type == "Scan"]
    seen = _seen(proto, values, [*told, *over])
    opset = next(entry.version for entry in proto.opset_import if not entry.domain)
    kept, tensors, changed = [], [], False
    for place, node in enumerate(nodes):
        start = f"l{number}_{place}_"
        written = None
        if node.op_type == "Loop":
            steps = loops.steps_of_loop(node, seen.get)
            if steps is not None:
                written = _loop(proto, values, node, steps, start, opset)
        elif node.op_type == "Scan":
            shapes = [each.shape for each in seen[loops.scanned(node)[0]]]
            steps = loops.steps_of_scan(node, shapes)
            if steps is not None:
                loops.check_size(node, steps)
                written = loops.scan_written(node, steps, start, opset)
        if written is None:
            kept.append(node)
            continue
        changed = True
        kept += written.nodes
        tensors += written.tensors
    return replaced(proto, kept, tensors) if changed else proto


def _loop(
    proto: Any, values: Values, node: Any, steps: int, start: str, opset: int
) -> loops.Written | None:
    """A Loop written out as often as its condition lets it run; None where a sample decides."""
    body = max(1, len(body_of(node, "body").node))
    tried = min(steps, max(1, loops.MOST_NODES // body)) if steps else 0
    written, conditions = loops.loop_written(node, tried, start, opset)
    trial = _in_place(proto, node, written)
    known = _known(trial)
    if any(name not in known for name in conditions):
        return None
    seen = _seen(trial, values, conditions)
    for step, name in enumerate(conditions):
        goes = {bool(np.asarray(answer).reshape(-1)[0]) for answer in seen[name]}
        if len(goes) > 1:
            return None
        if not goes.pop():
            return loops.loop_written(node, step + 1, start, opset)[0]
    if tried < steps:
        loops.check_size(node, steps)
    return written


def _in_place(proto: Any, node: Any, written: loops.Written) -> Any:
    nodes = []
    for each in proto.graph.node:
        nodes += written.nodes if each == node else [each]
    return replaced(proto, nodes, written.tensors)
