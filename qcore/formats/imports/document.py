"""Turns an uploaded file into plain values: JSON, or Python text of which no line is run.

Of a Python file only assignments of plain values are looked at ("strategy = [[8, -1], [4, 4]]"),
read by `ast.literal_eval`; all else in it is passed over.
"""

import ast
import json
import warnings
from dataclasses import dataclass
from typing import Any

from qcore.errors import InvalidConfig
from qcore.formats.config import MAX_BYTES

MAX_PYTHON_BYTES = 2 * 2**20


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds.

    Attributes:
        value: Lists, dicts, text and numbers; a Python file gives {name: value} of what it
            assigns, or the one value it consists of.
        text: The file as text.
    """

    value: Any
    text: str


def read_document(data: bytes) -> Document:
    """Read a file's bytes.

    Raises:
        InvalidConfig: too large, not text, empty, or neither JSON nor Python; says what is wrong.
    """
    if len(data) > MAX_BYTES:
        raise InvalidConfig(
            f"The file is {len(data) / 2**20:.1f} MiB; a configuration is at most "
            f"{MAX_BYTES // 2**20} MiB. Is it the right file?"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidConfig("The file is not text in UTF-8, so not a configuration.") from error
    if not text.strip():
        raise InvalidConfig("The file is empty.")
    try:
        return Document(json.loads(text), text)
    except RecursionError as error:
        raise InvalidConfig("The file is nested too deeply to be a configuration.") from error
    except ValueError as error:
        if len(data) > MAX_PYTHON_BYTES:
            raise InvalidConfig(f"The file is not valid JSON: {error}.") from error
        return Document(_python_values(text, error), text)


def _python_values(text: str, not_json: ValueError) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text)
        return _values(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        looks_json = text.lstrip()[:1] in "{["
        what = f"not valid JSON: {not_json}" if looks_json else f"not valid Python: {error}"
        raise InvalidConfig(
            f"The file is neither JSON nor a list of bits; it is {what}."
        ) from error


def _values(tree: ast.Module) -> Any:
    if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
        return ast.literal_eval(tree.body[0].value)
    found: dict[str, Any] = {}
    for line in tree.body:
        if isinstance(line, ast.Assign):
            targets, value = line.targets, line.value
        elif isinstance(line, ast.AnnAssign) and line.value is not None:
            targets, value = [line.target], line.value
        else:
            continue
        try:
            plain = ast.literal_eval(value)
        except ValueError:  # not a plain value
            continue
        found.update({target.id: plain for target in targets if isinstance(target, ast.Name)})
    if not found:
        raise ValueError("no line of it assigns plain values")
    return found
