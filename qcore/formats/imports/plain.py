"""What was read from a file as plain data, small and of our own making: it crosses processes.

The file's text is not among it, but for our own format, whose text is written anew. Torch-free.
"""

from collections.abc import Mapping
from typing import Any

from qcore.allocation import BitAllocation, ModelSpec
from qcore.formats.config import dump_bits
from qcore.formats.gguf.header import Head, Tensor
from qcore.formats.imports import Imported, own
from qcore.formats.imports.document import Document


def to_plain(found: Imported, model: ModelSpec) -> dict[str, Any]:
    """Plain JSON data; `from_plain` reads it back.

    Args:
        found: What was read.
        model: What it was read for.

    Raises:
        InvalidConfig: it is our own format, and damaged.
    """
    head = found.document.value
    mine = found.format == own.IMPORT.name
    return {
        "format": found.format,
        "choices": [[name, bits.to_json()] for name, bits in found.choices.items()],
        "notes": [[name, list(words)] for name, words in found.notes.items()],
        "text": dump_bits(own.read_config(found.document, model)) if mine else "",
        "head": _head(head) if isinstance(head, Head) else None,
    }


def from_plain(data: Mapping[str, Any]) -> Imported:
    """Read what `to_plain` wrote."""
    head, value = data["head"], None
    if head is not None:
        tensors = (Tensor(name, tuple(shape), kind) for name, shape, kind in head["tensors"])
        value = Head(tuple(tensors), head["said"])
    choices = {name: BitAllocation.from_json(bits) for name, bits in data["choices"]}
    notes = {name: tuple(words) for name, words in data["notes"]}
    return Imported(data["format"], choices, Document(value, data["text"]), notes)


def _head(head: Head) -> dict[str, Any]:
    tensors = [[each.name, list(each.shape), each.type] for each in head.tensors]
    return {"tensors": tensors, "said": dict(head.said)}
