"""Changes a list or a dictionary in place as a statement of a Python text would. Torch-free.

What cannot be followed leaves `values.Computed` in the container, so that it is never taken for
plain.
"""

import ast
from collections.abc import Callable
from typing import Any

from qcore.formats.imports.presets import Entries
from qcore.formats.imports.values import Computed, computed, is_plain, item

CHANGES = ("append", "extend", "insert", "update", "pop", "clear", "setdefault", "remove",
           "reverse", "sort")  # fmt: skip
"""Methods that change a list or a dictionary."""


def put(owner: Any, key: Any, value: Any, node: ast.AST) -> None:
    """Give a key or a place of a container a value."""
    if isinstance(owner, Entries) and not isinstance(key, int):
        owner.put(key, value)
        return
    try:
        owner[key] = value
    except (TypeError, LookupError):
        spoil(owner, node)


def spoil(owner: Any, node: ast.AST) -> None:
    """Put into a container what says that its value is not known."""
    if isinstance(owner, dict):
        owner[computed(node)] = computed(node)
    elif isinstance(owner, list):
        owner.append(computed(node))


def drop(owner: Any, key: Any, node: ast.AST) -> None:
    """Take a key or a place out of a container."""
    if isinstance(owner, Entries) and isinstance(key, str):
        owner.drop(key)
    elif isinstance(key, Computed):
        spoil(owner, node)
    elif isinstance(owner, (dict, list)) and item(owner, key) is not None:
        del owner[key]


def change(
    owner: Any, method: str, values: list[Any], named: dict[str, Any], node: ast.Call
) -> None:
    """Do what a method of CHANGES does to a list or a dictionary."""
    if method == "update" and isinstance(owner, (dict, Entries)):
        given = values[0] if values else {}
        pairs = given.items() if isinstance(given, dict) else given
        if not isinstance(given, (dict, list, tuple)) or not all(
            isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs
        ):
            spoil(owner, node)
            return
        for key, value in (*pairs, *named.items()):
            put(owner, key, value, node)
    elif method == "pop" and values and (isinstance(owner, dict) or isinstance(values[0], str)):
        drop(owner, values[0], node)
    elif method == "setdefault" and values:
        if item(owner, values[0]) is None:
            put(owner, values[0], values[1] if len(values) > 1 else None, node)
    elif not all(is_plain(value) for value in values) and method not in ("append", "extend"):
        spoil(owner, node)
    else:
        effect: Callable[..., Any] = getattr(owner, method, lambda *_: spoil(owner, node))
        try:
            effect(*values)
        except (TypeError, ValueError, LookupError):
            spoil(owner, node)
