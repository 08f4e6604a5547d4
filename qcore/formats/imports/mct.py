"""The manual weight widths of a Sony MCT script, by module or by node name."""

from typing import Any

from qcore.allocation import FLOAT_BITS, LayerBits, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.exports.templates.mct import node_name
from qcore.formats.exports.widths import shortened, some
from qcore.formats.imports.base import (
    Import,
    Reading,
    Readings,
    checked_bits,
    complete,
    refuse_unknown,
)
from qcore.formats.imports.document import Document

WEIGHTS, ACTIVATIONS = "WEIGHT_BITS", "ACTIVATION_BITS"


def recognise(value: Any) -> bool:
    """True for a file that assigns WEIGHT_BITS a dictionary."""
    return bool(_assigned(value))


def _assigned(value: Any) -> dict[str, dict[Any, Any]]:
    """What WEIGHT_BITS is assigned, by the name it has in the file."""
    if not isinstance(value, dict):
        return {}
    return {
        name: entry
        for name, entry in value.items()
        if isinstance(entry, dict) and str(name).partition(" (line ")[0] == WEIGHTS
    }


def read(document: Document, model: ModelSpec) -> Readings:
    """Its bits; every layer of the model must be named.

    Raises:
        InvalidConfig: unknown or missing layers, by name, a width that is not known, or a name
            that two layers or two widths share.
    """
    assigned = _assigned(document.value)
    activation = document.value.get(ACTIVATIONS, 8)
    if activation not in (8, FLOAT_BITS):
        raise InvalidConfig(f"{ACTIVATIONS} must be 8, or 32 for float; got {activation!r}.")
    found = {name: _read_one(given, activation, model) for name, given in assigned.items()}
    return found if len(found) > 1 else {"": next(iter(found.values()))}


def _read_one(given: dict[Any, Any], activation: int, model: ModelSpec) -> Reading:
    layers = _layers_by_name(model)
    unknown = [name for name in given if name not in layers]
    refuse_unknown(unknown, model, "The file")
    bits: dict[str, LayerBits] = {}
    for name, width in given.items():
        if len(layers[name]) > 1:
            raise InvalidConfig(
                f"{shortened(name)} is what MCT calls {some(list(layers[name]))}; write the "
                "names of the layers instead."
            )
        (layer,) = layers[name]
        read_bits = checked_bits(layer, width, activation)
        if bits.setdefault(layer, read_bits) != read_bits:
            raise InvalidConfig(
                f"The file gives layer {shortened(layer)} two widths, {bits[layer].weight} and "
                f"{width} bits, under two names."
            )
    return Reading(complete(bits, model, "The file"))


def _layers_by_name(model: ModelSpec) -> dict[Any, tuple[str, ...]]:
    """A layer's name, and what MCT calls its node, to the layers that have it."""
    found: dict[Any, tuple[str, ...]] = {}
    for layer in model.names:
        node = node_name(layer)
        for name in dict.fromkeys((node, f"{node}_bn")):
            found[name] = (*found.get(name, ()), layer)
    return found | {layer: (layer,) for layer in model.names}


IMPORT = Import(
    "mct",
    "Sony MCT bit widths",
    recognise,
    read,
    f"Reads {WEIGHTS} = {{layer: bits}} of the script; no line of it is run. Activations have 8 "
    f"bits unless {ACTIVATIONS} says 32.",
)
