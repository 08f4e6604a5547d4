"""Formats an allocation can come from. IMPORTS lists them by name. Torch-free; nothing is run."""

from dataclasses import dataclass

from qcore.allocation import ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.imports import haq, hawq, mct, modelopt, own
from qcore.formats.imports.base import Choices, Import
from qcore.formats.imports.document import Document, read_document

IMPORTS: dict[str, Import] = {
    module.IMPORT.name: module.IMPORT for module in (own, hawq, mct, modelopt, haq)
}


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file says about a model.

    Attributes:
        format: Key of IMPORTS.
        choices: Name within the file ("" where there is none) to allocation; at least one.
        document: What was read.
    """

    format: str
    choices: Choices
    document: Document


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
    document = read_document(data)
    found = wanted or next(
        (name for name, entry in IMPORTS.items() if entry.recognise(document.value)), ""
    )
    if not found or not IMPORTS[found].recognise(document.value):
        known = ", ".join(
            entry.title for name, entry in IMPORTS.items() if not wanted or name == wanted
        )
        raise InvalidConfig(f"The file is not one of: {known}.")
    choices = IMPORTS[found].read(document, model)
    # other tools' defaults give every input bits, those of embeddings too
    fitting = {name: bits.with_float_ids(model.layers) for name, bits in choices.items()}
    return Imported(found, fitting, document)


__all__ = ["IMPORTS", "Choices", "Import", "Imported", "read_allocations"]
