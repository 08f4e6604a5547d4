"""Networks from ONNX files: converted by one of two packages, and held against onnxruntime.

Neither converter reads every file (each was seen to fail on what the other reads), so both are
tried, and what they give is believed only where it computes what onnxruntime computes.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qcore.errors import InvalidConfig, QcoreError, UnsupportedModel
from qcore.models.loading.limits import check_size
from qcore.models.loading.onnx.graph import share_weights, tidied, with_linears
from qcore.models.loading.onnx.sizes import Sized, lowered, open_batch, with_numbers, with_sizes
from qcore.models.loading.packages import need

AGREEMENT = 1e-3
"""Largest difference between converted network and onnxruntime, relative to the largest output."""

IMAGES = 3
"""Images it is checked with: more than one, because a batch size fixed in the file shows then."""

KNOWN_OPSET = 17
"""Newest set of operators that onnx2torch knows whole."""

_DYNAMIC = 224
_WHAT = "to read ONNX files"


@dataclass(frozen=True)
class OnnxNetwork:
    """A converted network.

    Attributes:
        network: In eval mode.
        converter: "onnx2torch" or "onnx2pytorch".
        input_shape: (channels, height, width) of one input; sizes the file leaves open are 224.
        difference: Largest difference from onnxruntime, relative to its largest output.
        notes: What the converters that failed said.
    """

    network: nn.Module
    converter: str
    input_shape: tuple[int, ...]
    difference: float
    notes: tuple[str, ...] = ()


def read_onnx(
    path: Path, input_shape: tuple[int, ...] | None = None, converter: str = ""
) -> OnnxNetwork:
    """Read an ONNX file as a network.

    Args:
        path: The file; weights must be inside it.
        input_shape: (channels, height, width); None is the file's.
        converter: The one that is known to read it, which is then believed; "" tries and verifies.

    Raises:
        DataUnavailable: there is no such file, or a package is not installed.
        InvalidConfig: it is damaged or too large.
        UnsupportedModel: several inputs, operators nobody converts (listed), a fixed batch size,
            or a conversion that computes something else.
    """
    check_size(path)
    proto = _parse(path)
    shape = _check_graph(proto, input_shape)
    if converter:
        return OnnxNetwork(_convert(converter, _ready(proto, shape)), converter, shape, 0.0)
    sample = torch.rand(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    wanted = _run_with_onnxruntime(path, sample)
    failures: list[str] = []
    ready = _ready(proto, shape)
    for name in CONVERTERS:
        try:
            network = _convert(name, ready)
            difference = _difference(network, sample, wanted)
        except QcoreError as error:
            failures.append(f"{name}: {error}")
            continue
        return OnnxNetwork(network, name, shape, difference, tuple(failures))
    missing = unknown_operators(lowered(ready.proto))
    listed = f" Operators onnx2torch does not know: {', '.join(missing)}." if missing else ""
    raise UnsupportedModel(
        f"{path.name} cannot be converted.{listed} {' '.join(failures)} Export it with an opset "
        "from 13 to 17 and a batch size left open, or bring the weights and the architecture."
    )


def _parse(path: Path) -> Any:
    onnx = need("onnx", _WHAT)
    try:
        # weights in further files could name any file of this machine
        proto = onnx.load(str(path), load_external_data=False)
        if any(t.data_location == onnx.TensorProto.EXTERNAL for t in proto.graph.initializer):
            raise InvalidConfig(
                f"{path.name} keeps its weights in other files; save it as one file: "
                "onnx.save(onnx.load(path), path, save_as_external_data=False), or "
                "torch.onnx.export with external_data=False."
            )
        onnx.checker.check_model(proto)
    except QcoreError:
        raise
    except Exception as error:
        # protobuf and the checker raise their own kinds, which differ between releases
        raise InvalidConfig(f"{path.name} is no valid ONNX file: {_short(error)}.") from error
    return proto


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


_QUANTIZED = (
    "The network is quantized already (QuantizeLinear or the like). Bring the float network that "
    "it was made from."
)


def _check_graph(proto: Any, given: tuple[int, ...] | None) -> tuple[int, ...]:
    tensor_proto = need("onnx", _WHAT).TensorProto
    graph = proto.graph
    kinds = {node.op_type for node in _nodes(graph)}
    quantized = any("Quantize" in k or "QLinear" in k or k.endswith("Integer") for k in kinds)
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in _nodes(graph) if n.domain} - {""})
    foreign = [name for name in foreign if not name.startswith("ai.onnx.")]
    if foreign:
        raise UnsupportedModel(
            f"The file uses operators outside ONNX's own: {', '.join(foreign[:20])}. "
            + (_QUANTIZED if quantized else "Export it with standard operators.")
        )
    if quantized:
        raise UnsupportedModel(_QUANTIZED)
    known = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in known]
    if len(inputs) != 1 or len(graph.output) != 1:
        names = ", ".join(value.name for value in (inputs if len(inputs) != 1 else graph.output))
        what = "inputs" if len(inputs) != 1 else "outputs"
        raise UnsupportedModel(
            f"The network has {names.count(',') + 1} {what} ({names}); bitdial's networks take one "
            "tensor of images and return one of class scores."
        )
    tensor_type = inputs[0].type.tensor_type
    if tensor_type.elem_type != tensor_proto.FLOAT:
        given_type = tensor_proto.DataType.Name(tensor_type.elem_type).lower()
        raise UnsupportedModel(
            f"The network takes {given_type} numbers; bitdial's networks take float32. Export it "
            "again in float32."
        )
    sizes = [d.dim_value for d in tensor_type.shape.dim]
    if len(sizes) != 4:
        raise UnsupportedModel(
            f"The network takes {len(sizes)} dimensions; bitdial's networks take images "
            "(n, channels, height, width)."
        )
    if given is not None:
        for ours, theirs in zip(given, sizes[1:], strict=True):
            if theirs not in (0, ours):
                wanted = "x".join(str(s or "any") for s in sizes[1:])
                raise UnsupportedModel(
                    f"The file takes inputs of {wanted}, not {'x'.join(map(str, given))}."
                )
        return given
    if sizes[3] in (1, 3) and (sizes[1] > 4 or (not sizes[1] and not sizes[2])):
        raise UnsupportedModel(
            f"The file takes inputs of {'x'.join(str(s or 'any') for s in sizes[1:])}: it seems to "
            "have channels last. Export it with channels first (n, channels, height, width); if "
            "it has, give the shape (--shape)."
        )
    channels, height, width = sizes[1] or 3, sizes[2] or _DYNAMIC, sizes[3] or _DYNAMIC
    return channels, height, width


def unknown_operators(proto: Any) -> list[str]:
    """Operators of a file that onnx2torch has no conversion for, by name.

    (onnx2pytorch has a guess at every operator of ONNX; whether it is right, the outputs say.)
    """
    registry = need("onnx2torch.node_converters", _WHAT)
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    missing = set()
    for node in _nodes(proto.graph):
        version = min(versions.get(node.domain, 0), KNOWN_OPSET)
        try:
            registry.get_converter(node.op_type, version, node.domain)
        except NotImplementedError:
            missing.add(node.op_type)
    return sorted(missing)


def _ready(proto: Any, shape: tuple[int, ...]) -> Sized:
    """The model in the form it is converted in."""
    plain = tidied(proto)
    try:
        return with_sizes(open_batch(plain), shape, _run)
    except Exception:  # noqa: BLE001 - onnxruntime's own; as it is, the file may still do
        return Sized(plain)


def _run(proto: Any, images: np.ndarray, names: list[str]) -> list[np.ndarray]:
    runtime = need("onnxruntime", "to verify ONNX files")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(names, {session.get_inputs()[0].name: images}))


def _with_onnx2torch(sized: Sized) -> nn.Module:
    convert = need("onnx2torch", _WHAT).convert
    proto = lowered(sized.proto)
    newest = max(entry.version for entry in proto.opset_import)

    def converted() -> nn.Module:
        network = with_linears(with_numbers(convert(proto), sized.expanded))
        share_weights(network, proto.graph)
        return network

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
    return need("onnx2pytorch", _WHAT).ConvertModel(sized.proto, experimental=True)


CONVERTERS: dict[str, Callable[[Sized], nn.Module]] = {
    "onnx2torch": _with_onnx2torch,
    "onnx2pytorch": _with_onnx2pytorch,
}
"""Tried in this order."""


def _convert(name: str, sized: Sized) -> nn.Module:
    if name not in CONVERTERS:
        raise InvalidConfig(f"Unknown ONNX converter {name!r}; known: {', '.join(CONVERTERS)}.")
    try:
        with warnings.catch_warnings():
            # they warn of read-only arrays and of batch sizes, both of which are checked here
            warnings.simplefilter("ignore")
            return CONVERTERS[name](sized).eval()
    except QcoreError:
        raise
    except Exception as error:
        # converters raise whatever they meet
        raise UnsupportedModel(f"{_short(error)}.") from error


def _run_with_onnxruntime(path: Path, sample: torch.Tensor) -> np.ndarray:
    runtime = need("onnxruntime", "to verify ONNX files")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        images: Sequence[np.ndarray] = sample.numpy()[:, None]
        # one by one, so that a batch size fixed in the file does not matter here
        return np.concatenate([session.run(None, {name: image})[0] for image in images])
    except Exception as error:
        # onnxruntime's exceptions derive from Exception alone
        raise UnsupportedModel(
            f"onnxruntime cannot run {path.name}: {_short(error)}. Check the file."
        ) from error


def _difference(network: nn.Module, sample: torch.Tensor, wanted: np.ndarray) -> float:
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = network(sample)
    except Exception as error:
        raise UnsupportedModel(
            f"it cannot run on a batch of {IMAGES} images ({_short(error)}); export it with the "
            "batch size left open."
        ) from error
    if not isinstance(got, torch.Tensor) or tuple(got.shape) != wanted.shape:
        shape = tuple(got.shape) if isinstance(got, torch.Tensor) else type(got).__name__
        raise UnsupportedModel(f"its output is {shape}, onnxruntime's {wanted.shape}.")
    scale = max(float(np.abs(wanted).max()), 1e-12)
    difference = float(np.abs(got.numpy() - wanted).max()) / scale
    if not difference <= AGREEMENT:
        raise UnsupportedModel(
            f"its outputs differ from onnxruntime's by {100 * difference:.3g} % of the largest."
        )
    return difference


def _short(error: Exception) -> str:
    words = " ".join(str(error).split())[:300].rstrip(".")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
