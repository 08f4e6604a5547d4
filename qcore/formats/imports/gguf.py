"""GGUF files: the types of their tensors as bits. Only the head of a file is read.

A type is taken as the width of its codes, the whole number of bits below what a weight takes with
its scales: q4_K has 4.5 bits a weight and is 4 bits. Types of 1.5 to 2 bits are ternary or nearly
so, and taken as 2. The true sizes stand in the notes.
"""

from collections import Counter
from typing import Any

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, ModelSpec, width_words
from qcore.formats.exports.widths import shortened, some
from qcore.formats.gguf.header import Head
from qcore.formats.gguf.match import Stored, stored
from qcore.formats.imports.base import Import, Reading, Readings
from qcore.formats.imports.document import Document


def recognise(value: Any) -> bool:
    """True for the head of a GGUF file."""
    return isinstance(value, Head)


def read(document: Document, model: ModelSpec) -> Readings:
    """The widths of its types; inputs stay in float, and so do layers without a tensor there."""
    found = stored(document.value, model)
    bits = {
        name: LayerBits(found.types[name].width if name in found.types else FLOAT_BITS)
        for name in model.names
    }
    return {"": Reading(BitAllocation(bits), _notes(found, model))}


def _notes(found: Stored, model: ModelSpec) -> tuple[str, ...]:
    counts = Counter(found.types.values())
    ordered = sorted(counts, key=lambda kind: (kind.bits_per_weight, kind.name))
    kinds = [
        f"{kind.name} has {kind.bits_per_weight:g} bits a weight with its scales and is taken as "
        f"{width_words(kind.width)} ({counts[kind]} layer{'s' if counts[kind] > 1 else ''})"
        for kind in ordered
    ]
    notes = [
        f"The file's own types: {'; '.join(kinds)}.",
        f"In the file these layers take {found.bytes:,} B, {found.bits_per_weight:.4g} bits a "
        "weight with scales.",
    ]
    if found.shared:
        names = some([shortened(name) for name in found.shared])
        notes.append(f"The file has no tensor for {names}: it reads the embedding's.")
    nameless = [shortened(name) for name in model.names if name not in found.types]
    if nameless:
        notes.append(
            f"GGUF has no tensor for {some(nameless)}: left in float here, and not in those bytes."
        )
    return tuple(notes)


IMPORT = Import(
    "gguf",
    "GGUF file (types of its tensors)",
    recognise,
    read,
    "The head of the file is enough: head -c 20M model.gguf > head.gguf. Types with scales in "
    "blocks are taken as the width of their codes.",
)
