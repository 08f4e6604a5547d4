"""Reads the parts of a configuration file, trusting none of them. Torch-free.

Each function takes what JSON gave and returns a checked value, or raises InvalidConfig with the
part's name; `config` puts them together.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.errors import InvalidConfig
from qcore.problem import Scores
from qcore.widths import groups_of

GRID_NUMBERS = 4
STATE_ARRAYS = (
    "weight_step", "weight_gain", "bias", "activation_grid", "weight_codes", "weight"
)  # fmt: skip
COUNTS = ("weights", "channels", "biases", "macs", "inputs", "outputs", "in_channels", "groups")
POSITIVE = ("channels", "in_channels", "groups")
"""Counts that costs divide by; no layer has none of these."""

TYPES = {"float32": "<f4", "int8": "<i1", "int16": "<i2"}


def read_model(data: Mapping[str, Any]) -> ModelSpec:
    """Facts about a model.

    Raises:
        InvalidConfig: a fact is missing or of the wrong type, a count is negative or a layer has
            no channels or groups, there is no layer, or two layers have one name.
    """
    try:
        model = ModelSpec.from_json(data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidConfig(
            f"The facts about the model are missing or odd ({error!r}); export the file again."
        ) from error
    texts = [model.name, model.digest, *model.warnings, *model.left_in_float]
    counts = [("classes", model.classes), *(("input_shape", n) for n in model.input_shape)]
    counts += [(f"left_in_float of {n}", count) for n, count in model.left_in_float.items()]
    for layer in model.layers:
        texts += [layer.name, layer.kind, *layer.producers, *layer.consumers]
        counts += [(f"{name} of layer {layer.name!r}", getattr(layer, name)) for name in COUNTS]
    for text in texts:
        if not isinstance(text, str):
            raise InvalidConfig(f"A name in the model must be text; got {text!r}.")
    for what, count in counts:
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise InvalidConfig(f"{what} must be a whole number from 0; got {count!r}.")
    for layer in model.layers:
        none = [name for name in POSITIVE if not getattr(layer, name)]
        if none:
            raise InvalidConfig(f"{none[0]} of layer {layer.name!r} must be at least 1; got 0.")
    if model.defined and sorted(map(str, model.defined)) != sorted(model.names):
        raise InvalidConfig('"defined" of the model must have the name of each layer once.')
    if not model.layers or len(set(model.names)) != len(model.names):
        raise InvalidConfig("The model must have layers, each with a name of its own.")
    return model


def read_scores(name: str, data: Any) -> Scores | None:
    """One set of scores, or None where nothing was measured.

    Raises:
        InvalidConfig: a score is missing, unknown, not a finite number, or a share outside 0..1.
    """
    if data is None:
        return None
    known = {field.name for field in fields(Scores)}
    if not isinstance(data, Mapping) or not {"n", "kl", "agreement"} <= set(data) <= known:
        raise InvalidConfig(f'The scores "{name}" must have {sorted(known)}; got {data!r}.')
    for key, value in data.items():
        if value is None and key not in ("n", "kl", "agreement"):
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise InvalidConfig(f"{key} of the {name} scores must be a number; got {value!r}.")
        # judges whose samples are not right or wrong have scores of their own, as decibels
        share = data.get("score_error") is None
        if share and key in ("accuracy", "agreement") and not 0 <= value <= 1:
            raise InvalidConfig(f"{key} of the {name} scores must be from 0 to 1; got {value!r}.")
    for key in ("n", "lost", "gained"):
        value = data.get(key, 0)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise InvalidConfig(
                f"{key} of the {name} scores must be a whole number; got {value!r}."
            )
    return Scores(**data)


def read_norms(data: Mapping[str, Any], model: ModelSpec) -> dict[str, str]:
    """Layer name to the batch-norm folded into it.

    Raises:
        InvalidConfig: an unknown layer, or a module name that is not text.
    """
    for layer, norm in data.items():
        if layer not in model.names or not isinstance(norm, str) or not norm:
            raise InvalidConfig(f'"norms" has an odd entry: layer {layer!r}, module {norm!r}.')
    return dict(data)


def read_state(
    data: Mapping[str, Any], model: ModelSpec, allocation: BitAllocation
) -> dict[str, dict[str, np.ndarray]]:
    """Layer name to the arrays of its quantizers: float32, but for the whole weight_codes.

    Args:
        data: What a file has, by layer.
        model: The model.
        allocation: The layers' bits, which say how many scales there are.

    Raises:
        InvalidConfig: an unknown layer or array, a wrong length, or a value that is not finite.
    """
    unknown = [name for name in data if name not in model.names]
    if unknown:
        raise InvalidConfig(f"Quantizer state for unknown layers: {', '.join(unknown)}.")
    layers = {layer.name: layer for layer in model.layers}
    state: dict[str, dict[str, np.ndarray]] = {}
    for layer, arrays in data.items():
        if not isinstance(arrays, Mapping):
            raise InvalidConfig(f"The quantizer state of layer {layer!r} is not named arrays.")
        state[layer] = {
            name: _read_array(layer, name, entry, _length(name, layers[layer], allocation[layer]))
            for name, entry in arrays.items()
        }
    return state


def encode_array(layer: str, name: str, array: np.ndarray) -> dict[str, Any]:
    """One array as JSON: its shape, and its values, little endian, in base64.

    Integers are written as "int8" where they fit and else as "int16", all others as "float32".

    Raises:
        InvalidConfig: a value is not finite.
    """
    if not np.isfinite(array).all():
        raise InvalidConfig(f"{name} of layer {layer!r} has values that are not finite.")
    kind = "float32"
    if np.issubdtype(array.dtype, np.integer):
        kind = "int8" if array.size == 0 or -128 <= array.min() <= array.max() <= 127 else "int16"
    data = np.ascontiguousarray(array, dtype=TYPES[kind])
    return {"shape": list(data.shape), kind: base64.b64encode(data.tobytes()).decode()}


def _length(name: str, layer: LayerSpec, bits: LayerBits) -> int:
    if name == "weight_step":
        return layer.channels * groups_of(bits.weight, layer.row)
    if name == "activation_grid":
        return GRID_NUMBERS
    return layer.weights if name in ("weight", "weight_codes") else layer.channels


def _read_array(layer: str, name: str, entry: Any, expected: int) -> np.ndarray:
    where = f"{name} of layer {layer!r}"
    if name not in STATE_ARRAYS:
        raise InvalidConfig(f"The array {where} is unknown; known: {', '.join(STATE_ARRAYS)}.")
    kinds = ("int8", "int16") if name == "weight_codes" else ("float32",)
    try:
        kind = next(kind for kind in kinds if kind in entry)
        shape = tuple(entry["shape"])
        data = base64.b64decode(entry[kind], validate=True)
        array = np.frombuffer(data, TYPES[kind]).astype(np.float32 if kind == "float32" else "i2")
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise InvalidConfig(f"The array {where} cannot be read: {error!r}.") from error
    if shape != (expected,) or len(array) != expected:
        raise InvalidConfig(
            f"The array {where} must have {expected} numbers; it has {len(array)} and says its "
            f"shape is {list(shape)}."
        )
    if not np.isfinite(array).all():
        raise InvalidConfig(f"The array {where} has values that are not finite.")
    return array
