"""The bit-configuration file: an allocation with all that reproduces its logits. Torch-free.

One JSON document, format "bitdial-allocation", version 1. It holds the facts about the model (with
a digest of its weights), bits per layer, the quantizer's state as base64 float32 arrays, the scores
that were measured and where they came from. Costs are written for readers and recomputed on load.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import COSTS, costs_of
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidAllocation, InvalidConfig
from qcore.formats.config_parts import encode_array, read_model, read_norms, read_scores, read_state
from qcore.intact import worded
from qcore.problem import Scores

FORMAT = "bitdial-allocation"
VERSION = 1
MAX_BYTES = 20 * 2**20
KEYS = ("format", "version", "model", "bits", "costs", "scores", "norms", "state", "provenance")


@dataclass(frozen=True)
class BitConfig:
    """One allocation of one model, complete.

    Attributes:
        model: Facts about the model, its weights' digest among them.
        allocation: Bits per layer.
        state: Layer name to named float32 arrays, as `QuantizedModel.state` gives them; empty
            when only the bits are known.
        norms: Layer name to the batch-norm module folded into it.
        search: Scores on the search split.
        test: Scores on the test split.
        float_test: The float network's scores on the same test split.
        provenance: Data, search, parameters, seed, versions, dates: plain JSON values.
        costs: Those by which the file tells what the allocation costs.
    """

    model: ModelSpec
    allocation: BitAllocation
    state: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    norms: Mapping[str, str] = field(default_factory=dict)
    search: Scores | None = None
    test: Scores | None = None
    float_test: Scores | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    costs: Mapping[str, CostModel] = field(default_factory=lambda: COSTS, repr=False, compare=False)


def dump_bits(config: BitConfig) -> str:
    """The text of the file, stable for equal configurations.

    Raises:
        InvalidConfig: a score or an array is not finite, or provenance is not plain JSON.
        InvalidAllocation: the allocation does not name exactly the model's layers.
    """
    costs = {
        name: {"value": value, "unit": config.costs[name].unit}
        for name, value in costs_of(config.model, config.allocation, config.costs).items()
        if not config.costs[name].derived
    }
    scores = {
        name: None if value is None else _written(value)
        for name, value in (
            ("search", config.search),
            ("test", config.test),
            ("float_test", config.float_test),
        )
    }
    document = {
        "format": FORMAT,
        "version": VERSION,
        "model": config.model.to_json(),
        "bits": config.allocation.to_json(),
        "costs": costs,
        "scores": scores,
        "norms": dict(config.norms),
        "state": {
            layer: {name: encode_array(layer, name, array) for name, array in arrays.items()}
            for layer, arrays in config.state.items()
        },
        "provenance": dict(config.provenance),
    }
    try:
        return json.dumps(document, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InvalidConfig(
            f"The scores or the provenance cannot be written as JSON: {error}."
        ) from error


def _written(scores: Scores) -> dict[str, Any]:
    """Scores as the file has them: what was never counted is left out, as files before had it."""
    counted = ("lost", "gained", "kl_error", "score_error", "change", "change_error")
    return {k: v for k, v in asdict(scores).items() if v is not None or k not in counted}


def write_bits(config: BitConfig, path: str | Path) -> None:
    """Write the file whole or not at all (temporary file, then rename).

    Raises:
        InvalidConfig: the location cannot be written; says why.
    """
    path, text = Path(path), dump_bits(config)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise InvalidConfig(f"Cannot write {path}: {error.strerror or error}.") from error


def load_bits(path: str | Path, costs: Mapping[str, CostModel] = COSTS) -> BitConfig:
    """Read and validate a configuration file.

    Args:
        path: The file.
        costs: Those that it is priced by when it is written again.

    Raises:
        InvalidConfig: not there, larger than 20 MiB, not JSON, of another format or a later
            version, bits out of range, costs or arrays that do not match; the message says which.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InvalidConfig(
                f"{path.name} is {size / 2**20:.1f} MiB; a bit configuration is at most "
                f"{MAX_BYTES // 2**20} MiB. Is it the right file?"
            )
        data = path.read_bytes()
    except OSError as error:
        raise InvalidConfig(f"Cannot read {path}: {error.strerror or error}.") from error
    try:
        return parse_bits(data.decode(), costs)
    except UnicodeDecodeError as error:
        raise InvalidConfig(f"{path.name} is not a text file, so not a configuration.") from error


def parse_bits(text: str, costs: Mapping[str, CostModel] = COSTS) -> BitConfig:
    """Validate the text of a configuration file; raises as `load_bits` does.

    Args:
        text: Of the file.
        costs: Those that it is priced by when it is written again.
    """
    with worded(InvalidConfig, "This is no configuration that can be used"):
        return _parse(text, costs)


def _parse(text: str, costs: Mapping[str, CostModel]) -> BitConfig:
    if len(text) > MAX_BYTES:
        raise InvalidConfig(f"This text is larger than {MAX_BYTES // 2**20} MiB.")
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"This is not valid JSON: {error}.") from error
    _check_header(document)
    model = read_model(document["model"])
    try:
        allocation = BitAllocation.from_json(document["bits"])
        priced = costs_of(model, allocation)
    except InvalidAllocation as error:
        raise InvalidConfig(str(error)) from error
    for name, entry in document["costs"].items():
        value = entry.get("value") if isinstance(entry, dict) else None
        # a table may have been measured anew since; formulas may not
        if name in priced and not COSTS[name].looked_up and value != priced[name]:
            raise InvalidConfig(
                f"The file says {name} is {value}, but its bits cost {priced[name]:,} "
                f"{COSTS[name].unit}: it was edited or damaged. Export it again."
            )
    return BitConfig(
        model=model,
        allocation=BitAllocation({name: allocation[name] for name in model.names}),
        state=read_state(document["state"], model, allocation),
        norms=read_norms(document["norms"], model),
        search=read_scores("search", document["scores"].get("search")),
        test=read_scores("test", document["scores"].get("test")),
        float_test=read_scores("float_test", document["scores"].get("float_test")),
        provenance=document["provenance"],
        costs=costs,
    )


def check_fits(config: BitConfig, model: ModelSpec, *, same_weights: bool = True) -> None:
    """Raise unless a configuration was made for this model.

    Args:
        config: The configuration.
        model: The model it is to be applied to.
        same_weights: Also require the very weights that were measured.

    Raises:
        InvalidConfig: missing or unexpected layers (by name), other shapes, or other weights.
    """
    wanted, given = {x.name: x for x in config.model.layers}, {x.name: x for x in model.layers}
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    if missing or unexpected:
        parts = [f"missing in the model: {', '.join(missing)}"] if missing else []
        if unexpected:
            parts.append(f"unexpected in the model: {', '.join(unexpected)}")
        # a model of one's own goes by the configuration's name
        same = config.model.name == model.name
        whose = "which this model is not" if same else f"not for {model.name!r}"
        parts += _as_a_part(list(wanted), list(given))
        raise InvalidConfig(
            f"This configuration is for {config.model.name!r}, {whose}; layers {'; '.join(parts)}."
        )
    for name, layer in wanted.items():
        other = given[name]
        if (layer.kind, layer.weights, layer.channels) != (
            other.kind,
            other.weights,
            other.channels,
        ):
            raise InvalidConfig(
                f"Layer {name!r} is a {layer.kind} of {layer.weights} weights in the configuration "
                f"but a {other.kind} of {other.weights} in the model."
            )
    if same_weights and config.model.digest != model.digest:
        raise InvalidConfig(
            f"The weights of this {model.name!r} are not those that were measured (digest "
            f"{model.digest[:12]}, expected {config.model.digest[:12]}). Load the same weights, or "
            "pass same_weights=False and measure again."
        )


def _as_a_part(wanted: list[str], given: list[str]) -> list[str]:
    """A hint where one network's layers are all there as a part of the other; else nothing."""
    for these, those, said in (
        (wanted, given, "its layers are all in the part {!r} of the model: give that part"),
        (given, wanted, "the configuration was made where this model was the part {!r} of one"),
    ):
        ends = [name.removesuffix(these[0]) for name in those if name.endswith(f".{these[0]}")]
        for start in ends if these else ():
            if {start + name for name in these} <= set(those):
                return [said.format(start.rstrip("."))]
    return []


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _check_header(document: Any) -> None:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidConfig(f'This is not a bit configuration: its "format" is not "{FORMAT}".')
    version = document.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise InvalidConfig(f"The configuration's version must be a whole number; got {version!r}.")
    if version > VERSION:
        raise InvalidConfig(
            f"The configuration has version {version}; this bitdial reads up to {VERSION}. "
            "Update bitdial to read it."
        )
    missing = [key for key in KEYS if key not in document]
    unknown = [key for key in document if key not in KEYS and not key.startswith("x_")]
    if missing or unknown:
        raise InvalidConfig(
            f"The configuration has missing parts {missing} and unknown parts {unknown}; parts of "
            "your own must start with x_."
        )
    for key in ("model", "bits", "costs", "scores", "norms", "state", "provenance"):
        if not isinstance(document[key], dict):
            raise InvalidConfig(f'"{key}" must be an object; got {type(document[key]).__name__}.')
