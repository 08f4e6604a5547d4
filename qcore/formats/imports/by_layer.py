"""Reads bits from a text or a file: all of IMPORTS, and layer names with their bits. Torch-free."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, ModelSpec
from qcore.errors import InvalidAllocation
from qcore.formats.imports import IMPORTS, Choices, Imported, read_allocations
from qcore.formats.imports.document import read_document

FORMATS = "; ".join(entry.title for entry in IMPORTS.values()) + (
    '; or {"layer": [weight bits, activation bits], "other layer": weight bits, ...}'
)
"""What `read_bits` reads, in words."""


def read_bits(data: bytes, model: ModelSpec) -> Choices:
    """The choices of `read_file`; raises as it does."""
    return read_file(data, model).choices


def read_file(data: bytes, model: ModelSpec) -> Imported:
    """Read the bits of a model's layers from a file or a pasted text of any of FORMATS.

    Args:
        data: The file, or the text in UTF-8. Nothing of it is ever run.
        model: Whose layers they must be for.

    Returns:
        Choices: name within the file ("" where it has none) to bits, layers in the model's order,
        at least one; with sentences on how each was read.

    Raises:
        InvalidConfig: no such file, too large, or not for this model.
        InvalidAllocation: layers are missing or unknown, or bits out of range; the message names
            all of them.
    """
    document = read_document(data)
    value = document.value
    if isinstance(value, Mapping) and set(value) & set(model.names):
        found = Imported("layers", {"": _named(value, model)}, document)
    else:
        found = read_allocations(data, model)
    ordered = {
        label: BitAllocation({name: bits[name] for name in model.names})
        for label, bits in found.choices.items()
    }
    return replace(found, choices=ordered)


def _named(value: Mapping[Any, Any], model: ModelSpec) -> BitAllocation:
    """Layer name to a pair or to weight bits alone; all that is wrong is named at once."""
    bits: dict[str, LayerBits] = {}
    wrong: list[str] = []
    for key, entry in value.items():
        name = str(key)
        pair = entry if isinstance(entry, (list, tuple)) else (entry, FLOAT_BITS)
        try:
            widths = [FLOAT_BITS if width == -1 else width for width in pair]
            bits[name] = BitAllocation.from_json({name: widths})[name]
        except InvalidAllocation:
            wrong.append(f"{name} ({str(entry)[:40]})")
    if wrong:
        more = f" and {len(wrong) - 12} more" if len(wrong) > 12 else ""
        raise InvalidAllocation(
            "Bits must be whole numbers from 1 to 16, fp16, bf16, or 32 (or -1) for float; these "
            f"layers have others: {', '.join(wrong[:12])}{more}."
        )
    found = BitAllocation(bits)
    found.check_names(model.layers)
    return found
