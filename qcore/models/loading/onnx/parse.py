"""Reads an ONNX file whole: weights in files beside it, functions written out, and what it is not.

Weights in further files are read from the file's own folder and its subfolders alone: a location is
written by whoever made the file, and could name any file of this machine.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qcore.errors import DataUnavailable, InvalidConfig, QcoreError, UnsupportedModel
from qcore.models.loading.limits import check_size
from qcore.models.loading.packages import need

WHAT = "to read ONNX files"
MOST_BYTES = 2_000_000_000
"""An ONNX file with all its weights in it cannot be larger, whichever tool writes it."""

LARGE = 2**16
"""Bytes from which on a weight is left out where a model is only looked at."""

_QUANTIZED = (
    "The network is quantized already (QuantizeLinear or the like). Bring the float network that "
    "it was made from."
)


def parse(path: Path) -> Any:
    """The model of a file, with all its weights in it.

    Raises:
        DataUnavailable: there is no such file, one of its weight files, or a package.
        InvalidConfig: it is damaged or too large, or its weights lie outside its folder.
        UnsupportedModel: it is quantized already, or uses operators outside ONNX.
    """
    check_size(path)
    onnx = need("onnx", WHAT)
    try:
        proto = onnx.load(str(path), load_external_data=False)
        # stored tensors had to be inputs too before this version, which some writers never did
        proto.ir_version = max(proto.ir_version, 4)
        # what makes no sense is refused before its weights are read, and copied to be looked at
        bare = _bare(proto)
        onnx.checker.check_model(bare)
        _refuse(bare)
        _check_sets(bare, path)
        _check_sizes(bare, path)
        take_in(proto, path)
        for tensor in _tensors(proto):
            _check_tensor(tensor, path)
        if proto.functions:
            proto = need("onnx.inliner", WHAT).inline_local_functions(proto)
    except QcoreError:
        raise
    except Exception as error:
        # protobuf and the checker raise their own kinds, which differ between releases
        raise InvalidConfig(f"{path.name} is no valid ONNX file: {short(error)}.") from error
    _refuse(proto)
    return proto


def _bare(proto: Any) -> Any:
    """A copy of a model in which large weights, and those that lie beside it, are inputs."""
    bare = type(proto)()
    _copy_fields(proto, bare, "graph")
    _copy_fields(proto.graph, bare.graph, "initializer")
    helper = need("onnx", WHAT).helper
    named = {value.name for value in proto.graph.input}
    for tensor in proto.graph.initializer:
        if not _is_external(tensor) and tensor.ByteSize() < LARGE:
            bare.graph.initializer.append(tensor)
        elif tensor.name not in named:
            sizes = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            bare.graph.input.append(sizes)
    for tensor in _tensors(bare):
        if _is_external(tensor):  # within a node: its place is checked where it is read
            tensor.CopyFrom(_empty(tensor))
    return bare


def _copy_fields(source: Any, target: Any, but: str) -> None:
    for field, value in source.ListFields():
        if field.name == but:
            continue
        into = getattr(target, field.name)
        if hasattr(into, "extend"):
            into.extend(value)
        elif hasattr(into, "CopyFrom"):
            into.CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _is_external(tensor: Any) -> bool:
    return bool(tensor.data_location == need("onnx", WHAT).TensorProto.EXTERNAL)


def _empty(tensor: Any) -> Any:
    """A tensor of the same kind without numbers."""
    return need("onnx", WHAT).helper.make_tensor(tensor.name, tensor.data_type, [0], b"", raw=True)


def _check_sizes(bare: Any, path: Path) -> None:
    """Raise where a value would have a size below 0: a window larger than what it slides over."""
    try:
        found = need("onnx", WHAT).shape_inference.infer_shapes(bare)
    except Exception:  # noqa: BLE001 - of onnx's own; whoever runs the model says what is wrong
        return
    for value in (*found.graph.value_info, *found.graph.output):
        sizes = value.type.tensor_type.shape.dim
        if min((size.dim_value for size in sizes), default=0) < 0:
            shown = "x".join(size.dim_param[:20] or str(size.dim_value) for size in sizes[:8])
            raise UnsupportedModel(
                f"{path.name} makes {value.name[:80]!r} of {shown}: a window of it is larger than "
                "what it slides over. Check the sizes of its inputs."
            )


def _check_tensor(tensor: Any, path: Path) -> None:
    """Raise where a stored tensor holds more or fewer bytes than its shape takes."""
    if tensor.HasField("raw_data") and len(tensor.raw_data) != _bytes_of(tensor):
        raise InvalidConfig(
            f"{path.name} holds {len(tensor.raw_data):,} bytes as {tensor.name[:80]!r}; its shape "
            f"takes {_bytes_of(tensor):,}. Save it again."
        )


def take_in(proto: Any, path: Path) -> int:
    """Read weights that lie beside a file into its model; returns how many were read.

    Raises:
        DataUnavailable: a weight file is not there.
        InvalidConfig: a location leaves the folder, or a weight file is too short.
    """
    outside = [tensor for tensor in _tensors(proto) if _is_external(tensor)]
    total = 0
    for tensor in outside:
        content = _content(tensor, path)
        total += len(content)
        if total > MOST_BYTES:
            raise InvalidConfig(
                f"{path.name} has more than {MOST_BYTES / 1e6:,.0f} MB of weights; at most that "
                "much is read."
            )
        del tensor.external_data[:]
        tensor.data_location = need("onnx", WHAT).TensorProto.DEFAULT
        tensor.raw_data = content
    return len(outside)


def has_weights_beside(path: Path) -> bool:
    """True where an ONNX file keeps weights in further files.

    Raises:
        InvalidConfig: it is no ONNX file.
    """
    onnx = need("onnx", WHAT)
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        # protobuf raises its own kinds
        raise InvalidConfig(f"{path.name} is no valid ONNX file: {short(error)}.") from error
    return any(map(_is_external, _tensors(proto)))


def _content(tensor: Any, path: Path) -> bytes:
    told = {entry.key: entry.value for entry in tensor.external_data}
    location, folder = told.get("location", ""), path.parent.resolve()
    shown = f"{path.name} keeps the weight {tensor.name[:80]!r} in {location[:120]!r}"
    place = Path(location.replace("\\", "/"))
    if not location or place.is_absolute() or ".." in place.parts or ":" in place.parts[0]:
        raise InvalidConfig(
            f"{shown}, which is outside its own folder; only files beside it are read. Save it as "
            "one file: onnx.save(onnx.load(path), path, save_as_external_data=False)."
        )
    file = (folder / place).resolve()
    if not file.is_relative_to(folder):
        raise InvalidConfig(
            f"{shown}, a link that leaves its folder; only files beside it are read. Put the file "
            "itself there."
        )
    if not file.is_file():
        raise DataUnavailable(
            f"{shown}, and there is no such file beside it. Put it there, or save the network as "
            "one file: onnx.save(onnx.load(path), path, save_as_external_data=False), or "
            "torch.onnx.export with external_data=False."
        )
    start, size = (int(told.get(key) or 0) for key in ("offset", "length"))
    wanted = _bytes_of(tensor)
    length = size or wanted
    if start < 0 or length != wanted:
        raise InvalidConfig(
            f"{shown} as {length:,} bytes from byte {start:,}; its shape takes {wanted:,}."
        )
    with file.open("rb") as stream:
        stream.seek(start)
        content = stream.read(length)
    if len(content) != length:
        raise InvalidConfig(
            f"{shown}, which ends too early: {length:,} bytes from byte {start:,} are needed. Copy "
            "it again."
        )
    return content


def _bytes_of(tensor: Any) -> int:
    onnx = need("onnx", WHAT)
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = math.prod(tensor.dims)
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    if name in ("INT4", "UINT4", "FLOAT4E2M1"):
        return (count + 1) // 2
    if name in ("INT2", "UINT2"):
        return (count + 3) // 4
    return int(count * kind.itemsize)


def graphs(graph: Any) -> Iterator[Any]:
    """A graph and every graph within it: branches and bodies of loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from graphs(inner)


def nodes_of(graph: Any) -> Iterator[Any]:
    """Every node of a graph and of the graphs within it."""
    for each in graphs(graph):
        yield from each.node


def _tensors(proto: Any) -> Iterator[Any]:
    """Every stored tensor: initializers, attributes, in branches and in functions."""
    nodes = []
    for each in graphs(proto.graph):
        yield from each.initializer
        nodes += list(each.node)
    for function in proto.functions:
        nodes += list(function.node)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _refuse(proto: Any) -> None:
    nodes = list(nodes_of(proto.graph))
    kinds = {node.op_type for node in nodes}
    quantized = any("Quantize" in k or "QLinear" in k or k.endswith("Integer") for k in kinds)
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in nodes if n.domain} - {""})
    foreign = [name for name in foreign if not name.startswith("ai.onnx.")]
    if foreign:
        raise UnsupportedModel(
            f"The file uses operators outside ONNX's own: {', '.join(foreign[:20])}. "
            + (_QUANTIZED if quantized else "Export it with standard operators.")
        )
    if quantized:
        raise UnsupportedModel(_QUANTIZED)


def _check_sets(proto: Any, path: Path) -> None:
    """Raise for what onnxruntime says in its own words only."""
    newest = need("onnx.defs", WHAT).onnx_opset_version()
    told = max((entry.version for entry in proto.opset_import if not entry.domain), default=1)
    if told > newest:
        raise UnsupportedModel(
            f"{path.name} uses operators of set {told:,}; the newest one known here is {newest}. "
            "Export it with an opset from 13 to 17."
        )
    if not proto.graph.output:
        raise UnsupportedModel(
            f"{path.name} gives no output. Export it with the values that are to be compared."
        )


def short(error: Exception) -> str:
    """An exception of another package in a few words."""
    words = " ".join(str(error).split())[:300].rstrip(".")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
