"""Turns an ONNX model into a torch network, by one of two packages.

Neither reads every file: each was seen to fail on what the other reads. What onnx2torch leaves as
plain functions on stored tensors becomes layers here.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from qcore.errors import InvalidConfig, QcoreError, UnsupportedModel
from qcore.models.loading.onnx import operators
from qcore.models.loading.onnx.gathered import with_embeddings
from qcore.models.loading.onnx.graph import tidied, with_linears
from qcore.models.loading.onnx.padded import with_pads
from qcore.models.loading.onnx.parse import WHAT, nodes_of, short
from qcore.models.loading.onnx.sizes import Sized, lowered, with_numbers
from qcore.models.loading.onnx.tied import shared_again
from qcore.models.loading.packages import need

KNOWN_OPSET = 17
"""Newest set of operators that onnx2torch knows whole."""

OLDEST_OPSET = 13
"""Older sets are raised to this one where they have operators that it does not know as they are."""

_ROUNDS = 3


def unknown_operators(proto: Any) -> list[str]:
    """Operators of a file that onnx2torch has no conversion for, by name.

    (onnx2pytorch has a guess at every operator of ONNX; whether it is right, the outputs say.)
    """
    operators.register()
    registry = need("onnx2torch.node_converters", WHAT)
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    missing = set()
    for node in nodes_of(proto.graph):
        version = min(versions.get(node.domain, 0), KNOWN_OPSET)
        try:
            registry.get_converter(node.op_type, version, node.domain)
        except NotImplementedError:
            missing.add(node.op_type)
    return sorted(missing)


def written_out(proto: Any) -> Any:
    """A tidied copy in which unknown operators stand as simpler ones, where ONNX says how.

    Operators of old sets are raised to a newer set; those that ONNX defines by others are replaced
    by these.
    """
    plain = tidied(proto)
    missing = unknown_operators(lowered(plain))
    versions = [entry.version for entry in plain.opset_import if not entry.domain]
    if missing and versions and versions[0] < OLDEST_OPSET:
        try:
            plain = tidied(
                need("onnx.version_converter", WHAT).convert_version(plain, OLDEST_OPSET)
            )
        except Exception:  # noqa: BLE001 - the converter's own; as it is, the file may still do
            return plain
        missing = unknown_operators(lowered(plain))
    for _ in range(_ROUNDS):
        functions = [("", name) for name in missing]
        if not functions:
            break
        try:
            found = need("onnx.inliner", WHAT).inline_selected_functions(
                _typed(plain), functions, inline_schema_functions=True
            )
        except Exception:  # noqa: BLE001 - the inliner's own; the operators are named later
            break
        plain, before = tidied(found), missing
        missing = unknown_operators(lowered(plain))
        if missing == before:
            break
    return plain


def _typed(proto: Any) -> Any:
    """A copy that says the kinds and sizes of all values, which the inliner asks for."""
    onnx = need("onnx", WHAT)
    copy = need("onnx.shape_inference", WHAT).infer_shapes(proto)
    copy.graph.value_info.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in copy.graph.initializer
    )
    return copy


def _with_onnx2torch(sized: Sized) -> nn.Module:
    operators.register()
    convert = need("onnx2torch", WHAT).convert
    proto = lowered(with_pads(sized.proto))
    newest = max(entry.version for entry in proto.opset_import)

    def converted() -> GraphModule:
        network = with_numbers(with_embeddings(convert(proto)), sized.expanded)
        network = with_linears(network)
        return shared_again(network, proto)

    try:
        return converted()
    except NotImplementedError:
        if newest <= KNOWN_OPSET:
            raise
        # most operators of later sets differ in the types they allow alone; where one computes
        # something else, the comparison with onnxruntime shows it
        for entry in proto.opset_import:
            entry.version = min(entry.version, KNOWN_OPSET)
        return converted()


def _with_onnx2pytorch(sized: Sized) -> nn.Module:
    if len(sized.proto.graph.input) > 1 or len(sized.proto.graph.output) > 1:
        raise UnsupportedModel("it takes networks of one input and one output alone")
    converted: nn.Module = need("onnx2pytorch", WHAT).ConvertModel(sized.proto, experimental=True)
    return converted


CONVERTERS: dict[str, Callable[[Sized], nn.Module]] = {
    "onnx2torch": _with_onnx2torch,
    "onnx2pytorch": _with_onnx2pytorch,
}
"""Tried in this order."""


def convert(name: str, sized: Sized, inputs: list[str], outputs: list[str]) -> nn.Module:
    """A network in eval mode.

    Args:
        name: Key of CONVERTERS.
        sized: The model.
        inputs: Names of its inputs, in order: those of the network's arguments.
        outputs: Names of its outputs; with several, the network returns them under these.

    Raises:
        InvalidConfig: an unknown converter.
        UnsupportedModel: it cannot convert the model; says what it said.
    """
    if name not in CONVERTERS:
        raise InvalidConfig(f"Unknown ONNX converter {name!r}; known: {', '.join(CONVERTERS)}.")
    try:
        with warnings.catch_warnings():
            # they warn of read-only arrays and of batch sizes, both of which are checked here
            warnings.simplefilter("ignore")
            network = CONVERTERS[name](sized).eval()
            if isinstance(network, GraphModule):
                _name(network, inputs, outputs)
            return _owning(network)
    except QcoreError:
        raise
    except Exception as error:
        # converters raise whatever they meet
        raise UnsupportedModel(f"{short(error)}.") from error


@torch.no_grad()
def _owning(network: nn.Module) -> nn.Module:
    """The network with tensors of their own memory, not views of the file's or of one number."""
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.set_(torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor))
    return network


def _name(network: GraphModule, inputs: list[str], outputs: list[str]) -> None:
    """Give a network's arguments and outputs the names of the file's."""
    graph = network.graph
    places = [node for node in graph.nodes if node.op == "placeholder"]
    with graph.inserting_before(places[0]):
        for place, name in zip(places, inputs, strict=True):
            place.replace_all_uses_with(graph.placeholder(name))
    for place in places:
        graph.erase_node(place)
    end = next(node for node in graph.nodes if node.op == "output")
    given = end.args[0]
    if len(outputs) > 1 and isinstance(given, list | tuple):
        end.args = (dict(zip(outputs, given, strict=True)),)
    network.recompile()
