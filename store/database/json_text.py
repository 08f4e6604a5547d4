"""JSON for PostgreSQL, which refuses the NaN and infinity that diverged networks score."""

import json
import math
from typing import Any

MARK = "$float"
_ENCODE = json.JSONEncoder(allow_nan=False).encode


class NoJson(dict[str, Any]):
    """Stands, empty, where a text is no JSON any more."""


def dump_json(value: Any) -> str:
    """JSON text; numbers that JSON does not know are written as {"$float": "nan"}."""
    try:
        return _ENCODE(value)
    except ValueError:
        return _ENCODE(_marked(value))


def load_json(text: str) -> Any:
    """Read what `dump_json` wrote; `NoJson` where the text is damaged.

    One damaged value must not keep a page from reading all others: whoever reads a row leaves it
    out when what it needs is missing.
    """
    try:
        return json.loads(text, object_hook=_unmarked)
    except (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return NoJson()


def all_json(row: Any) -> None:
    """Raise unless every document in a row of a table could be read.

    Raises:
        ValueError: one could not; says which.
    """
    for name, value in row._mapping.items():
        if isinstance(value, NoJson):
            raise ValueError(f"its {name} is no JSON any more")


def _marked(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {MARK: repr(value)}
    if isinstance(value, dict):
        return {key: _marked(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(entry) for entry in value]
    return value


def _unmarked(entry: dict[str, Any]) -> Any:
    return float(entry[MARK]) if entry.keys() == {MARK} else entry
