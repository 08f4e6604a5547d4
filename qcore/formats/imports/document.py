"""Turns a file into plain values: JSON, YAML, Python text of which no line is run, or a log.

Of a Python file what it assigns is followed (`statements`); of other text the lists and
dictionaries in it are taken (`text_search`).
"""

import ast
import json
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qcore.errors import InvalidConfig
from qcore.formats.config import MAX_BYTES
from qcore.formats.gguf.header import is_gguf, read_head
from qcore.formats.imports.statements import FUNCTIONS, Named, follow
from qcore.formats.imports.text_search import is_one, values_in
from qcore.formats.imports.values import Computed, Work, evaluate, is_plain
from qcore.formats.imports.yaml_text import yaml_value

MAX_PYTHON_BYTES = 2 * 2**20
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds.

    Attributes:
        value: Lists, dicts, text and numbers, or the `Head` of a GGUF file; a Python file gives
            {name: value} of what it assigns, or the one value it consists of. A name with several
            lists or dictionaries is there once for each, as "name (line 3)". Parts that could only
            be known by running the file are `values.Computed`.
        text: The file as text.
        notes: Sentences on how it was read.
        unread: What names stand for that could only be known by running the file, in words.
    """

    value: Any
    text: str
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def read_document(data: bytes) -> Document:
    """Read a file's bytes.

    Raises:
        InvalidConfig: too large, not text, empty, or nothing that is known; says what is wrong.
    """
    if is_gguf(data):
        return Document(read_head(data), "")
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
        value = json.loads(text)
        return _not_json(*_notebook(value)) if _is_notebook(value) else Document(value, text)
    except InvalidConfig:
        raise
    except RecursionError as error:
        raise InvalidConfig("The file is nested too deeply to be a configuration.") from error
    except ValueError as error:
        return _not_json(text, len(data), error)


def _is_notebook(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("cells"), list) and "nbformat" in value


def _notebook(value: dict[str, Any]) -> tuple[str, int, ValueError]:
    """The program in a notebook's cells, without the lines that are none of Python's."""
    cells = [cell for cell in value["cells"] if isinstance(cell, dict)]
    sources = [cell.get("source", "") for cell in cells if cell.get("cell_type") == "code"]
    text = "\n".join("".join(map(str, source)) for source in sources)
    lines = ["" if line.lstrip()[:1] in ("%", "!") else line for line in text.splitlines()]
    return "\n".join(lines), len(text), ValueError("a notebook's cells")


def _not_json(text: str, size: int, not_json: ValueError) -> Document:
    looks_json = text.lstrip()[:1] in "{["
    not_python: Exception | None = None
    if size <= MAX_PYTHON_BYTES:
        try:
            return _python(text)
        except InvalidConfig:
            raise
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            not_python = error
    elif looks_json:
        raise InvalidConfig(f"The file is not valid JSON: {not_json}.") from not_json
    value = None
    try:
        value = yaml_value(text)
    except InvalidConfig:
        raise
    except ValueError:  # no YAML
        pass
    if isinstance(value, list) or (isinstance(value, dict) and _holds_more(value)):
        return Document(value, text)
    if size <= MAX_PYTHON_BYTES and not is_one(text):
        try:
            found = values_in(text)
        except ValueError as error:
            raise InvalidConfig(f"The file is neither JSON nor a list of bits: {error}.") from error
        if found:
            note = "The file is no program and no data: the lists and dictionaries in it were read."
            return Document(found, text, (note,))
    if isinstance(value, dict):
        return Document(value, text)
    what = f"not valid JSON: {not_json}" if looks_json else f"not valid Python: {not_python}"
    if not_python is None:
        what = f"no YAML, and too large for a program: at most {MAX_PYTHON_BYTES >> 20} MiB"
    raise InvalidConfig(f"The file is neither JSON nor a list of bits; it is {what}.")


def _holds_more(value: dict[Any, Any]) -> bool:
    return any(isinstance(entry, (list, dict)) for entry in value.values())


def _python(text: str) -> Document:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        tree = ast.parse(text)
    if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
        alone = evaluate(tree.body[0].value, {}, Work())
        if isinstance(alone, (dict, list, tuple)) and is_plain(alone):
            return Document(alone, text)
    found, notes = follow(tree)
    value = _labelled(found)
    unread = tuple(_unread(found))
    if not value and unread:
        raise InvalidConfig(
            "The file is neither JSON nor a list of bits; it is Python of which nothing is known "
            f"without running it: {'; '.join(unread[:SHOWN])}. Write the values there."
        )
    if not value and any(isinstance(line, (ast.Assign, *FUNCTIONS)) for line in tree.body):
        raise InvalidConfig(
            "The file is neither JSON nor a list of bits; it is Python of which no line assigns "
            "plain values."
        )
    if not value:
        raise ValueError("no line of it assigns plain values")
    return Document(value, text, tuple(notes), unread)


def _labelled(found: list[Named]) -> dict[str, Any]:
    """Name to value; names with several lists or dictionaries say their lines."""
    kept = [each for each in found if _known(each.bound.value)]
    held = [each for each in kept if isinstance(each.bound.value, (list, tuple, dict))]
    several = Counter(each.name for each in held)
    at_once = Counter((each.name, each.bound.line) for each in held)
    value: dict[str, Any] = {}
    for each in kept:
        label = each.name
        if each not in held and label in value:
            continue
        if several[each.name] > 1 and each in held:
            label = f"{each.name} (line {each.bound.line})"
            if each.bound.changed and at_once[each.name, each.bound.line] > 1:
                label = f"{label[:-1]}, changed in line {each.bound.changed})"
        number = 1
        while label in value:
            number += 1
            label = f"{label.partition(' #')[0]} #{number}"
        value[label] = each.bound.value
    return value


def _known(value: Any) -> bool:
    # a dictionary may hold more than what is wanted of it
    return is_plain(value) or isinstance(value, dict)


def _unread(found: list[Named]) -> list[str]:
    """Sentences on names whose values would need the file to be run, lists first."""
    parts = [(each, _reason(each.bound.value)) for each in found]
    parts.sort(key=lambda part: isinstance(part[0].bound.value, Computed))
    return [f"{each.name} is made from {reason}" for each, reason in parts if reason]


def _reason(value: Any) -> str:
    if isinstance(value, Computed):
        return value.reason
    inside: Any = ()
    if isinstance(value, Mapping):
        inside = (*value, *value.values())
    elif isinstance(value, (list, tuple)):
        inside = value
    return next((reason for reason in map(_reason, inside) if reason), "")
