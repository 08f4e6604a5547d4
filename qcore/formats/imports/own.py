"""bitdial's own configuration file."""

import json
from typing import Any

from qcore.allocation import ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.config import FORMAT, BitConfig, check_fits, parse_bits
from qcore.formats.imports.base import Import, Reading, Readings
from qcore.formats.imports.document import Document


def recognise(value: Any) -> bool:
    """True for any version of our file."""
    return isinstance(value, dict) and value.get("format") == FORMAT


def read(document: Document, model: ModelSpec) -> Readings:
    """Its bits, where its layers are the model's.

    Raises:
        InvalidConfig: damaged, or made for another model.
    """
    return {"": Reading(read_config(document, model).allocation)}


def read_config(document: Document, model: ModelSpec) -> BitConfig:
    """The whole configuration, scores and quantizer state included; raises as `read`."""
    text = document.text
    if text.lstrip()[:1] != "{":  # YAML has the very same fields
        try:
            text = json.dumps(document.value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidConfig(f"The file holds what JSON cannot: {error}.") from error
    config = parse_bits(text)
    check_fits(config, model, same_weights=False)
    return config


IMPORT = Import(
    "json",
    "bitdial configuration (JSON)",
    recognise,
    read,
    "Carries everything that was measured; the YAML file of it is read too.",
)
