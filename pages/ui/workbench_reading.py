"""Reads bits from a text someone pasted or a file someone gave: one function for all formats."""

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, ModelSpec
from qcore.config import FORMAT, MAX_BYTES, parse_bits
from qcore.errors import InvalidAllocation, InvalidConfig

FORMATS = (
    "a bitdial configuration (.bits.json); HAQ's list of [weight, activation] pairs in layer "
    "order, -1 for float; HAWQ's dictionary of layer names to bits; or "
    '{"layer": [weight bits, activation bits], ...}'
)


def read_bits(text: str, model: ModelSpec) -> BitAllocation:
    """Read bits for every layer of a model from any of FORMATS.

    Args:
        text: What was pasted or uploaded. Python's spelling of lists and dictionaries is read too;
            nothing of it is ever run.
        model: Whose layers they must be for.

    Raises:
        InvalidConfig: the text is no such thing, or too large.
        InvalidAllocation: layers are missing or unknown, or bits out of range; the message names
            the layers.
    """
    if len(text) > MAX_BYTES:
        raise InvalidConfig(f"This text is larger than {MAX_BYTES // 2**20} MiB.")
    data = _plain_data(text.strip())
    if isinstance(data, Mapping) and data.get("format") == FORMAT:
        found = parse_bits(text).allocation
    elif isinstance(data, Mapping):
        found = _named({str(name): value for name, value in data.items()})
    elif isinstance(data, (list, tuple)):
        found = _listed(data, model)
    else:
        raise InvalidConfig(f"This holds no bits per layer. Give {FORMATS}.")
    found.check_names(model.layers)
    return BitAllocation({name: found[name] for name in model.names})


def _plain_data(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise InvalidConfig(f"This is neither JSON nor a list of bits. Give {FORMATS}.") from error


def _named(data: Mapping[str, Any]) -> BitAllocation:
    return _checked({name: _pair(value) for name, value in data.items()})


def _listed(data: Sequence[Any], model: ModelSpec) -> BitAllocation:
    if len(data) != len(model.layers):
        raise InvalidAllocation(
            f"The list has {len(data):,} entries and the model {len(model.layers):,} layers. "
            "Give one entry per layer, in execution order."
        )
    return _checked({name: _pair(value) for name, value in zip(model.names, data, strict=True)})


def _pair(value: Any) -> Any:
    pair = value if isinstance(value, (list, tuple)) else (value, FLOAT_BITS)
    return [FLOAT_BITS if bits == -1 else bits for bits in pair]


def _checked(pairs: Mapping[str, Any]) -> BitAllocation:
    """Like `BitAllocation.from_json`, but all that is wrong is named at once."""
    bits: dict[str, LayerBits] = {}
    wrong: list[str] = []
    for name, pair in pairs.items():
        try:
            bits[name] = BitAllocation.from_json({name: pair})[name]
        except InvalidAllocation:
            wrong.append(f"{name}: {str(pair)[:40]}")
    if wrong:
        raise InvalidAllocation(
            f"Bits must be whole numbers from 1 to 8, or 32 (or -1) for float; not so for "
            f"{'; '.join(wrong[:12])}{' and more' if len(wrong) > 12 else ''}."
        )
    return BitAllocation(bits)
