"""The record every import is listed by in IMPORTS, and what the readers share. Torch-free."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, ModelSpec, parse_width
from qcore.errors import InvalidBits, InvalidConfig
from qcore.formats.config import MAX_BYTES
from qcore.formats.exports.widths import shortened, some
from qcore.formats.imports.document import Document
from qcore.formats.imports.values import Computed

Choices = Mapping[str, BitAllocation]
"""Name of a configuration within the file, "" where it has none, to its bits."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One configuration of a file.

    Attributes:
        allocation: Its bits, for every layer of the model.
        notes: Sentences on what the reader of the file should know.
    """

    allocation: BitAllocation
    notes: tuple[str, ...] = ()


Readings = Mapping[str, Reading]
"""Name of a configuration within the file, "" where it has none, to what it says."""


@dataclass(frozen=True, slots=True)
class Import:
    """One file format that carries an allocation.

    Attributes:
        name: Key in IMPORTS; the export's name where there is one.
        title: What the page calls it.
        recognise: Whether a document looks like this format.
        read: (document, model) -> its configurations of this model; at least one. Raises
            InvalidConfig or InvalidAllocation, naming layers.
        note: What the format leaves open and how it is filled.
    """

    name: str
    title: str
    recognise: Callable[[Any], bool]
    read: Callable[[Document, ModelSpec], Readings]
    note: str = ""


def whole(bits: Any) -> Any:
    """A float that is a whole number as that number, anything else as it is."""
    return int(bits) if isinstance(bits, float) and bits.is_integer() else bits


def checked_bits(name: str, weight: Any, activation: Any, what: str = "Layer") -> LayerBits:
    """Bits of one layer from an untrusted file.

    Raises:
        InvalidConfig: none of 1..16, 32, "fp16" and "bf16" (or another name that `parse_width`
            knows); names the layer.
    """
    widths = []
    for part, bits in (("weight", weight), ("activation", activation)):
        try:
            # numbers in quotes are some other tool's words
            quoted = isinstance(bits, str) and bits.strip().isdecimal()
            widths.append(parse_width("" if quoted else bits))
        except InvalidBits as error:
            if isinstance(bits, Computed):
                raise InvalidConfig(
                    f"{what} {shortened(name)} has {part} bits that only running the file would "
                    f"tell: {bits.reason}. Write the number there."
                ) from error
            shown = shortened(repr(bits))
            raise InvalidConfig(
                f"{what} {shortened(name)} has {part} bits {shown}; bitdial knows 1 to 16 bits, "
                "fp16, bf16, and 32 for float."
            ) from error
    return LayerBits(*widths)


def float_note(allocation: BitAllocation) -> tuple[str, ...]:
    """A sentence where a file leaves layers in float; none where it does not.

    That their inputs stay in float as well goes without saying: files of weights alone are common.
    """
    left = [name for name, bits in allocation.items() if bits.weight == FLOAT_BITS]
    if not left:
        return ()
    if len(left) < len(allocation):
        names = some([shortened(name) for name in left])
        return (f"{len(left)} of {len(allocation)} layers keep their weights in float: {names}.",)
    inputs = any(bits.activation != FLOAT_BITS for bits in allocation.values())
    rest = "only inputs of layers are quantized" if inputs else "nothing is quantized"
    return (f"It leaves the weights of every layer in float: {rest}.",)


def complete(bits: Mapping[str, LayerBits], model: ModelSpec, where: str) -> BitAllocation:
    """An allocation in the model's order.

    Raises:
        InvalidConfig: a layer of the model has no bits; names the first few.
    """
    missing = [shortened(name) for name in model.names if name not in bits]
    if missing:
        raise InvalidConfig(
            f"{where} says nothing about {len(missing)} of the {len(model.names)} layers of "
            f"{model.name}: {some(missing)}. Is it for this model?"
        )
    return BitAllocation({name: bits[name] for name in model.names})


def refuse_unknown(names: list[str], model: ModelSpec, where: str) -> None:
    """Raise where a file names what the model does not have.

    Raises:
        InvalidConfig: names the first few.
    """
    if names:
        raise InvalidConfig(
            f"{where} names {some([shortened(str(name)) for name in names])}, which "
            f"{model.name} does not have. Choose the model it was made for."
        )


__all__ = [
    "MAX_BYTES",
    "Choices",
    "Import",
    "Reading",
    "Readings",
    "checked_bits",
    "complete",
    "float_note",
    "refuse_unknown",
    "whole",
]
