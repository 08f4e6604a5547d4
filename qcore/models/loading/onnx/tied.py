"""Makes layers that read one stored tensor of an ONNX file share it again.

Converters give each node a copy of its weights. A weight that two nodes read is one weight.
"""

from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

_READERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def shared_again(converted: GraphModule, proto: Any) -> GraphModule:
    """Give modules whose nodes read the same weight, or the same bias, one weight and one bias.

    They may read it at other strides, paddings or dilations. Changed in place.
    """
    modules = dict(converted.named_modules())
    first: dict[tuple[Any, ...], Any] = {}
    for node in proto.graph.node:
        if node.op_type not in _READERS:
            continue
        for module in _holders(modules.get(node.name)):
            if not isinstance(getattr(module, "weight", None), nn.Parameter):
                continue
            key = (type(module), node.input[1])
            known = first.setdefault(key, module)
            if known is module or not torch.equal(known.weight, module.weight):
                continue
            module.weight = known.weight
            biases = known.bias, module.bias
            if None not in biases and torch.equal(*biases):
                module.bias = known.bias
    return converted


def _holders(module: nn.Module | None) -> list[Any]:
    """The module itself, or the layer within it where a padding stands before it."""
    if module is None:
        return []
    return list(module) if isinstance(module, nn.Sequential) else [module]
