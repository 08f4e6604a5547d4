"""JSON for PostgreSQL, which refuses the NaN and infinity that diverged networks score."""

import json
import math
from typing import Any

MARK = "$float"


def dump_json(value: Any) -> str:
    """JSON text; numbers that JSON does not know are written as {"$float": "nan"}."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_marked(value), allow_nan=False)


def load_json(text: str) -> Any:
    """Read what `dump_json` wrote; an empty object where the text is damaged.

    One damaged value must not keep a page from reading all others: whoever reads a row leaves it
    out when what it needs is missing.
    """
    try:
        return json.loads(text, object_hook=_unmarked)
    except (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return {}


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
