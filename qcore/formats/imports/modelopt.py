"""A quantization configuration of NVIDIA ModelOpt: patterns applied in order, later ones win."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerSpec, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.exports.widths import shortened
from qcore.formats.imports.base import Choices, Import, checked_bits
from qcore.formats.imports.document import Document

DEFAULT_BITS = 8
"""What a quantizer has that no entry mentions."""
CLASSES = {
    "nn.Linear": "linear",
    **{f"nn.Conv{n}d": f"conv{n}d" for n in (1, 2, 3)},
    **{f"nn.ConvTranspose{n}d": f"conv_transpose{n}d" for n in (1, 2, 3)},
}


def recognise(value: Any) -> bool:
    """True for {"quant_cfg": ...}, alone or as the value of one assignment."""
    return _configuration(value) is not None


def _configuration(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return None
    for entry in (value, *value.values()):
        if isinstance(entry, Mapping) and isinstance(entry.get("quant_cfg"), (Mapping, list)):
            return entry["quant_cfg"]
    return None


def read(document: Document, model: ModelSpec) -> Choices:
    """Its bits on this model: every quantizer has those of the last entry that matches it.

    Raises:
        InvalidConfig: an entry that cannot be read, no entry that matches any layer, or a layer
            with a floating-point or unknown width; names it.
    """
    entries = list(_entries(_configuration(document.value)))
    bits, touched = {}, False
    for layer in model.layers:
        widths = []
        for kind in ("weight", "input"):
            width, enabled = DEFAULT_BITS, True
            for pattern, parent, config, enable in entries:
                if not _matches(layer, f"{layer.name}.{kind}_quantizer", pattern, parent):
                    continue
                touched = touched or pattern != "*"
                enabled = enable
                if config is not None:
                    width = config.get("num_bits", DEFAULT_BITS)
            widths.append(width if enabled else FLOAT_BITS)
        bits[layer.name] = checked_bits(layer.name, widths[0], widths[1])
    if not touched:
        raise InvalidConfig(
            f"No pattern of the configuration matches a layer of {model.name} "
            f"({shortened(model.names[0])}, ...). Choose the model it was made for."
        )
    return {"": BitAllocation(bits)}


def _matches(layer: LayerSpec, quantizer: str, pattern: str, parent: str | None) -> bool:
    if parent is not None and CLASSES.get(parent.removeprefix("torch.")) != layer.kind:
        return False
    return fnmatchcase(quantizer, pattern)


Entry = tuple[str, str | None, Mapping[str, Any] | None, bool]


def _entries(raw: Any) -> Iterator[Entry]:
    """Entries of the list form, or of the older dictionary form, in order."""
    if isinstance(raw, Mapping):
        raw = [{name: value} for name, value in raw.items()]
    for entry in raw:
        if not isinstance(entry, Mapping):
            raise InvalidConfig(f"An entry of quant_cfg is not a mapping: {_shown(entry)}.")
        if "quantizer_name" in entry:
            parent = entry.get("parent_class")
            yield _entry(entry["quantizer_name"], parent, entry.get("cfg"), entry.get("enable"))
            continue
        for name, value in entry.items():
            if isinstance(name, str) and name.startswith("nn.") and isinstance(value, Mapping):
                for pattern, config in value.items():
                    yield _old_entry(pattern, name, config)
            else:
                yield _old_entry("*" if name == "default" else name, None, value)


def _old_entry(pattern: Any, parent: str | None, value: Any) -> Entry:
    if not isinstance(value, (Mapping, Sequence)):
        raise InvalidConfig(f"The quantizers {_shown(pattern)} have no settings: {_shown(value)}.")
    enable = value.get("enable") if isinstance(value, Mapping) else None
    config: Any = value
    if isinstance(value, Mapping):
        config = {key: inner for key, inner in value.items() if key != "enable"} or None
    return _entry(pattern, parent, config, enable)


def _entry(pattern: Any, parent: Any, config: Any, enable: Any) -> Entry:
    if isinstance(config, Sequence) and not isinstance(config, str):
        raise InvalidConfig(
            f"The quantizers {_shown(pattern)} are applied one after another (a list); bitdial "
            "gives a tensor one width."
        )
    odd = not isinstance(pattern, str) or not (config is None or isinstance(config, Mapping))
    if odd or not (parent is None or isinstance(parent, str)):
        raise InvalidConfig(f"An entry of quant_cfg cannot be read: {_shown(pattern)}.")
    return pattern, parent, config, True if enable is None else bool(enable)


def _shown(value: Any) -> str:
    return shortened(repr(value))


IMPORT = Import(
    "modelopt",
    "NVIDIA ModelOpt quant_cfg",
    recognise,
    read,
    "The list form and the older dictionary form; quantizers that are off are float.",
)
