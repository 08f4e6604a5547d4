"""Formats an allocation can come from. IMPORTS lists them by name. Torch-free; nothing is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qcore.allocation import ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.gguf.header import read_file
from qcore.formats.imports import gguf, haq, hawq, mct, modelopt, own
from qcore.formats.imports.base import Choices, Import, float_note
from qcore.formats.imports.document import SHOWN, Document, read_document
from qcore.intact import worded

IMPORTS: dict[str, Import] = {
    module.IMPORT.name: module.IMPORT for module in (own, hawq, mct, modelopt, haq, gguf)
}


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file says about a model.

    Attributes:
        format: Key of IMPORTS.
        choices: Name within the file ("" where there is none) to allocation; at least one.
        document: What was read.
        notes: Name within the file to sentences on how it was read, what it leaves in float, and
            what it does not say.
    """

    format: str
    choices: Choices
    document: Document
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_allocations(data: bytes, model: ModelSpec, wanted: str = "") -> Imported:
    """Read the allocations of a model from a file.

    Args:
        data: The file.
        model: The model they are for.
        wanted: Key of IMPORTS; "" finds the format by itself.

    Raises:
        InvalidConfig: not a file of a known format, or not for this model; says why.
        InvalidAllocation: layers or bits that do not fit, by name.
    """
    with worded(InvalidConfig, "The file is no configuration that can be read"):
        return _read(read_document(data), model, wanted)


def read_gguf(path: str | Path, model: ModelSpec) -> Imported:
    """Read the allocation in a GGUF file of any size; only its head is looked at.

    Args:
        path: The file, on this machine.
        model: The model it was made from.

    Raises:
        InvalidConfig: it cannot be read, is no GGUF file, or not for this model; says why.
    """
    return _read(Document(read_file(path), ""), model, gguf.IMPORT.name)


def _read(document: Document, model: ModelSpec, wanted: str) -> Imported:
    found = wanted or next(
        (name for name, entry in IMPORTS.items() if entry.recognise(document.value)), ""
    )
    if not found or not IMPORTS[found].recognise(document.value):
        known = ", ".join(
            entry.title for name, entry in IMPORTS.items() if not wanted or name == wanted
        )
        unread = "; ".join(document.unread[:SHOWN])
        why = f" What only running it would tell: {unread}." if unread else ""
        raise InvalidConfig(f"The file is not one of: {known}.{why}")
    readings = IMPORTS[found].read(document, model)
    # other tools' defaults give every input bits, those of embeddings too
    choices = {
        name: reading.allocation.with_float_ids(model.layers) for name, reading in readings.items()
    }
    notes = {
        name: (*document.notes, *reading.notes, *float_note(choices[name]))
        for name, reading in readings.items()
    }
    return Imported(found, choices, document, notes)


__all__ = ["IMPORTS", "Choices", "Import", "Imported", "read_allocations", "read_gguf"]
