"""A network as an ONNX graph whose layer weights and layer inputs can still be replaced.

torch's exporter writes the float graph. The weights are then made graph inputs, so that the
optimizer can neither fold nor fuse them, and the layers are found again by them. What is put in
their place is up to the writer: QDQ pairs or QONNX nodes.
"""

import copy
import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qcore.errors import ExportRefused
from qcore.formats.config import BitConfig
from qcore.formats.exports.provenance import provenance_text
from qcore.formats.exports.torch_side.parts import Part, PlainLayer, Taken
from qcore.trees import Tree, call, part, split_call

PACKAGES = ("onnx", "onnxscript")
ONE_INPUT = "input"
MATRIX_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
NEARLY_0, NEARLY_1 = 1e-7, 1e-4
"""Numbers so near to 0 and 1 are kept from the optimizer, which takes those within 1e-8 and 1e-5
for them."""
IR_VERSIONS = {18: 8, 21: 10, 25: 13}
"""Opset to the IR version written with it: the oldest that allows it."""


@dataclass
class Site:
    """A place where a layer computes.

    Attributes:
        part: The layer.
        node: Its Conv, ConvTranspose, Gemm or MatMul, whose input 0 is the layer's input, or the
            Gather of an embedding.
        turned: True where the graph multiplies by the transposed weight.
        place: Which of the node's inputs is the weight: 1, or 0 of a Gather.
    """

    part: Part
    node: Any
    turned: bool
    place: int = 1


@dataclass
class Made:
    """Nodes and constants that make one value.

    Attributes:
        output: Name of the value; "" leaves the one that was there.
        nodes: In order.
        arrays: Initializers.
    """

    output: str = ""
    nodes: list[Any] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)


Writer = Callable[[Site, str], Made]


def float_graph(taken: Taken, sample: Tree, opset: int) -> Any:
    """The float network as onnx.ModelProto, its layer weights as graph inputs named "LAYER.weight".

    Args:
        taken: The network taken apart.
        sample: What it takes, (n, ...); only shapes and kinds matter.
        opset: 18, 21 or 25.

    Raises:
        ExportRefused: torch cannot trace the network, or an operator has no ONNX translation.
    """
    import onnxscript.optimizer

    model = _exported(taken.network, sample, opset)
    values = {i.name: i for i in model.graph.initializer}
    for path, module in taken.network.named_modules():
        name = f"{path}.weight"
        if isinstance(module, PlainLayer) and name in values:
            model.graph.initializer.remove(values[name])
            model.graph.input.append(_value_info(name, tuple(module.weight.shape)))
    small = _taken_out(model.graph)
    model = onnxscript.optimizer.optimize(model)
    _put_back(model.graph, small)
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del holder.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    # kinds and shapes of what lies between: the writers change the graph, so let readers infer them
    del model.graph.value_info[:]
    model.ir_version = IR_VERSIONS[opset]
    return model


def _taken_out(graph: Any) -> list[Any]:
    """Take numbers out that are nearly 0 or 1 and neither; they become inputs for a while.

    onnxscript takes x + 1e-9 for x, and x * 1.000001 too: a logarithm loses what keeps it finite.
    """
    import onnx

    stored = list(graph.initializer)
    for node in list(graph.node):
        tensors = [a.t for a in node.attribute if a.name == "value"]
        if node.op_type == "Constant" and tensors and _nearly_nothing(tensors[0]):
            tensor = onnx.TensorProto()
            tensor.CopyFrom(tensors[0])
            tensor.name = node.output[0]
            graph.node.remove(node)
            graph.initializer.append(tensor)
            stored.append(tensor)
    found = [tensor for tensor in stored if _nearly_nothing(tensor)]
    for tensor in found:
        graph.initializer.remove(tensor)
        graph.input.append(_value_info(tensor.name, tuple(tensor.dims)))
    return found


def _nearly_nothing(tensor: Any) -> bool:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type != TensorProto.FLOAT or prod(tensor.dims) != 1:
        return False
    value = float(numpy_helper.to_array(tensor).reshape(-1)[0])
    return value not in (0.0, 1.0) and (abs(value) < NEARLY_0 or abs(value - 1) < NEARLY_1)


def _put_back(graph: Any, tensors: Sequence[Any]) -> None:
    names = {tensor.name for tensor in tensors}
    for value in [value for value in graph.input if value.name in names]:
        graph.input.remove(value)
    graph.initializer.extend(tensors)


def _exported(network: nn.Module, sample: Tree, opset: int) -> Any:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    reasons = []
    try:
        # a batch of any size where the network allows it, of one image where it does not
        for open_batch in (True, False):
            few = _copied(part(sample, slice(2 if open_batch else 1)))
            arguments, named = split_call(network, few)
            named = _in_order(network, named)
            axes = {0: torch.export.Dim.DYNAMIC}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return torch.onnx.export(
                        network,
                        arguments,
                        kwargs=named or None,
                        dynamo=True,
                        opset_version=opset,
                        input_names=list(named) or input_names(sample),
                        output_names=output_names(network, few),
                        dynamic_shapes=_shapes(arguments, named, axes) if open_batch else None,
                        optimize=False,
                        verbose=False,
                    ).model_proto
            except (torch.onnx.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
                reasons.append(_first_words(error))
    finally:
        logger.setLevel(level)
    raise ExportRefused(f"torch cannot write this network as ONNX: {reasons[-1]}")


def _in_order(network: nn.Module, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Arguments by name in the order of the forward pass, in which the exporter names them."""
    known = [name for name in inspect.signature(network.forward).parameters if name in named]
    return {name: named[name] for name in [*known, *(n for n in named if n not in known)]}


def _shapes(arguments: Sequence[Tensor], named: Mapping[str, Tensor], axes: Any) -> Any:
    """The open dimension of each input, in the form of the call."""
    return dict.fromkeys(named, axes) if named else tuple(axes for _ in arguments)


def _copied(sample: Tree) -> Tree:
    def plain(values: Tensor) -> Tensor:
        return (values.float() if values.is_floating_point() else values).clone()

    if isinstance(sample, Tensor):
        return plain(sample)
    return {name: plain(values) for name, values in sample.items()}


def input_names(sample: Tree) -> list[str]:
    """What a file calls its inputs: as the network's are called, "input" where it has one."""
    return [ONE_INPUT] if isinstance(sample, Tensor) else list(sample)


@torch.no_grad()
def output_names(network: nn.Module, sample: Tree) -> list[str]:
    """What a file calls its outputs: as the network names them, "logits" where it has one."""
    found = call(network, sample)
    names = [key for key, _ in _named(found, "output")]
    if len(names) == 1:
        return ["logits"]
    taken = set(input_names(sample))
    return [f"{name}_out" if name in taken else name for name in names]


def _named(values: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(values, Tensor):
        yield name, values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _named(value, key if name == "output" else f"{name}_{key}")
    elif isinstance(values, tuple | list):
        for number, value in enumerate(values):
            yield from _named(value, f"{name}_{number}")


def _first_words(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _value_info(name: str, shape: tuple[int, ...]) -> Any:
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def sites_of(model: Any, taken: Taken) -> list[Site]:
    """Where each layer computes, in the graph's order; removes the transposes of their weights.

    Raises:
        ExportRefused: a layer reaches the graph as something else than a matrix operator.
    """
    graph = model.graph
    owners = {
        f"{path}.weight": module
        for path, module in taken.network.named_modules(remove_duplicate=False)
        if isinstance(module, PlainLayer)
    }
    parts = {id(m.weight): taken.parts[m.part_name] for m in owners.values()}
    weights = {name: parts[id(module.weight)] for name, module in owners.items()}
    turned: dict[str, Part] = {}
    for node in list(graph.node):
        # only matrices are transposed by the exporter, and swapping two axes has one way
        if node.op_type == "Transpose" and node.input[0] in weights:
            turned[node.output[0]] = weights[node.input[0]]
            graph.node.remove(node)
    sites = []
    for node in graph.node:
        for place, name in enumerate(node.input):
            part = weights.get(name) or turned.get(name)
            if part is None:
                continue
            looked_up = node.op_type == "Gather" and place == 0
            if not looked_up and (node.op_type not in MATRIX_OPS or place != 1):
                raise ExportRefused(
                    f"Layer {part.name!r} reaches the ONNX graph inside {node.op_type}, where its "
                    "weight cannot be quantized."
                )
            sites.append(Site(part, node, name in turned, place))
    lost = set(taken.parts) - {site.part.name for site in sites}
    if lost:
        raise ExportRefused(f"Layers are not in the ONNX graph: {', '.join(sorted(lost))}.")
    return sites


def finish(model: Any, config: BitConfig, name: str, inputs: Sequence[str]) -> bytes:
    """Drop the weights' placeholders, write where the file comes from, order the nodes, serialize.

    Raises:
        ExportRefused: the result is not a valid ONNX model; says what its checker said.
    """
    import onnx

    graph, kept = model.graph, set(inputs)
    used = {i for node in graph.node for i in node.input}
    for value in list(graph.input):
        if value.name not in kept:
            graph.input.remove(value)
    for value in list(graph.initializer):
        if value.name not in used:
            graph.initializer.remove(value)
    graph.name = config.model.name
    model.producer_name, model.producer_version = "bitdial", ""
    onnx.helper.set_model_props(
        model, {"bitdial.format": name, "bitdial.provenance": provenance_text(config)}
    )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ExportRefused(f"The ONNX checker refuses the file: {_first_words(error)}") from error
    return model.SerializeToString(deterministic=True)


def array(name: str, values: Any, kind: int | None = None, data: bytes | None = None) -> Any:
    """An initializer; `kind` and `data` give types that numpy does not have, already packed."""
    import onnx

    if kind is None or data is None:
        return onnx.numpy_helper.from_array(np.array(values, order="C"), name)
    return onnx.TensorProto(name=name, data_type=kind, dims=values.shape, raw_data=data)


def rewrite(
    model: Any, sites: list[Site], weight: Writer, entry: Writer, tied: Mapping[str, str]
) -> dict[str, str]:
    """Give every site another weight and another input.

    Args:
        model: The graph, changed in place.
        sites: From `sites_of`.
        weight: (site, prefix of names) -> what makes the weight; called once for each weight.
        entry: (site, prefix of names) -> what stands before the layer's input.
        tied: Layer to a name that it has in common with those that read the same tensor on the
            same levels: what `entry` makes is there once for them; see `read_once`.

    Returns:
        Layer to the layer before it whose input it takes.
    """
    graph, made = model.graph, dict[tuple[str, bool], Made]()
    shared: dict[tuple[str, str], tuple[str, str]] = {}
    once: dict[str, str] = {}
    before: dict[str, list[Any]] = {}
    for number, site in enumerate(sites):
        key, nodes = (site.part.name, site.turned), []
        if key not in made:
            prefix = f"{site.part.name}.weight" + (".T" if site.turned else "")
            made[key] = weight(site, prefix)
            graph.initializer.extend(made[key].arrays)
            nodes += made[key].nodes
        site.node.input[site.place] = made[key].output
        # a layer that is called several times needs a name for each of its inputs
        calls = sum(other.part.name == site.part.name for other in sites[:number])
        ahead, name = Made(), site.part.name
        read = tied.get(name, ""), site.node.input[0]
        if read in shared:
            once[name], output = shared[read]
            ahead = Made(output)
        elif site.place:  # ids are no input with levels
            ahead = entry(site, f"{name}.input" + (f".{calls}" if calls else ""))
            if name in tied:
                shared[read] = name, ahead.output
        graph.initializer.extend(ahead.arrays)
        nodes += ahead.nodes
        if ahead.output:
            site.node.input[0] = ahead.output
        before[site.node.output[0]] = nodes
    ordered = []
    for node in graph.node:
        ordered += [*before.get(node.output[0], []), node]
    ordered = [copy.deepcopy(node) for node in ordered]
    del graph.node[:]
    graph.node.extend(ordered)
    return once
