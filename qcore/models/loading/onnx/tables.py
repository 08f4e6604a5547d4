"""Makes embeddings of the tables in which an ONNX graph looks rows up by ids."""

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
