"""bitdial's own configuration file."""

from typing import Any

from qcore.allocation import ModelSpec
from qcore.formats.config import FORMAT, BitConfig, check_fits, parse_bits
from qcore.formats.imports.base import Choices, Import
from qcore.formats.imports.document import Document


def recognise(value: Any) -> bool:
    """True for any version of our file."""
    return isinstance(value, dict) and value.get("format") == FORMAT


def read(document: Document, model: ModelSpec) -> Choices:
    """Its bits, where its layers are the model's.

    Raises:
        InvalidConfig: damaged, or made for another model.
    """
    return {"": read_config(document, model).allocation}


def read_config(document: Document, model: ModelSpec) -> BitConfig:
    """The whole configuration, scores and quantizer state included; raises as `read`."""
    config = parse_bits(document.text)
    check_fits(config, model, same_weights=False)
    return config


IMPORT = Import(
    "json", "bitdial configuration (JSON)", recognise, read, "Carries everything that was measured."
)
