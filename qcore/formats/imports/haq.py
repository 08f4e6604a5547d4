"""HAQ's strategy: [[weight bits, activation bits], ...] or [weight bits, ...] in layer order."""

from typing import Any

from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.exports.haq import FLOAT_MARK
from qcore.formats.imports.base import Choices, Import, checked_bits
from qcore.formats.imports.document import Document


def recognise(value: Any) -> bool:
    """True for a list of numbers or pairs, or an assignment of one."""
    return any(_is_strategy(entry) for entry in _candidates(value).values())


def _candidates(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {name: entry for name, entry in value.items() if isinstance(entry, list)}
    return {"": value}


def _is_strategy(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(entry, (int, float)) for entry in value) or all(
        isinstance(entry, (list, tuple)) and len(entry) == 2 for entry in value
    )


def read(document: Document, model: ModelSpec) -> Choices:
    """Its bits, layers taken in execution order; -1 is float.

    Raises:
        InvalidConfig: another number of layers, or a width that is not known.
    """
    lists = {n: v for n, v in _candidates(document.value).items() if _is_strategy(v)}
    fitting = {n: v for n, v in lists.items() if len(v) == len(model.names)}
    if not fitting:
        lengths = ", ".join(str(len(entry)) for entry in lists.values()) or "no"
        raise InvalidConfig(
            f"The strategy has {lengths} entries, and {model.name} has {len(model.names)} layers "
            f"({model.names[0]} to {model.names[-1]}). Choose the model it was made for."
        )
    return {name: _read_one(entries, model) for name, entries in fitting.items()}


def _read_one(entries: list[Any], model: ModelSpec) -> BitAllocation:
    bits = {}
    for name, entry in zip(model.names, entries, strict=True):
        pair = entry if isinstance(entry, (list, tuple)) else (entry, FLOAT_MARK)
        weight, activation = (FLOAT_BITS if width == FLOAT_MARK else width for width in pair)
        bits[name] = checked_bits(name, weight, activation)
    return BitAllocation(bits)


IMPORT = Import(
    "haq",
    "HAQ strategy (list of bits)",
    recognise,
    read,
    "Has no names: entry by entry in the order the layers run. -1 is float; a list of single "
    "numbers holds weight bits, and activations stay in float.",
)
