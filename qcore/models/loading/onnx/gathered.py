"""What an ONNX graph gathers: rows of stored tables, and places within each sample.

Rows that are looked up by ids make an embedding. Exporters also write `mask[batch, place]`, the
masks of transformers, as a Gather of flattened values or a GatherND whose indices hold the number
of every sample. How many there are is known only when the network runs, so torch.export could not
follow it; what is read of one sample is a constant.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn
from torch.fx import GraphModule, Node

from qcore.models.loading.onnx.graph import floats_of, kind_of


def with_embeddings(converted: GraphModule) -> GraphModule:
    """Put an embedding where rows of a stored matrix are gathered by values that are computed.

    Args:
        converted: What onnx2torch gave; changed in place.
    """
    modules = dict(converted.named_modules())
    graph = converted.graph
    for node in list(graph.nodes):
        if kind_of(node, modules) != "OnnxGather" or len(node.args) != 2:
            continue
        table, ids = floats_of(node.args[0], converted), node.args[1]
        axis = getattr(modules[str(node.target)], "_axis", None)
        if table is None or table.dim() != 2 or axis != 0 or not isinstance(ids, Node):
            continue
        if ids.op == "get_attr":
            continue  # rows that are always the same
        embedding = nn.Embedding(*table.shape)
        embedding.weight = nn.Parameter(table.clone())
        converted.add_module(str(node.target), embedding)
        node.args = (ids,)
    return converted


@dataclass(frozen=True)
class Within:
    """What a gather reads of each sample.

    Attributes:
        rows: Shape that the values are brought into, -1 for the samples, which come first.
        places: What is read of each sample, along the second dimension.
    """

    rows: tuple[int, ...]
    places: np.ndarray


def within_samples(op: str, axis: int, data: np.ndarray, index: np.ndarray) -> Within | None:
    """Each sample's own gather; None where samples are not read one by one, in their order.

    Args:
        op: "Gather" or "GatherND".
        axis: Of a Gather; a GatherND's batch dimensions.
        data: What is read, for some samples.
        index: The indices for as many, whose first dimension they are.
    """
    n = len(index) if index.ndim else 0
    if axis or n < 2 or not data.ndim or len(data) % n:
        return None
    if op == "Gather":
        each = len(data) // n
        own = index - each * np.arange(n).reshape(-1, *[1] * (index.ndim - 1))
        rows, inside = (-1, each, *data.shape[1:]), (each,)
        parts = own[..., None]
    else:
        depth = index.shape[-1]
        if len(data) != n or not 2 <= depth <= data.ndim:
            return None
        numbers = np.arange(n).reshape(-1, *[1] * (index.ndim - 2))
        if not (index[..., 0] == numbers).all():
            return None
        inside, parts = data.shape[1:depth], index[..., 1:]
        rows = (-1, int(np.prod(inside)), *data.shape[depth:])
    same = (parts == parts[:1]).all()
    if not same or not ((parts >= 0) & (parts < np.array(inside))).all():
        return None
    places = np.ravel_multi_index(tuple(np.moveaxis(parts[0], -1, 0)), inside)
    return Within(rows, np.asarray(places, np.int64))
