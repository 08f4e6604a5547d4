"""Turns an exported program's weight operations back into modules, so that layers can be found.

`torch.export` keeps the graph and drops the modules: a convolution is a call of `aten.conv2d` on a
weight. Each such call gets a module of its own under the name the weight has.
"""

from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from qcore.errors import UnsupportedModel
from qcore.network.running import largest_difference

aten = torch.ops.aten
_CONVS: dict[Any, tuple[type[nn.Module], int]] = {
    aten.conv1d.default: (nn.Conv1d, 1),
    aten.conv2d.default: (nn.Conv2d, 2),
    aten.conv3d.default: (nn.Conv3d, 3),
    aten.conv1d.padding: (nn.Conv1d, 1),
    aten.conv2d.padding: (nn.Conv2d, 2),
    aten.conv3d.padding: (nn.Conv3d, 3),
    aten.conv_transpose1d.default: (nn.ConvTranspose1d, 1),
    aten.conv_transpose2d.input: (nn.ConvTranspose2d, 2),
    aten.conv_transpose3d.input: (nn.ConvTranspose3d, 3),
}
"""Operation to the module that computes it, and to its dimensions of space."""

_BY_SPACE = {
    False: {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d},
    True: {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d},
}
_USUAL = ("weight", "bias", "running_mean")
_HELD = ("_parameters", "_buffers", "_modules")
_TURNS = (aten.t.default, aten.permute.default, aten.transpose.int, aten.numpy_T.default)
_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def with_modules(program: Any) -> GraphModule:
    """A graph module whose convolutions, linear layers and batch-norms are modules.

    Args:
        program: A torch.export.ExportedProgram, exported in eval mode.

    Raises:
        UnsupportedModel: it takes several inputs, or was exported in training mode.
    """
    inputs = _inputs(program)
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
    graph = exported.graph
    # a tensor that two names share is the same tensor under both
    tensors = dict(exported.named_parameters(remove_duplicate=False))
    tensors |= dict(exported.named_buffers(remove_duplicate=False))
    root = nn.Module()
    graph.eliminate_dead_code()
    read = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    _keep_tensors(root, {n: tensors[n] for n in tensors if n in read}, exported)
    places: dict[tuple[Any, ...], str] = {}
    for node in list(graph.nodes):
        made = _module(node, tensors)
        if made is None:
            continue
        # the same weights used in the same way are one layer, which runs twice
        key = _key(made)
        path = places.get(key) or _put(root, _names(node), node.name, made)
        places[key] = path
        last = _first_output(node)
        with graph.inserting_before(node):
            call = graph.create_node("call_module", path, (_input(node),))
        call.meta = node.meta if last is node else last.meta
        last.replace_all_uses_with(call)
        for gone in dict.fromkeys((last, node)):
            graph.erase_node(gone)
    for node in [n for n in graph.nodes if n.op == "call_module" and not _has(root, n.target)]:
        # guards on the input's shape: bitdial checks shapes itself
        graph.erase_node(node)
    plain = torch.fx.GraphModule(root, graph)
    plain.graph.eliminate_dead_code()
    plain.recompile()
    plain.delete_all_unused_submodules()
    return plain.eval()


def difference(program: Any, network: nn.Module) -> float:
    """Largest difference of a network from its program, relative to the program's largest output.

    Args:
        program: A torch.export.ExportedProgram of one input.
        network: What `with_modules` made of it.
    """
    image = next(node for node in program.graph.nodes if node.name in _inputs(program))
    # of a size left open the program was exported with one value
    given = (*(program.example_inputs or ((),))[0], None)[0]
    shape = tuple(given.shape if isinstance(given, torch.Tensor) else image.meta["val"].shape)
    sizes = [size if isinstance(size, int) else 2 for size in shape]
    x = torch.rand(sizes, generator=torch.Generator().manual_seed(0)).to(image.meta["val"].dtype)
    with torch.no_grad():
        wanted = program.module(check_guards=False)(x.clone())
        return largest_difference(wanted, network(x.clone()))


def _inputs(program: Any) -> list[str]:
    specs = program.graph_signature.input_specs
    return [str(s.arg.name) for s in specs if s.kind.name == "USER_INPUT"]


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
    if node.target in _CONVS or node.target == aten.convolution.default:
        return _conv(node, tensors)
    if node.target in (aten.linear.default, aten.addmm.default, aten.mm.default):
        return _linear(node, tensors)
    if node.target == aten.batch_norm.default:
        return _norm(node, tensors, 5, 7)
    if node.target == aten._native_batch_norm_legit_no_training.default:
        return _norm(node, tensors, None, 6)
    return None


def _input(node: Node) -> Any:
    return node.args[1 if node.target == aten.addmm.default else 0]


def _first_output(node: Node) -> Node:
    """The node itself; of one with several outputs, what takes the first of them."""
    if node.target != aten._native_batch_norm_legit_no_training.default:
        return node
    return next(iter(node.users))


def _weight_node(node: Node) -> Any:
    """What is read as the weight, before it is turned for a product of matrices."""
    place = {aten.addmm.default: 2, aten._native_batch_norm_legit_no_training.default: 1}
    weight = _argument(node, place.get(node.target, 1), None)
    if node.target in (aten.addmm.default, aten.mm.default):
        turned = isinstance(weight, Node) and weight.target in _TURNS
        weight = weight.args[0] if turned else None
        if isinstance(weight, Node) and len(getattr(weight.meta.get("val"), "shape", ())) != 2:
            return None
    return weight


def _linear(node: Node, tensors: dict[str, Any]) -> nn.Module | None:
    weight, bias = _tensor(_weight_node(node), tensors), None
    if node.target == aten.linear.default:
        given = _argument(node, 2, None)
        bias = _tensor(given, tensors)
    elif node.target == aten.addmm.default:
        given = node.args[0]
        bias = _tensor(given, tensors)
        if node.kwargs:  # beta and alpha
            return None
    else:
        given = None
    if weight is None or weight.dim() != 2 or (given is not None and bias is None):
        return None
    if bias is not None and bias.shape != weight.shape[:1]:
        return None
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    return _with(linear, weight=weight, bias=bias)


def _conv(node: Node, tensors: dict[str, Any]) -> nn.Module | None:
    target: Any = node.target
    weight, given = _tensor(_argument(node, 1, None), tensors), _argument(node, 2, None)
    bias = _tensor(given, tensors)
    if weight is None or (given is not None and bias is None):
        return None
    if target == aten.convolution.default:
        transposed = bool(node.args[6])
        kind, space = _BY_SPACE[transposed].get(weight.dim() - 2), weight.dim() - 2
        order = {"stride": 3, "padding": 4, "dilation": 5, "output_padding": 7, "groups": 8}
    else:
        kind, space = _CONVS[target]
        transposed = "transpose" in str(target)
        order = {"stride": 3, "padding": 4, "dilation": 5, "groups": 6}
        if transposed:
            order = {"stride": 3, "padding": 4, "output_padding": 5, "groups": 6, "dilation": 7}
    if kind is None:
        return None
    if not transposed:
        order.pop("output_padding", None)
    usual = {"padding": 0, "output_padding": 0}
    options = {key: _argument(node, index, usual.get(key, 1)) for key, index in order.items()}
    for key, value in options.items():
        if not isinstance(value, (int, str)):
            options[key] = tuple(value) * (space if len(value) == 1 else 1)
    groups = int(options["groups"])
    inputs, outputs = weight.shape[1] * groups, weight.shape[0]
    if transposed:
        inputs, outputs = weight.shape[0], weight.shape[1] * groups
    build: Any = kind
    conv = build(inputs, outputs, tuple(weight.shape[2:]), bias=bias is not None, **options)
    return _with(conv, weight=weight, bias=bias)


def _norm(node: Node, tensors: dict[str, Any], trains: int | None, eps: int) -> nn.Module | None:
    """The batch-norm of a node, given where its arguments say that it trains, and its epsilon."""
    weight, bias, mean, var = (_tensor(_argument(node, i, None), tensors) for i in range(1, 5))
    value = node.meta.get("val")
    value = value[0] if isinstance(value, (tuple, list)) else value
    kind = _NORMS.get(value.dim()) if value is not None else None
    if mean is None or var is None or kind is None:
        return None
    if trains is None and [user.args[1:] for user in node.users] != [(0,)]:
        return None  # its statistics are read too
    if trains is not None and bool(_argument(node, trains, False)):
        return None
    norm = kind(mean.shape[0], eps=_argument(node, eps, 1e-5), affine=weight is not None)
    return _with(norm, weight=weight, bias=bias, running_mean=mean, running_var=var)


def _with(module: nn.Module, **tensors: Any) -> nn.Module:
    """Put the program's own tensors into a module, so that shared weights stay shared."""
    for name, value in tensors.items():
        if value is None:
            continue
        if name in module._buffers:
            module._buffers[name] = value
        else:
            own = isinstance(value, nn.Parameter)
            module._parameters[name] = value if own else nn.Parameter(value, requires_grad=False)
    return module


def _key(made: nn.Module) -> tuple[Any, ...]:
    """Equal for modules that compute the same with the same tensors."""
    tensors = {**made._parameters, **made._buffers}
    named = {n: id(v) for n, v in tensors.items() if n != "num_batches_tracked"}
    return repr(made), tuple(named.items())


def _names(node: Node) -> list[str]:
    """Names of the weight, the bias and a norm's statistics, as far as there are any."""
    sources = (_weight_node(node), *node.args[:1], *node.args[2:5])
    return [str(a.target) for a in sources if isinstance(a, Node) and a.op == "get_attr"]


def _has(root: nn.Module, path: Any) -> bool:
    try:
        root.get_submodule(str(path))
    except AttributeError:
        return False
    return True


def _put(root: nn.Module, names: list[str], node: str, made: nn.Module) -> str:
    """Put a module where its tensors lie, beside what else lies there; returns its path.

    A module of the program may hold the weights of several operations: those that are not called
    as a layer's are get names of their own in it.
    """
    for path, _, leaf in (name.rpartition(".") for name in names):
        if leaf in _USUAL and path and type(root.get_submodule(path)) is nn.Module:
            parent_path, _, name = path.rpartition(".")
            parent, old = root.get_submodule(parent_path), root.get_submodule(path)
            held = {key: (kind, v) for kind in _HELD for key, v in getattr(old, kind).items()}
            if all(getattr(made, key, value) is value for key, (_, value) in held.items()):
                for key, (kind, value) in held.items():
                    getattr(made, kind).setdefault(key, value)
                parent._modules[name] = made
                return path
    path, _, leaf = names[0].rpartition(".") if names else ("", "", "")
    parent = root.get_submodule(path)
    name = base = f"{leaf}_layer" if leaf else node
    count = 1
    while hasattr(parent, name):
        count += 1
        name = f"{base}_{count}"
    parent.add_module(name, made)
    return f"{path}.{name}".lstrip(".")


def _keep_tensors(root: nn.Module, tensors: dict[str, Any], exported: nn.Module) -> None:
    """Copy the tensors of a program, by name, for what stays a plain operation."""
    learned = {id(parameter) for parameter in exported.parameters()}
    for name, value in tensors.items():
        parent_path, _, leaf = name.rpartition(".")
        parent = root
        for part in filter(None, parent_path.split(".")):
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        register = "register_parameter" if id(value) in learned else "register_buffer"
        getattr(parent, register)(leaf, value)
