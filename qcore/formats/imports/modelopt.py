"""A quantization configuration of NVIDIA ModelOpt: patterns applied in order, later ones win.

Three forms. The older one is a dictionary of patterns whose "default" is applied first, wherever it
stands (modelopt/torch/quantization/conversion.py, `set_quantizer_by_cfg`, of the releases that
have no other form). The newer one is a list, applied in order; 0.47 reads dictionaries as such a
list, so that there a "default" at the end switches everything off before it. Recipes in YAML are
lists that may take entries and number formats from ModelOpt's own files (`presets`).
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerSpec, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.exports.widths import shortened, some
from qcore.formats.imports.base import Import, Reading, Readings, checked_bits, whole
from qcore.formats.imports.document import Document
from qcore.formats.imports.presets import NUMERICS, OF_MODELOPT, unit
from qcore.formats.imports.values import Computed

DEFAULT_BITS = 8
"""What a quantizer has that no entry mentions."""
CLASSES = {
    "nn.Linear": "linear",
    **{f"nn.Conv{n}d": f"conv{n}d" for n in (1, 2, 3)},
    **{f"nn.ConvTranspose{n}d": f"conv_transpose{n}d" for n in (1, 2, 3)},
}
HALVES = {(5, 10): "fp16", (8, 7): "bf16"}
"""(Exponent bits, mantissa bits) of the floats of 16 bits; a sign comes with them."""

DEEPEST = 4
"""Most dictionaries around a configuration."""

KEY, BASE, IMPORT_KEY = "quant_cfg", "__base__", "$import"
DEFAULT_NOTE = (
    'Its "default" is applied before the other entries, as releases of ModelOpt do that know this '
    "form alone. Newer ones (0.47) apply it where it stands, after the entries before it."
)


def recognise(value: Any) -> bool:
    """True for {"quant_cfg": ...}, alone or inside other dictionaries, or a recipe of parts."""
    return bool(_configurations(value))


def _configurations(value: Any, name: str = "", depth: int = 0) -> dict[str, Mapping[Any, Any]]:
    """Dictionaries with a quant_cfg, by the names that lead to them."""
    if not isinstance(value, Mapping):
        return {}
    if isinstance(value.get(KEY), (Mapping, list, tuple)) or _is_built(value):
        return {name: value}
    found: dict[str, Mapping[Any, Any]] = {}
    for key, entry in value.items() if depth < DEEPEST else ():
        found |= _configurations(entry, f"{name}.{key}" if name else str(key), depth + 1)
    return found


def _is_built(value: Mapping[Any, Any]) -> bool:
    return BASE in value and isinstance(value.get("metadata"), Mapping)


def read(document: Document, model: ModelSpec) -> Readings:
    """Its bits on this model: every quantizer has those of the last entry that matches it.

    Of several configurations those that cannot be read are left out, with a note.

    Raises:
        InvalidConfig: none can be read: an entry that is none, no entry that matches any layer, or
            a layer with a floating-point or unknown width; names it.
    """
    found: dict[str, Reading] = {}
    refused: dict[str, InvalidConfig] = {}
    configurations = _configurations(document.value)
    imports = document.value.get("imports") if isinstance(document.value, Mapping) else None
    for name, configuration in configurations.items():
        try:
            found[name] = _read_one(configuration, imports, model)
        except InvalidConfig as error:
            refused[name] = error
    if not found:
        raise next(iter(refused.values()))
    left_out = tuple(
        f"{shortened(name) or 'One configuration'} is left out: {error}"
        for name, error in refused.items()
    ) + tuple(f"{said}; it is left out." for said in document.unread if OF_MODELOPT in said)
    found = {name: Reading(each.allocation, each.notes + left_out) for name, each in found.items()}
    return {"": next(iter(found.values()))} if len(configurations) == 1 else found


def _read_one(configuration: Mapping[Any, Any], imports: Any, model: ModelSpec) -> Reading:
    if KEY not in configuration:
        raise InvalidConfig(
            f"The recipe is put together from files that are not in it ({BASE}): "
            f"{_shown(configuration[BASE])}. Print what ModelOpt makes of it, "
            "json.dumps(load_config(path)), and give that."
        )
    raw = configuration[KEY]
    entries = list(_entries(raw, configuration.get("imports") or imports or {}))
    bits, unnamed, used = {}, [], []
    for layer in model.layers:
        widths = []
        for kind in ("weight", "input"):
            quantizer = f"{layer.name}.{kind}_quantizer"
            matching = [entry for entry in entries if _matches(layer, quantizer, entry)]
            used += [entry for entry in matching if entry not in used]
            widths.append(_width(matching))
            if not matching:
                unnamed.append(quantizer)
        bits[layer.name] = checked_bits(layer.name, widths[0], widths[1])
    if all(pattern == "*" and config is None for pattern, _, config, _ in used):
        off = any(not enable for *_, enable in used)
        everything = ', and "*" switches all layers off' if off else ""
        raise InvalidConfig(
            f"No pattern of the configuration matches a layer of {model.name} "
            f"({shortened(model.names[0])}, ...){everything}. Choose the model it was made for."
        )
    return Reading(BitAllocation(bits), tuple(_notes(raw, entries, used, unnamed)))


Entry = tuple[str, str | None, Mapping[str, Any] | None, bool]


def _width(matching: Sequence[Entry]) -> Any:
    """Bits of a quantizer that these entries match, in their order; 32 where it is off."""
    width, enabled = DEFAULT_BITS, True
    for _, _, config, enable in matching:
        enabled = enable
        if config is not None:
            width = _number(config.get("num_bits", DEFAULT_BITS))
    if not enabled:
        return FLOAT_BITS
    return width


def _number(bits: Any) -> Any:
    """A number of bits, or a float of 16 bits that is given by its exponent and mantissa."""
    if isinstance(bits, (list, tuple)):
        return HALVES.get(tuple(bits), bits) if all(isinstance(b, int) for b in bits) else bits
    return whole(bits)


def _notes(
    raw: Any, entries: Sequence[Entry], used: Sequence[Entry], unnamed: Sequence[str]
) -> Iterator[str]:
    if isinstance(raw, Mapping) and "default" in raw and next(iter(raw)) != "default":
        yield DEFAULT_NOTE
    if unnamed:
        yield (
            f"No entry names {some([shortened(name) for name in unnamed])}: ModelOpt gives what "
            f"is not named {DEFAULT_BITS} bits."
        )
    idle = [
        pattern
        for pattern, parent, config, _ in entries
        if config is not None and parent is None and not any(pattern == e[0] for e in used)
        if pattern.endswith(("weight_quantizer", "input_quantizer"))
    ]
    if idle:
        yield f"These patterns match no layer: {some([shortened(name) for name in idle])}."
    if any(config is not None and config.get("block_sizes") for _, _, config, _ in used):
        yield "Its scales are for blocks of weights; bitdial gives every output channel one."


def _matches(layer: LayerSpec, quantizer: str, entry: Entry) -> bool:
    pattern, parent, _, _ = entry
    if parent is not None and CLASSES.get(parent.removeprefix("torch.")) != layer.kind:
        return False
    return fnmatchcase(quantizer, pattern)


def _entries(raw: Any, imports: Any) -> Iterator[Entry]:
    """Entries of the list form, or of the older dictionary form, in the order they are applied."""
    if isinstance(raw, Mapping):
        first = [{"default": raw["default"]}] if "default" in raw else []
        raw = [*first, *({name: value} for name, value in raw.items() if name != "default")]
    for entry in raw:
        if isinstance(entry, Computed):
            raise InvalidConfig(
                f"An entry of quant_cfg is only known by running the file: {entry.reason}."
            )
        if not isinstance(entry, Mapping):
            raise InvalidConfig(f"An entry of quant_cfg is not a mapping: {_shown(entry)}.")
        if IMPORT_KEY in entry:
            yield from _entries(_unit(entry[IMPORT_KEY], imports), {})
            continue
        if "quantizer_name" in entry or "quantizer_path" in entry:
            pattern = entry.get("quantizer_name", entry.get("quantizer_path"))
            config = _number_format(entry.get("cfg"), imports)
            yield _entry(pattern, entry.get("parent_class"), config, entry.get("enable"))
            continue
        for name, value in entry.items():
            if isinstance(name, str) and name.startswith("nn.") and isinstance(value, Mapping):
                for pattern, config in value.items():
                    yield _old_entry(pattern, name, config)
            else:
                yield _old_entry("*" if name == "default" else name, None, value)


def _path(name: Any, imports: Any) -> str:
    path = imports.get(name, name) if isinstance(imports, Mapping) else name
    return str(path).removesuffix(".yaml").removesuffix(".yml")


def _unit(name: Any, imports: Any) -> Any:
    path = _path(name, imports)
    found = unit(path.rpartition("/")[2])
    if found is None:
        raise InvalidConfig(
            f"The recipe takes entries from another file, {shortened(path)}, which is not in it. "
            "Put the entries of that file in its place."
        )
    return found


def _number_format(config: Any, imports: Any) -> Any:
    """Settings with what a recipe imports put in; what is not known is left for the error."""
    if not isinstance(config, Mapping) or IMPORT_KEY not in config:
        return config
    path = _path(config[IMPORT_KEY], imports)
    known = NUMERICS.get(path.rpartition("/")[2])
    own = {key: value for key, value in config.items() if key != IMPORT_KEY}
    if known is None and "num_bits" not in own:
        return {"num_bits": Computed(f"another file, {shortened(path)}"), **own}
    return {**(known or {}), **own}


def _old_entry(pattern: Any, parent: str | None, value: Any) -> Entry:
    if isinstance(value, Computed) or not isinstance(value, (Mapping, Sequence)):
        raise InvalidConfig(f"The quantizers {_shown(pattern)} have no settings: {_shown(value)}.")
    enable = value.get("enable") if isinstance(value, Mapping) else None
    config: Any = value
    if isinstance(value, Mapping):
        config = {key: inner for key, inner in value.items() if key != "enable"} or None
    return _entry(pattern, parent, config, enable)


def _entry(pattern: Any, parent: Any, config: Any, enable: Any) -> Entry:
    unknown = next((v for v in (pattern, config, enable) if isinstance(v, Computed)), None)
    if unknown is not None:
        raise InvalidConfig(
            f"An entry of quant_cfg is only known by running the file: {unknown.reason}."
        )
    if isinstance(config, Sequence) and not isinstance(config, str):
        raise InvalidConfig(
            f"The quantizers {_shown(pattern)} are applied one after another (a list); bitdial "
            "gives a tensor one width."
        )
    odd = not isinstance(pattern, str) or not (config is None or isinstance(config, Mapping))
    if odd or not (parent is None or isinstance(parent, str)):
        raise InvalidConfig(f"An entry of quant_cfg cannot be read: {_shown(pattern)}.")
    if config is not None and "enable" in config:
        enable = config["enable"] if enable is None else enable
        config = {key: value for key, value in config.items() if key != "enable"}
    return pattern, parent, config or None, True if enable is None else bool(enable)


def _shown(value: Any) -> str:
    return shortened(value.reason if isinstance(value, Computed) else repr(value))


IMPORT = Import(
    "modelopt",
    "NVIDIA ModelOpt quant_cfg",
    recognise,
    read,
    "The list form, the older dictionary form and recipes in YAML; quantizers that are off are "
    "float. Python files may start from ModelOpt's presets of whole bits.",
)
