"""The manual weight widths of a Sony MCT script, by module or by node name."""

from typing import Any

from qcore.allocation import FLOAT_BITS, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.exports.templates.mct import node_name
from qcore.formats.imports.base import Choices, Import, checked_bits, complete, refuse_unknown
from qcore.formats.imports.document import Document

WEIGHTS, ACTIVATIONS = "WEIGHT_BITS", "ACTIVATION_BITS"


def recognise(value: Any) -> bool:
    """True for a file that assigns WEIGHT_BITS a dictionary."""
    return isinstance(value, dict) and isinstance(value.get(WEIGHTS), dict)


def read(document: Document, model: ModelSpec) -> Choices:
    """Its bits; every layer of the model must be named.

    Raises:
        InvalidConfig: unknown or missing layers, by name, or a width that is not known.
    """
    given: dict[Any, Any] = document.value[WEIGHTS]
    activation = document.value.get(ACTIVATIONS, 8)
    if activation not in (8, FLOAT_BITS):
        raise InvalidConfig(f"{ACTIVATIONS} must be 8, or 32 for float; got {activation!r}.")
    aliases: dict[Any, str] = {}
    for layer in model.names:
        node = node_name(layer)
        aliases |= {layer: layer, node: layer, f"{node}_bn": layer}
    unknown = [name for name in given if name not in aliases]
    refuse_unknown(unknown, model, "The file")
    bits = {
        aliases[name]: checked_bits(aliases[name], width, activation)
        for name, width in given.items()
    }
    return {"": complete(bits, model, "The file")}


IMPORT = Import(
    "mct",
    "Sony MCT bit widths",
    recognise,
    read,
    f"Reads {WEIGHTS} = {{layer: bits}} of the script; no line of it is run. Activations have 8 "
    f"bits unless {ACTIVATIONS} says 32.",
)
