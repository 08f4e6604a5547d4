"""HAWQ's bit dictionary: one configuration, or a file of many such as HAWQ's own bit_config.py."""

from collections.abc import Mapping
from typing import Any

from qcore.allocation import BitAllocation, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.exports.hawq_names import hawq_names
from qcore.formats.imports.base import (
    Import,
    Reading,
    Readings,
    checked_bits,
    complete,
    refuse_unknown,
    whole,
)
from qcore.formats.imports.document import Document

SUM = "quant_act_int32"


def recognise(value: Any) -> bool:
    """True for a dictionary of module names that HAWQ's classes use, or one of those."""
    return any(_is_entry(entry) for entry in _entries(value).values())


def _entries(value: Any) -> dict[str, Any]:
    """Name -> entry; a single nameless entry has the name ""."""
    if not isinstance(value, dict):
        return {}
    if _is_entry(value):
        return {"": value}
    found: dict[str, Any] = {}
    for name, entry in value.items():
        if isinstance(entry, dict):
            inside = {str(name): entry} if _is_entry(entry) else entry
            for inner, each in inside.items():
                if _is_entry(each):
                    # two dictionaries of a file may use one name
                    found[f"{name}.{inner}" if str(inner) in found else str(inner)] = each
    return found


def _is_entry(value: Any) -> bool:
    if not isinstance(value, dict) or "quant_cfg" in value:  # that is ModelOpt's
        return False
    named = [name for name in value if isinstance(name, str) and "quant_" in name]
    return bool(named) and all(isinstance(_width(bits), int) for bits in value.values())


def _width(bits: Any) -> Any:
    # (8, 'hook') is how HAWQ also asks for a look at a tensor
    return whole(bits[0] if isinstance(bits, (list, tuple)) and bits else bits)


def read(document: Document, model: ModelSpec) -> Readings:
    """Those of its configurations whose modules are this model's.

    Raises:
        InvalidConfig: none fits; says what the first one lacks or has too much.
    """
    entries = _entries(document.value)
    fitting: dict[str, Reading] = {}
    first: InvalidConfig | None = None
    for name, entry in entries.items():
        try:
            words = f"HAWQ's configuration {name}".rstrip()
            fitting[name] = Reading(_read_one(entry, model, words))
        except InvalidConfig as error:
            first = first or error
    if not fitting:
        raise first or InvalidConfig("The file holds no HAWQ configuration.")
    return fitting


def _read_one(entry: Mapping[str, Any], model: ModelSpec, where: str) -> BitAllocation:
    names = hawq_names(model.names)
    if names is None:
        raise InvalidConfig(
            f"HAWQ names the modules of its own residual networks; {model.name} has layers that "
            "those lack."
        )
    widths = {name: _width(bits) for name, bits in entry.items()}
    known = {name for pair in names.values() for name in pair}
    extra = [n for n in widths if n not in known and n.rpartition(".")[2] != SUM]
    refuse_unknown(extra, model, where)
    bits = {
        layer: checked_bits(layer, widths[weight], widths[inputs])
        for layer, (weight, inputs) in names.items()
        if weight in widths and inputs in widths
    }
    return complete(bits, model, where)


IMPORT = Import(
    "hawq",
    "HAWQ dictionary",
    recognise,
    read,
    "Sums of residual joins (quant_act_int32) are passed over: bitdial leaves them in float.",
)
