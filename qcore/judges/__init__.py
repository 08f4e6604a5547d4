"""Judges: how a quantized network's answers are held against the float network's. Torch-free.

JUDGES maps each name to its class; a judge is a value of its settings, kept on a network's card and
with every run. Adding one is a file and a line.
"""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from qcore.errors import InvalidParams
from qcore.judges.base import Judge, Measure
from qcore.judges.classes import Classes
from qcore.judges.embedding import Embedding
from qcore.judges.map import Map
from qcore.judges.parts import Parts
from qcore.judges.signal import Signal
from qcore.judges.tokens import Tokens

__all__ = ["CLASSES", "JUDGES", "Judge", "Measure", "judge_words", "parse_judge", "read_judge"]

_EVERY: tuple[type[Judge], ...] = (
    Classes,
    Tokens,
    Embedding,
    Map,
    Signal,
    Parts,
)

JUDGES: Mapping[str, type[Judge]] = MappingProxyType({judge.name: judge for judge in _EVERY})
"""Name to class."""

CLASSES = Classes()
"""The judge of image classifiers, and of everything that says nothing else."""


def read_judge(data: Mapping[str, Any] | None) -> Judge:
    """Read a judge's JSON; None is `CLASSES`.

    Raises:
        InvalidParams: an unknown judge or setting; says which and what is known.
    """
    if data is None:
        return CLASSES
    name = str(data.get("name")) if isinstance(data, Mapping) else ""
    if name not in JUDGES:
        raise InvalidParams(f"Unknown judge {name[:80]!r}; known: {', '.join(JUDGES)}.")
    return JUDGES[name].from_json(data)


def parse_judge(words: str) -> Judge:
    """Read "name:setting=value:setting=value", as the command line takes it.

    Example:
        >>> parse_judge("map:binary=true:measure=pixels").score.name
        'places right'

    Raises:
        InvalidParams: an unknown judge or setting, or a value of the wrong kind.
    """
    name, *pairs = words.split(":")
    known = fields(JUDGES[name.strip()]) if name.strip() in JUDGES else ()
    words_only = {each.name for each in known if isinstance(each.default, str)}
    document: dict[str, Any] = {"name": name.strip()}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidParams(f"Write a judge's setting as name=value; got {pair[:60]!r}.")
        text = value.strip()
        document[key.strip()] = text if key.strip() in words_only else _value(text)
    return read_judge(document)


def judge_words(judge: Judge) -> str:
    """A judge and its settings, in a few words.

    Example:
        >>> judge_words(parse_judge("signal:measure=auc"))
        'Signal (measure auc)'
    """
    if isinstance(judge, Parts):
        parts = zip(judge.weights, judge.parts, strict=True)
        return " + ".join(f"{weight:g} \u00d7 {judge_words(part)}" for weight, part in parts)
    settings = [
        each.name if value is True else f"{each.name} {value}"
        for each in fields(judge)
        if (value := getattr(judge, each.name)) != each.default
    ]
    return f"{judge.title} ({', '.join(settings)})" if settings else judge.title


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text
