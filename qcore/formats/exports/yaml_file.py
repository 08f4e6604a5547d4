"""The configuration in YAML, for people and for tools that read YAML.

A small block style that YAML 1.1 and 1.2 readers agree on: every string and key in double quotes
and ASCII, floats with a point, lists of plain values in one line.
"""

import json
from collections.abc import Iterator
from typing import Any

from qcore.formats.config import BitConfig, dump_bits
from qcore.formats.exports.base import Export

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def render(config: BitConfig) -> bytes:
    """The document as bytes: the very fields and values of the JSON file."""
    return ("\n".join(_block(json.loads(dump_bits(config)), 0)) + "\n").encode("ascii")


def _block(value: Any, indent: int) -> Iterator[str]:
    """Lines of a mapping or of a list that is not plain."""
    pad = " " * indent
    entries = (
        ((f"{_scalar(key)}:", entry) for key, entry in value.items())
        if isinstance(value, dict)
        else (("-", entry) for entry in value)
    )
    for head, entry in entries:
        if _is_plain(entry):
            yield f"{pad}{head} {_line(entry)}"
        else:
            yield f"{pad}{head}"
            yield from _block(entry, indent + 2)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return not any(isinstance(entry, (list, dict)) for entry in value)
    return not value or not isinstance(value, dict)


def _line(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_scalar(entry) for entry in value)}]"
    return "{}" if isinstance(value, dict) else _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return f'"{"".join(_character(c) for c in value)}"'
    if isinstance(value, float):
        text = repr(value)
        mantissa, e, exponent = text.partition("e")
        # readers of YAML 1.1 take "1e-05" for a string
        return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else text
    return json.dumps(value)


def _character(c: str) -> str:
    if c in _SHORT:
        return _SHORT[c]
    code = ord(c)
    if 0x20 <= code < 0x7F:
        return c
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


EXPORT = Export(
    "yaml",
    "Configuration (YAML)",
    ".bits.yaml",
    "application/yaml",
    render,
    note="The same fields as the JSON file; the Configs page reads either.",
)
