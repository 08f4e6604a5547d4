"""Turns an exported program's weight operations back into modules, so that layers can be found.

`torch.export` keeps the graph and drops the modules: a convolution is a call of `aten.conv2d` on a
weight. Each such call gets a module of its own under the name the weight has.
"""

from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from qcore.errors import UnsupportedModel

_CONVS = {
    torch.ops.aten.conv1d.default: nn.Conv1d,
    torch.ops.aten.conv2d.default: nn.Conv2d,
    torch.ops.aten.conv3d.default: nn.Conv3d,
}
_SPACES = {
    torch.ops.aten.conv1d.default: 1,
    torch.ops.aten.conv2d.default: 2,
    torch.ops.aten.conv3d.default: 3,
}
_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def with_modules(program: Any) -> GraphModule:
    """A graph module whose convolutions, linear layers and batch-norms are modules.

    Args:
        program: A torch.export.ExportedProgram, exported in eval mode.

    Raises:
        UnsupportedModel: it takes several inputs, or was exported in training mode.
    """
    inputs = [s for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
    if len(inputs) != 1:
        raise UnsupportedModel(
            f"The program takes {len(inputs)} inputs; bitdial's networks take one tensor of images."
        )
    if any(_trains(node) for node in program.graph.nodes):
        raise UnsupportedModel(
            "The program was exported in training mode: its batch-norms or dropouts would work on "
            "each batch anew. Export model.eval()."
        )
    exported = program.module(check_guards=False)
    graph, tensors = exported.graph, {**dict(exported.named_parameters())}
    tensors |= dict(exported.named_buffers())
    root = nn.Module()
    _keep_tensors(root, exported)
    for node in list(graph.nodes):
        made = _module(node, tensors)
        if made is None:
            continue
        path = _path(node)
        _put(root, path, made)
        with graph.inserting_before(node):
            call = graph.call_module(path, (node.args[0],))
        call.meta = node.meta
        node.replace_all_uses_with(call)
        graph.erase_node(node)
    for node in [n for n in graph.nodes if n.op == "call_module" and not _has(root, n.target)]:
        # guards on the input's shape: bitdial checks shapes itself
        graph.erase_node(node)
    graph.eliminate_dead_code()
    plain = torch.fx.GraphModule(root, graph)
    plain.delete_all_unused_submodules()
    return plain.eval()


def _tensor(node: Any, tensors: dict[str, Any]) -> Any:
    return tensors[str(node.target)] if isinstance(node, Node) and node.op == "get_attr" else None


def _argument(node: Node, index: int, default: Any) -> Any:
    """A positional argument, or the one of that name of the operation's schema."""
    if len(node.args) > index:
        return node.args[index]
    target: Any = node.target
    return node.kwargs.get(target._schema.arguments[index].name, default)


def _trains(node: Node) -> bool:
    """True for a batch-norm or dropout in training mode."""
    place = {torch.ops.aten.batch_norm.default: 5, torch.ops.aten.dropout.default: 2}
    place |= {torch.ops.aten.dropout_.default: 2, torch.ops.aten.feature_dropout.default: 2}
    if node.op != "call_function" or node.target not in place:
        return False
    return bool(_argument(node, place[node.target], False))


def _module(node: Node, tensors: dict[str, Any]) -> nn.Module | None:
    if node.op != "call_function":
        return None
    if node.target in _CONVS:
        return _conv(node, tensors)
    if node.target == torch.ops.aten.linear.default:
        weight, bias = _tensor(node.args[1], tensors), _tensor(_argument(node, 2, None), tensors)
        if weight is None:
            return None
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
        return _with(linear, weight=weight, bias=bias)
    if node.target == torch.ops.aten.batch_norm.default:
        return _norm(node, tensors)
    return None


def _conv(node: Node, tensors: dict[str, Any]) -> nn.Module | None:
    target: Any = node.target
    weight, bias = _tensor(node.args[1], tensors), _tensor(_argument(node, 2, None), tensors)
    if weight is None:
        return None
    groups = int(_argument(node, 6, 1))

    def sizes(index: int, default: int) -> Any:
        found = _argument(node, index, default)
        if isinstance(found, int):
            return found
        return tuple(found) * (_SPACES[target] if len(found) == 1 else 1)

    conv = _CONVS[target](
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=sizes(3, 1),
        padding=sizes(4, 0),
        dilation=sizes(5, 1),
        groups=groups,
        bias=bias is not None,
    )
    return _with(conv, weight=weight, bias=bias)


def _norm(node: Node, tensors: dict[str, Any]) -> nn.Module | None:
    weight, bias, mean, var = (_tensor(_argument(node, i, None), tensors) for i in range(1, 5))
    value = node.meta.get("val")
    if mean is None or var is None or bool(_argument(node, 5, False)) or value is None:
        return None
    norm = _NORMS[value.dim()](
        mean.shape[0], eps=_argument(node, 7, 1e-5), affine=weight is not None
    )
    return _with(norm, weight=weight, bias=bias, running_mean=mean, running_var=var)


def _with(module: nn.Module, **tensors: Any) -> nn.Module:
    """Put the program's own tensors into a module, so that shared weights stay shared."""
    for name, value in tensors.items():
        if value is None:
            continue
        if name in module._buffers:
            module._buffers[name] = value.detach()
        else:
            own = isinstance(value, nn.Parameter)
            module._parameters[name] = value if own else nn.Parameter(value, requires_grad=False)
    return module


def _path(node: Node) -> str:
    """The weight's name without its last part; a norm without weights keeps the node's name."""
    source = next((a for a in node.args[1:5] if isinstance(a, Node) and a.op == "get_attr"), None)
    path = str(source.target).rpartition(".")[0] if source is not None else ""
    return path or node.name


def _has(root: nn.Module, path: Any) -> bool:
    try:
        root.get_submodule(str(path))
    except AttributeError:
        return False
    return True


def _put(root: nn.Module, path: str, made: nn.Module) -> None:
    parent_path, _, name = path.rpartition(".")
    parent = root
    for part in filter(None, parent_path.split(".")):
        if part not in parent._modules:
            parent.add_module(part, nn.Module())
        parent = parent.get_submodule(part)
    parent._modules.pop(name, None)
    parent.add_module(name, made)


def _keep_tensors(root: nn.Module, exported: nn.Module) -> None:
    """Copy the tensors of a program, by name, for what stays a plain operation."""
    for kept, registered in (
        (exported.named_parameters(), "register_parameter"),
        (exported.named_buffers(), "register_buffer"),
    ):
        for name, value in kept:
            parent_path, _, leaf = name.rpartition(".")
            parent = root
            for part in filter(None, parent_path.split(".")):
                if part not in parent._modules:
                    parent.add_module(part, nn.Module())
                parent = parent.get_submodule(part)
            getattr(parent, registered)(leaf, value)
