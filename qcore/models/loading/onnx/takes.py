"""What an ONNX file takes: its inputs, where the samples lie in them, and what must be assumed."""

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qcore.errors import InvalidParams, QcoreError, UnsupportedModel
from qcore.inputs import Input, check_inputs
from qcore.models.loading.onnx.ids import compared_with, feeds_state, readers, vocabulary
from qcore.models.loading.onnx.parse import parse
from qcore.models.loading.onnx.widened import widened
from qcore.models.loading.packages import need

_KINDS = {
    "FLOAT": "float32",
    "INT64": "int64",
    "INT32": "int32",
    "BOOL": "bool",
    "INT8": "int32",
    "UINT8": "int32",
    "INT16": "int32",
    "UINT16": "int32",
    "UINT32": "int64",
    "UINT64": "int64",
}
"""Kind of numbers in a file to the kind that a sample's column has."""

_HIGHS = {"UINT8": 256, "UINT16": 65536}
_STATE = re.compile(r"(^|[_.\d])(state|hidden|memory|past|cache|[hc][0x]?)(_?(in|\d+))?$", re.I)
_IMAGE_SIZES = ((224, 224), (48, 320), (32, 320), (32, 128), (64, 64), (256, 256), (640, 640))
_LENGTHS = (128, 256, 512, 576, 1024, 64, 32, 16, 480, 16000, 8)


@dataclass(frozen=True)
class Slot:
    """One input of a file.

    Attributes:
        name: As the file calls it.
        kind: Kind of its numbers, by ONNX's name.
        dims: Its sizes in the file, in order; 0 where the file leaves one open.
        axis: Where in `dims` the samples lie; None where it has no place for samples.
        given: It as a sample's column; sizes the file leaves open are 0 until they are chosen.
    """

    name: str
    kind: str
    dims: tuple[int, ...]
    axis: int | None
    given: Input

    @property
    def open(self) -> bool:
        """True while a size is to be chosen."""
        return 0 in self.given.shape

    def in_file(self, column: np.ndarray) -> np.ndarray:
        """Some samples (n, ...) as the file takes them; a single one where it takes no batch."""
        to = need("onnx", "").TensorProto.DataType.Value(self.kind)
        values = column.astype(need("onnx", "").helper.tensor_dtype_to_np_dtype(to))
        return values[0] if self.axis is None else np.moveaxis(values, 0, self.axis)


@dataclass(frozen=True)
class Takes:
    """All that a file takes.

    Attributes:
        slots: Its inputs, in order.
        fixed: Name in the file to what is always given there.
        batch: Samples that the file takes at once; 0 where that is open.
        image: True where it takes one picture (channels, height, width) of floats.
        notes: What was assumed, in sentences.
    """

    slots: tuple[Slot, ...]
    fixed: Mapping[str, np.ndarray]
    batch: int
    image: bool
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The columns of a sample; () for one picture."""
        return () if self.image else tuple(slot.given for slot in self.slots)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first input of one sample."""
        return self.slots[0].given.shape

    @property
    def piece(self) -> int:
        """Samples that the file itself is run on at once."""
        return self.batch or 1


def read_takes(
    proto: Any,
    shape: tuple[int, ...] | None,
    inputs: Sequence[Input],
    fixed: Mapping[str, Any],
) -> Takes:
    """What a file takes, by its own words and those of whoever brings it.

    Args:
        proto: The model.
        shape: (channels, height, width) that was said; None is the file's.
        inputs: Inputs that were named; the file says the others.
        fixed: Name to a number that is always given there, for inputs without samples.

    Raises:
        UnsupportedModel: kinds of numbers or inputs that nothing can be made of.
        InvalidParams: what was said contradicts the file.
    """
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    values = [value for value in graph.input if value.name not in stored]
    if not values:
        raise UnsupportedModel("The file takes no input: it computes one constant.")
    dims = [_dims(value, inputs) for value in values]
    symbol, batch = _batch(values, dims, list(map(_sizes, graph.output)))
    names = plain_names([value.name for value in values])
    slots, constants, notes = [], {}, []
    for place, (value, sizes, name) in enumerate(zip(values, dims, names, strict=True)):
        kind = _kind(value)
        axis = _axis(graph, value, sizes, symbol, batch, place == 0)
        if axis is None and (not sizes or (batch == 0 and 0 not in sizes)):
            number, said = _constant(graph, value, fixed, name)
            constants[value.name] = np.full(sizes, number, _numpy_kind(kind))
            notes += said
            continue
        slots.append(_slot(graph, value, kind, sizes, axis, name, place))
    _check_fixed(fixed, [*constants, *(n for n, v in zip(names, values, strict=True))], slots)
    if not slots:
        raise UnsupportedModel("No input of the file has a place for samples.")
    image = _is_picture(slots) and not inputs
    if image:
        slots = [_picture(slots[0], shape)]
    taken = Takes(tuple(slots), constants, batch, image, tuple(notes))
    taken = taken if image else _named(taken, inputs)
    check_inputs(tuple(slot.given for slot in taken.slots if not slot.open))
    return taken


def takes_pictures(path: Path) -> bool:
    """True where an ONNX file takes one picture, whose normalisation has to be known.

    True where there is no such file; False where it cannot be read: whoever reads it says why.
    """
    if not path.is_file():
        return True
    try:
        return read_takes(widened(parse(path)), None, (), {}).image
    except QcoreError:
        return False


def _dims(value: Any, inputs: Sequence[Input]) -> tuple[int, ...]:
    kind = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type":
        raise UnsupportedModel(
            f"{value.name!r} is no tensor but a {value.type.WhichOneof('value')}; networks take "
            "and return tensors."
        )
    if kind.HasField("shape"):
        return _sizes(value)
    given = next((each for each in inputs if each.name in (value.name, _word(value.name))), None)
    if given is None:
        raise UnsupportedModel(
            f"The file does not say how many dimensions its input {value.name!r} has. Say it: "
            f"--input {_word(value.name)}:float32:SIZES, sizes without the batch."
        )
    return (0, *given.shape)


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(max(0, dim.dim_value) for dim in value.type.tensor_type.shape.dim)


def _symbols(value: Any) -> list[str]:
    return [dim.dim_param for dim in value.type.tensor_type.shape.dim]


def _batch(
    values: list[Any], dims: list[tuple[int, ...]], outputs: list[tuple[int, ...]]
) -> tuple[str, int]:
    """The name of the batch, "" where it has none, and its size; 0 where it is open.

    A size of -1 says that there is no batch at all.
    """
    first = next((at for at, sizes in enumerate(dims) if sizes), 0)
    if not dims[first]:
        return "", -1
    if dims[first][0] == 0:
        names = _symbols(values[first])
        return names[0] if names else "", 0
    size = dims[first][0]
    open_ones = [at for at, sizes in enumerate(dims) if sizes and sizes[0] == 0]
    if open_ones and size == 1:
        return "", 1
    alike = all(sizes[:1] == (size,) for sizes in (*dims, *outputs) if sizes)
    if size == 1 or alike or len(dims[first]) == 4:
        return "", size
    return "", -1


def _axis(
    graph: Any, value: Any, sizes: tuple[int, ...], symbol: str, batch: int, first: bool
) -> int | None:
    """Where the samples of an input lie; None where it has no place for them."""
    if batch < 0 or not sizes:
        return None
    if first:
        return 0
    if symbol and symbol in _symbols(value):
        return _symbols(value).index(symbol)
    if batch == 0:
        open_ones = [at for at, size in enumerate(sizes) if size == 0]
        if open_ones:
            return open_ones[0]
        return 1 if feeds_state(graph, value.name) and len(sizes) > 1 and sizes[1] == 1 else None
    if feeds_state(graph, value.name) and len(sizes) > 1 and sizes[1] == batch:
        return 1
    places = [at for at, size in enumerate(sizes) if size in (0, batch)]
    return places[0] if places else None


def _kind(value: Any) -> str:
    onnx = need("onnx", "")
    number = value.type.tensor_type.elem_type
    known = number in onnx.TensorProto.DataType.values()
    kind: str = onnx.TensorProto.DataType.Name(number) if known else f"unknown ({number})"
    if kind not in _KINDS:
        raise UnsupportedModel(
            f"The network takes {kind.lower()} numbers as {value.name!r}; here networks take "
            "float32, whole numbers or yes and no. Export it again in float32."
        )
    return kind


def _numpy_kind(kind: str) -> Any:
    onnx = need("onnx", "")
    return onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(kind))


def _constant(
    graph: Any, value: Any, fixed: Mapping[str, Any], name: str
) -> tuple[float, list[str]]:
    """The number an input without samples is given, and what is to be said of it."""
    said = next((fixed[key] for key in (value.name, name) if key in fixed), None)
    if said is not None:
        try:
            return float(said), []
        except (TypeError, ValueError):
            raise InvalidParams(f"{name} is fixed at a number; got {said!r}.") from None
    if not any(readers(graph, value.name)):
        return 0.0, []
    known = compared_with(graph, value.name)
    number = known if known is not None else 1.0
    why = ", which the file compares it with" if known is not None else ""
    return number, [
        f"Its input {name} has no place for samples: it is always {number:g}{why}. Another value "
        f"is given as the argument {name}={number:g} (--argument)."
    ]


def _check_fixed(fixed: Mapping[str, Any], known: list[str], slots: list[Slot]) -> None:
    for key in fixed:
        words = [slot for slot in slots if key in (slot.name, slot.given.name)]
        if words:
            raise InvalidParams(
                f"The input {key!r} differs from sample to sample and cannot be fixed; give it as "
                "a column of the data."
            )
        if key not in known:
            raise InvalidParams(
                f"The file has no input {key[:80]!r} to fix; it takes {', '.join(known)}."
            )


def _slot(
    graph: Any,
    value: Any,
    kind: str,
    sizes: tuple[int, ...],
    axis: int | None,
    name: str,
    place: int,
) -> Slot:
    own = tuple(size for at, size in enumerate(sizes) if at != axis)
    whole = _KINDS[kind] in ("int32", "int64")
    high = vocabulary(graph, value.name) if whole else None
    if whole and high is None:
        high = 2 if "mask" in name.lower() else _HIGHS.get(kind)
    state = place > 0 and kind == "FLOAT" and bool(_STATE.search(name))
    state = state or (kind == "FLOAT" and feeds_state(graph, value.name))
    return Slot(
        value.name, kind, sizes, axis, Input(name, own, _KINDS[kind], high=high, zeros=state)
    )


def plain_names(names: Sequence[str]) -> list[str]:
    """Names that Python takes, the same where they are such already, none twice."""
    found: list[str] = []
    for name in names:
        word, count = _word(name), 1
        while word in found:
            count += 1
            word = f"{_word(name)}_{count}"
        found.append(word)
    return found


def _word(name: str) -> str:
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "x"
    return f"n{word}" if word[0].isdigit() or keyword.iskeyword(word) else word


def _is_picture(slots: list[Slot]) -> bool:
    one = slots[0]
    return (
        len(slots) == 1 and one.axis == 0 and len(one.dims) == 4 and one.kind in ("FLOAT", "UINT8")
    )


def _picture(slot: Slot, shape: tuple[int, ...] | None) -> Slot:
    if slot.kind != "FLOAT":
        raise UnsupportedModel(
            f"The network takes {slot.kind.lower()} numbers; pictures are given in float32. Export "
            f"it again in float32, or name its input: --input {slot.given.name}:int32:"
            f"{'x'.join(str(size or 'SIZE') for size in slot.dims[1:])}."
        )
    sizes = slot.dims
    if shape is not None:
        for ours, theirs in zip(shape, sizes[1:], strict=True):
            if theirs not in (0, ours):
                wanted = "x".join(str(s or "any") for s in sizes[1:])
                raise UnsupportedModel(
                    f"The file takes inputs of {wanted}, not {'x'.join(map(str, shape))}."
                )
        return replace(slot, given=replace(slot.given, shape=tuple(shape)))
    if sizes[3] in (1, 3) and (sizes[1] > 4 or (not sizes[1] and not sizes[2])):
        raise UnsupportedModel(
            f"The file takes inputs of {'x'.join(str(s or 'any') for s in sizes[1:])}: it seems to "
            "have channels last. Export it with channels first (n, channels, height, width); if "
            "it has, give the shape (--shape)."
        )
    return replace(slot, given=replace(slot.given, shape=(sizes[1] or 3, *sizes[2:])))


def _named(takes: Takes, inputs: Sequence[Input]) -> Takes:
    """The same with what was said of its inputs."""
    named = {each.name: each for each in inputs}
    slots = []
    for slot in takes.slots:
        key = slot.name if slot.name in named else slot.given.name
        said = named.pop(key, None)
        if said is None and len(inputs) == 1 and len(takes.slots) == 1:
            break
        slots.append(slot if said is None else _with(slot, said))
    fixed = [key for key in takes.fixed if named.pop(key, None) or named.pop(_word(key), None)]
    if fixed:
        raise InvalidParams(
            f"The input {fixed[0]!r} has no place for samples; fix it instead: --argument "
            f"{fixed[0]}=NUMBER."
        )
    if named:
        known = "; ".join(slot.given.words for slot in takes.slots)
        raise InvalidParams(
            f"The file has no input {', '.join(map(repr, named))}; it takes {known}. Name each "
            "input as the file does."
        )
    return replace(takes, slots=tuple(slots))


def _with(slot: Slot, said: Input) -> Slot:
    own = slot.given
    if said.dtype != own.dtype and not (slot.kind not in ("FLOAT", "BOOL") and "int" in said.dtype):
        raise InvalidParams(f"Its input {own.name!r} takes {own.dtype}, not {said.dtype}.")
    fits = len(said.shape) == len(own.shape) and all(
        theirs in (0, ours) for ours, theirs in zip(said.shape, own.shape, strict=True)
    )
    if not fits:
        wanted = "x".join(str(size or "any") for size in own.shape) or "one number"
        raise InvalidParams(
            f"One sample of its input {own.name!r} is {wanted} in the file, not "
            f"{'x'.join(map(str, said.shape)) or 'one number'}; the batch is left out."
        )
    merged = replace(said, name=own.name, high=said.high or own.high)
    return replace(slot, given=merged)


def choices(takes: Takes) -> list[Takes]:
    """The same with sizes where the file leaves them open: what is to be tried, best first."""
    if not any(slot.open for slot in takes.slots):
        return [takes]
    if takes.image:
        slot = takes.slots[0]
        channels, *own = slot.given.shape
        found = [
            (channels, *(size or tried for size, tried in zip(own, pair, strict=True)))
            for pair in _IMAGE_SIZES
        ]
        return [
            replace(takes, slots=(replace(slot, given=replace(slot.given, shape=shape)),))
            for shape in dict.fromkeys(found)
        ]
    return [_filled(takes, length) for length in _LENGTHS]


def _filled(takes: Takes, length: int) -> Takes:
    slots = []
    for slot in takes.slots:
        picture = len(slot.given.shape) == 3 and slot.given.shape[0] in (1, 3)
        size = max(length, 224 if length == _LENGTHS[0] else length) if picture else length
        shape = tuple(own or size for own in slot.given.shape)
        slots.append(replace(slot, given=replace(slot.given, shape=shape)))
    return replace(takes, slots=tuple(slots))
