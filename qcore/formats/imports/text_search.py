"""Finds lists and dictionaries inside text that is no program: log lines, notes. Torch-free."""

import ast
import json
import re
import warnings
from typing import Any

from qcore.formats.imports.values import Work, evaluate, is_plain

CLOSING = {"]": "[", "}": "{", ")": "("}
MOST = 1000
"""Most values that are taken from one text."""

_SPACED = re.compile(r"(?<=[\d.\]])\s+(?=[-+\d.\[])")
_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_VALUE = re.compile(r"\s*(?:[\"'\[{(]|-?\d+\s*[,\]\d]|\n)")
_NUMBERS = re.compile(r"[\s\d.,\[\]eE+-]+")


def values_in(text: str) -> dict[str, Any]:
    """The outermost lists and dictionaries in a text, by the line they begin in.

    Lists as NumPy prints them, without commas, are read too.

    Raises:
        ValueError: there are too many to look at, or the text ends inside a list or a dictionary.
    """
    text = _COLOURS.sub("", text)
    found: dict[str, Any] = {}
    work, end = Work(), 0
    pairs, unclosed = _pairs(text)
    if unclosed is not None:
        line = text.count("\n", 0, unclosed) + 1
        raise ValueError(
            f"what opens in line {line} with {text[unclosed]} is never closed; the file was cut "
            "short"
        )
    for start, stop in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
        if start < end:
            continue  # inside one that was read
        value = _value(text[start:stop], work)
        if not isinstance(value, (list, tuple, dict)) or not value or not is_plain(value):
            continue
        end = stop
        line = text.count("\n", 0, start) + 1
        name = f"line {line}"
        again = sum(1 for known in found if known.partition(",")[0] == name)
        found[name if not again else f"{name}, number {again + 1}"] = value
        if len(found) >= MOST:
            break
    return found


def is_one(text: str) -> bool:
    """True where a text is one list or dictionary from beginning to end, or the beginning of one.

    What is wrong inside it is then better said than passed over.
    """
    text = text.strip()
    if text[:1] not in ("[", "{"):
        return False
    pairs, unclosed = _pairs(text)
    return unclosed == 0 or (0, len(text)) in pairs


def _pairs(text: str) -> tuple[list[tuple[int, int]], int | None]:
    """Begin and end of everything in brackets, and where a value begins that never ends."""
    open_: list[tuple[str, int]] = []
    pairs: list[tuple[int, int]] = []
    for match in re.finditer(r"[\[\](){}]", text):
        character, place = match[0], match.start()
        if character not in CLOSING:
            open_.append((character, place))
        elif open_ and open_[-1][0] == CLOSING[character]:
            pairs.append((open_.pop()[1], place + 1))
    return pairs, next((place for _, place in open_ if _VALUE.match(text, place + 1)), None)


def _value(text: str, work: Work) -> Any:
    work.spend(1 + len(text) // 16)
    if text[0] != "(":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    if _NUMBERS.fullmatch(text):
        text = _SPACED.sub(", ", re.sub(r"\s*,\s*", ", ", text))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return evaluate(ast.parse(text, mode="eval").body, {}, work)
    except (SyntaxError, RecursionError, MemoryError):
        return None
