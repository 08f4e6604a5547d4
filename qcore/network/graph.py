"""What a model's graph says about its layers: who feeds whom, and which norms fold away.

The graph is a `torch.export` of the model in eval mode. Modules cannot tell these things:
additions, concatenations and functional activations leave no trace in them.
"""

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.fx import Node

from qcore.trees import Tree, split_call

_WEIGHT_OPERATORS = frozenset(
    {"linear", "conv1d", "conv2d", "conv3d", "convolution"}
    | {f"conv_transpose{dims}d" for dims in (1, 2, 3)}
)
_SHAPE_ONLY = frozenset(
    {f"new_{kind}" for kind in ("zeros", "ones", "full", "empty")}
    | {f"{kind}_like" for kind in ("zeros", "ones", "full", "empty")}
    | {"sym_size"}
)
"""Operators that read an input's shape alone, such as an initial state of zeros."""

# positions in aten.batch_norm(input, weight, bias, running_mean, running_var, training, ...)
_RUNNING_MEAN, _TRAINING = 3, 5


@dataclass(frozen=True)
class Wiring:
    """How layers are connected.

    Attributes:
        producers: Layer name to the layers whose outputs reach its input, through any operation
            that is not itself a layer; in execution order, itself left out.
        norms: Layer name to the batch-norm module that alone reads its output.
        tensors: Layer name to the name of the tensor it reads; layers that run several times on
            different ones are left out.
        streams: Layer name to the name of the additions that tensor takes part in; others are left
            out.
        follows: Layer name to the layer whose output it reads with nothing between them but what an
            integer runtime applies to codes (a norm that folds, ReLU, max pooling, another shape),
            and that nothing but layers reads so; others are left out.
    """

    producers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    norms: Mapping[str, str] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)
    streams: Mapping[str, str] = field(default_factory=dict)
    follows: Mapping[str, str] = field(default_factory=dict)


def read_wiring(model: nn.Module, example: Tree, names: Mapping[int, str]) -> Wiring | str:
    """Export the model and read its wiring.

    Args:
        model: In eval mode.
        example: One input batch.
        names: id() of a layer's weight parameter to the layer's name, in execution order.

    Returns:
        The wiring; or, where torch.export refuses the model, one line saying why.
    """
    try:
        with torch.no_grad(), _silent():
            arguments, named = split_call(model, example)
            program = torch.export.export(model, arguments, named, strict=False)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        AssertionError,
    ) as err:
        # torch.export has no error class of its own for a model it cannot take
        lines = str(err).strip().splitlines()
        return f"{type(err).__name__}: {lines[0][:160]}" if lines else type(err).__name__
    signature = program.graph_signature
    parameters = dict(model.named_parameters(remove_duplicate=False))
    ids = {
        placeholder: id(parameters[name])
        for placeholder, name in signature.inputs_to_parameters.items()
    }
    layers = {
        node: names[ids[weight.name]]
        for node in program.graph.nodes
        if (weight := _weight_of(node)) is not None and ids.get(weight.name) in names
    }
    nodes = list(program.graph.nodes)
    norms = _norms(nodes, layers, signature.inputs_to_buffers)
    return Wiring(
        _producers(nodes, layers, list(names.values())),
        norms,
        *_read(nodes, layers),
        _follows(layers, norms),
    )


@contextmanager
def _silent() -> Iterator[None]:
    """Keep torch.export from printing whole graphs where it fails; the reason is passed on."""
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _operator(node: Node) -> str:
    """The plain name of an aten operator ("conv2d"), or "" for any other node."""
    parts = str(node.target).split(".")
    return parts[1] if node.op == "call_function" and parts[0] == "aten" else ""


def _weight_of(node: Node) -> Node | None:
    """The weight that a node multiplies with or looks up in; None for other nodes."""
    operator = _operator(node)
    place = 0 if operator == "embedding" else 1
    if (place and operator not in _WEIGHT_OPERATORS) or len(node.args) < 2:
        return None
    weight = node.args[place]
    return weight if isinstance(weight, Node) else None


def _producers(
    nodes: list[Node], layers: Mapping[Node, str], order: list[str]
) -> dict[str, tuple[str, ...]]:
    reaching: dict[Node, frozenset[str]] = {}
    found: dict[str, set[str]] = {}
    for node in nodes:
        inputs: frozenset[str] = frozenset().union(
            *(reaching[source] for source in node.all_input_nodes)
        )
        if _operator(node) in _SHAPE_ONLY:
            inputs = frozenset()
        if node in layers:
            activation = node.args[1 if _operator(node) == "embedding" else 0]
            if isinstance(activation, Node):
                found.setdefault(layers[node], set()).update(reaching[activation])
            inputs = frozenset({layers[node]})
        reaching[node] = inputs
    return {
        name: tuple(other for other in order if other in sources and other != name)
        for name, sources in found.items()
    }


_SAME_VALUES = frozenset(
    {"view", "reshape", "flatten", "permute", "transpose", "t", "contiguous", "clone", "alias"}
    | {"detach", "detach_", "unsqueeze", "squeeze", "expand", "dropout", "lift_fresh_copy", "to"}
    | {"_to_copy", "unflatten", "movedim", "swapaxes", "mT", "numpy_T"}
)
"""Operators behind which a quantized tensor is the same tensor."""

_SAME_SCALE = frozenset({"relu", "relu_", "relu6", "hardtanh", "hardtanh_", "clamp", "clamp_min"})
"""Operators that an integer runtime applies to codes, so that width and scale stay."""

_MAX_POOLS = frozenset(f"max_pool{dims}d" for dims in (1, 2, 3))

_ADDITIONS = frozenset({"add", "add_", "sub", "sub_"})


def _read(nodes: list[Node], layers: Mapping[Node, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Which tensor each layer reads, and which additions that is a part of."""
    root: dict[Node, Node] = {}

    def find(node: Node) -> Node:
        while root.get(node, node) is not node:
            node = root[node]
        return node

    source: dict[Node, Node] = {}
    sums: set[Node] = set()
    for node in nodes:
        source[node] = root[node] = node
        operator, first = _operator(node), node.args[0] if node.args else None
        if not isinstance(first, Node):
            continue
        if operator in _SAME_VALUES:
            source[node] = source[first]
        if operator in _SAME_VALUES | _SAME_SCALE:
            root[node] = find(first)
        second = node.args[1] if len(node.args) > 1 else None
        if operator in _ADDITIONS and isinstance(second, Node) and _alike(first, second):
            sums.add(node)
            for other in (first, second):
                root[find(other)] = find(node)
    streams = {find(node).name for node in sums}
    tensors: dict[str, set[Node]] = {}
    for node, name in layers.items():
        given = node.args[1 if _operator(node) == "embedding" else 0]
        if isinstance(given, Node):
            tensors.setdefault(name, set()).add(source[given])
    alone = {name: next(iter(found)) for name, found in tensors.items() if len(found) == 1}
    joined = {name: find(node).name for name, node in alone.items()}
    return (
        {name: node.name for name, node in alone.items()},
        {name: stream for name, stream in joined.items() if stream in streams},
    )


def _follows(layers: Mapping[Node, str], norms: Mapping[str, str]) -> dict[str, str]:
    """Layers that read another's output as its codes, see `Wiring.follows`."""
    runs = list(layers.values())
    found: dict[str, str] = {}
    for node, name in layers.items():
        at = node.args[1 if _operator(node) == "embedding" else 0]
        alone = isinstance(at, Node) and all(user in layers for user in at.users)
        while alone and isinstance(at, Node) and at not in layers:
            source = at.args[0] if at.args else None
            alone = isinstance(source, Node) and len(source.users) == 1 and _keeps_codes(at)
            if alone and _operator(at) == "batch_norm":
                alone = source in layers and layers[source] in norms
            at = source
        if alone and isinstance(at, Node) and {runs.count(name), runs.count(layers[at])} == {1}:
            found[name] = layers[at]
    return found


def _keeps_codes(node: Node) -> bool:
    return _operator(node) in {*_SAME_VALUES, *_SAME_SCALE, *_MAX_POOLS, "batch_norm"}


def _alike(first: Node, second: Node) -> bool:
    """Whether two tensors have one shape, so that adding them is no adding of a bias."""
    shapes = [getattr(node.meta.get("val"), "shape", None) for node in (first, second)]
    return shapes[0] is not None and shapes[0] == shapes[1]


def _norms(
    nodes: list[Node], layers: Mapping[Node, str], buffers: Mapping[str, str]
) -> dict[str, str]:
    """Batch-norms that are the only reader of a layer run once, and norm nothing else."""
    runs = list(layers.values())
    norm_calls = [node for node in nodes if _operator(node) == "batch_norm"]
    paths = {node: _norm_path(node, buffers) for node in norm_calls}
    path_calls = list(paths.values())
    found = {}
    for node, name in layers.items():
        readers = list(node.users)
        if runs.count(name) != 1 or len(readers) != 1 or readers[0] not in paths:
            continue
        norm, path = readers[0], paths[readers[0]]
        if path and path_calls.count(path) == 1 and norm.args[0] is node:
            found[name] = path
    return found


def _norm_path(node: Node, buffers: Mapping[str, str]) -> str:
    """Module path of a batch-norm call in eval mode, by its running mean; "" for any other."""
    mean = node.args[_RUNNING_MEAN]
    if not isinstance(mean, Node) or node.args[_TRAINING] or mean.name not in buffers:
        return ""
    return buffers[mean.name].rpartition(".")[0]
