"""Rewrites an ONNX graph so that samples come first in all that it takes and gives.

A file may hold its samples in another dimension (a recurrent state is (layers, n, width)), take a
number of them that is written into it, or none but the one. After this each input is (n, ...) of
the kind that a sample's column has, and each output (n, ...).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore.models.loading.onnx.runtime import copied
from qcore.models.loading.onnx.takes import Slot, Takes
from qcore.models.loading.packages import need

BATCH = "batch"


@dataclass(frozen=True)
class Gives:
    """One output of a file.

    Attributes:
        name: As the file calls it.
        word: As bitdial calls it: a name that Python takes.
        shape: Of one sample.
        axis: Where the samples lie in it; None where it has no place for them, or where each has
            several rows of the first dimension, one sample after the other.
    """

    name: str
    word: str
    shape: tuple[int, ...]
    axis: int | None = 0

    def of_samples(self, values: np.ndarray) -> np.ndarray:
        """The file's values with samples first."""
        if self.axis is None:
            return values.reshape(-1, *self.shape)
        return np.moveaxis(values, self.axis, 0)


def with_fixed(proto: Any, takes: Takes) -> Any:
    """A copy in which inputs that are always the same are stored, and sizes are those chosen."""
    copy = copied(proto)
    numpy_helper = need("onnx.numpy_helper", "")
    stored = {tensor.name for tensor in copy.graph.initializer}
    kept = {slot.name: slot for slot in takes.slots}
    entries = [copied(value) for value in copy.graph.input if value.name in kept]
    for entry in entries:
        slot = kept[entry.name]
        sizes = list(slot.given.shape)
        if slot.axis is not None:
            sizes.insert(slot.axis, takes.batch or 0)
        shape = entry.type.tensor_type.shape
        del shape.dim[:]
        for size in sizes:
            if size:
                shape.dim.add(dim_value=size)
            else:
                shape.dim.add(dim_param=BATCH)
    del copy.graph.input[:]
    copy.graph.input.extend(entries)
    for name, values in takes.fixed.items():
        if name not in stored:
            copy.graph.initializer.append(numpy_helper.from_array(values, name))
    del copy.graph.value_info[:]
    return copy


def samples_first(proto: Any, takes: Takes, gives: Sequence[Gives], batch: int) -> Any:
    """A copy whose inputs and outputs have the samples first.

    Args:
        proto: The model, of `with_fixed`.
        takes: Its inputs.
        gives: The outputs that are kept.
        batch: Samples at once; 0 leaves it open.
    """
    copy = copied(proto)
    graph, helper = copy.graph, need("onnx", "").helper
    numpy_helper = need("onnx.numpy_helper", "")
    before: list[Any] = []
    entries = []
    for slot in takes.slots:
        kind = _kind(slot.given.dtype)
        turned = slot.axis not in (0,)
        name = slot.name if not turned and kind == _kind_of(slot) else f"{slot.name}__given"
        sizes = [batch or BATCH, *slot.given.shape]
        entries.append(helper.make_tensor_value_info(name, kind, sizes))
        if kind != _kind_of(slot):
            last = slot.name if not turned else f"{slot.name}__cast"
            before.append(helper.make_node("Cast", [name], [last], to=_kind_of(slot)))
            name = last
        if slot.axis is None:
            axes = f"{slot.name}__axes"
            graph.initializer.append(numpy_helper.from_array(np.array(slot.given.shape), axes))
            before.append(helper.make_node("Reshape", [name, axes], [slot.name]))
        elif slot.axis:
            rank = len(slot.dims)
            order = [*range(1, slot.axis + 1), 0, *range(slot.axis + 1, rank)]
            before.append(helper.make_node("Transpose", [name], [slot.name], perm=order))
    after, ends = [], []
    for give in gives:
        name = f"{give.word}__rows"
        # every output is made by a node of its own
        if give.axis is None:
            rows = f"{give.word}__sizes"
            graph.initializer.append(numpy_helper.from_array(np.array([-1, *give.shape]), rows))
            after.append(helper.make_node("Reshape", [give.name, rows], [name]))
        elif give.axis:
            order = [at for at in range(len(give.shape) + 1) if at != give.axis]
            order.insert(0, give.axis)
            after.append(helper.make_node("Transpose", [give.name], [name], perm=order))
        else:
            after.append(helper.make_node("Identity", [give.name], [name]))
        ends.append(need("onnx", "").ValueInfoProto(name=name))
    nodes = [*before, *map(copied, graph.node), *after]
    for field in ("node", "input", "output", "value_info"):
        del getattr(graph, field)[:]
    graph.node.extend(nodes)
    graph.input.extend(entries)
    graph.output.extend(ends)
    return copy


def _kind_of(slot: Slot) -> int:
    return int(need("onnx", "").TensorProto.DataType.Value(slot.kind))


def _kind(dtype: str) -> int:
    onnx = need("onnx", "")
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def unfixed(proto: Any, batch: int) -> Any:
    """A copy whose reshapes keep the number of samples where the file writes it out.

    Whether that still is the same network, a comparison has to show.
    """
    copy = copied(proto)
    graph = copy.graph
    numpy_helper = need("onnx.numpy_helper", "")
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("Reshape", "Expand") or node.input[1] not in tensors:
            continue
        shape = [int(v) for v in numpy_helper.to_array(tensors[node.input[1]]).reshape(-1)]
        if not shape or shape[0] < 1 or shape[0] % batch:
            continue
        if node.op_type == "Expand" and shape[0] != batch:
            continue
        if node.op_type == "Expand":
            shape[0] = 1  # leaves the size that is there
        elif shape[0] == batch:
            shape[0] = 0  # the size of the dimension that is reshaped
        elif -1 not in shape and batch > 1:
            shape[0] = -1
        else:
            continue
        name = f"{node.name}_shape"
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
        node.input[1] = name
        kept = [copied(a) for a in node.attribute if a.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(kept)
    return copy
