"""The head of a GGUF file: what its tensors are called, their types and shapes. Pure.

Written after the specification (docs/gguf.md of ggml): magic, version, counts, keys with values,
tensors. Values are skipped but for a few; no weight is read and nothing is run. Every count and
length is held against what is left of the file, so that a hostile one costs no more than its size.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qcore.errors import InvalidConfig

MAGIC = b"GGUF"
VERSIONS = (2, 3)
KEPT = ("general.architecture", "general.name", "split.count")
"""Keys whose values are read; of texts at most MOST_TEXT bytes."""

MOST_TEXT = 200
MOST_NAME = 200
MOST_DIMENSIONS = 4
MOST_TENSORS = 1 << 17
MOST_KEYS = 1 << 16
MOST_TEXTS = 1 << 22
"""Entries of a list that are walked one by one; vocabularies have a million at most."""

MOST_WEIGHTS = 1 << 50
DEEPEST = 2
MOST_HEAD = 1 << 28

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_WHOLE = {0: "B", 2: "H", 4: "I", 10: "Q"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file.

    Attributes:
        name: Such as "blk.0.attn_q.weight"; untrusted text.
        shape: Sizes, the length of a row first.
        type: Number of its type in ggml, known here or not.
    """

    name: str
    shape: tuple[int, ...]
    type: int

    @property
    def weights(self) -> int:
        """How many numbers it holds."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of a file says.

    Attributes:
        tensors: In the order of the file, at least one.
        said: Values of the keys in KEPT that it has; texts are untrusted.
    """

    tensors: tuple[Tensor, ...]
    said: Mapping[str, str | int] = field(default_factory=dict)


class _Bytes:
    """Reads numbers and texts one after another, and knows when nothing is left."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data, self.at, self.order = data, 0, "<"
        self.end = min(len(data), MOST_HEAD)

    def skip(self, count: int) -> int:
        """Go on by so many bytes; gives where they began.

        Raises:
            InvalidConfig: the file ends before that.
        """
        began = self.at
        if count > self.end - began:
            raise InvalidConfig(
                f"The GGUF file ends inside its head, at byte {self.end:,}. Give all of the "
                "head: it is at the beginning, before the weights, and a few MB long where it "
                "holds a vocabulary."
            )
        self.at = began + count
        return began

    def number(self, letter: str) -> int:
        """A whole number, by its letter in struct."""
        form = self.order + letter
        value: int = struct.unpack_from(form, self.data, self.skip(struct.calcsize(form)))[0]
        return value

    def text(self, most: int) -> str:
        """A text; of a longer one only its first bytes."""
        count = self.number("Q")
        began = self.skip(count)
        return bytes(self.data[began : began + min(count, most)]).decode("utf-8", "replace")

    def value(self, kind: int, keep: bool, depth: int = 0) -> str | int | None:
        """Go past a value; gives it where it is kept and a text or a number without sign."""
        if kind == _STRING:
            return self.text(MOST_TEXT if keep else 0)
        if kind in _SIZES:
            if keep and kind in _WHOLE:
                return self.number(_WHOLE[kind])
            self.skip(_SIZES[kind])
            return None
        if kind != _ARRAY or depth >= DEEPEST:
            raise InvalidConfig(
                f"The GGUF file has a value of kind {kind} at byte {self.at:,}, which is none of "
                "the format's. Is it damaged?"
            )
        inner, count = self.number("I"), self.number("Q")
        if inner in _SIZES:
            self.skip(count * _SIZES[inner])
            return None
        for number in range(count):
            if number >= MOST_TEXTS:
                raise InvalidConfig(
                    f"The GGUF file has a list of {count:,} entries before byte {self.at:,}; at "
                    f"most {MOST_TEXTS:,} are read. Is it damaged?"
                )
            self.value(inner, False, depth + 1)
        return None


def is_gguf(data: bytes) -> bool:
    """Whether a file begins as a GGUF file."""
    return data[: len(MAGIC)] == MAGIC


def read_head(data: bytes | mmap.mmap) -> Head:
    """Read the head of a GGUF file.

    Args:
        data: The file, or its beginning with at least the whole head.

    Raises:
        InvalidConfig: not a GGUF file of version 2 or 3, cut short or damaged; says where.
    """
    if not is_gguf(data[: len(MAGIC)]):
        raise InvalidConfig("The file does not begin with GGUF, so it is no GGUF file.")
    reader = _Bytes(data)
    reader.skip(len(MAGIC))
    version = reader.number("I")
    if version not in VERSIONS:
        # written for machines whose numbers begin with the large end
        reader.order, version = ">", int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in VERSIONS:
        raise InvalidConfig(f"The GGUF file is of version {version}; versions 2 and 3 are known.")
    tensors, keys = reader.number("Q"), reader.number("Q")
    if not 0 < tensors <= MOST_TENSORS:
        raise InvalidConfig(
            f"The GGUF file says that it has {tensors:,} tensors; 1 to {MOST_TENSORS:,} are read."
        )
    said: dict[str, str | int] = {}
    for number in range(keys):
        if number >= MOST_KEYS:
            raise InvalidConfig(
                f"The GGUF file says that it has {keys:,} keys; at most {MOST_KEYS:,} are read."
            )
        name = reader.text(MOST_NAME)
        value = reader.value(reader.number("I"), name in KEPT)
        if name in KEPT and value is not None:
            said[name] = value
    found: dict[str, Tensor] = {}
    for _ in range(tensors):
        tensor = _tensor(reader)
        if tensor.name in found:
            raise InvalidConfig(f"The GGUF file has two tensors named {tensor.name[:60]!r}.")
        found[tensor.name] = tensor
    return Head(tuple(found.values()), said)


def _tensor(reader: _Bytes) -> Tensor:
    name, dimensions = reader.text(MOST_NAME), reader.number("I")
    if dimensions > MOST_DIMENSIONS:
        raise InvalidConfig(
            f"Tensor {name[:60]!r} of the GGUF file has {dimensions:,} dimensions; "
            f"{MOST_DIMENSIONS} is the most. Is the file damaged?"
        )
    tensor = Tensor(name, tuple(reader.number("Q") for _ in range(dimensions)), reader.number("I"))
    reader.skip(8)
    if tensor.weights > MOST_WEIGHTS:
        raise InvalidConfig(
            f"Tensor {name[:60]!r} of the GGUF file has {tensor.weights:.3g} weights. Is the file "
            "damaged?"
        )
    return tensor


def read_file(path: str | Path) -> Head:
    """Read the head of a GGUF file of any size; the weights are left alone.

    Raises:
        InvalidConfig: it cannot be read, or is no GGUF file; says why.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_head(data)
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidConfig):
            raise
        raise InvalidConfig(f"Cannot read {path}: {error}.") from error
