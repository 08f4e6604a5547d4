"""Documents from objects with named fields: lines of a `.jsonl` file, rows of a `.parquet` file.

The text is the field `text`, or a list of words in `tokens` (or `words`). A label of the whole is
the field `label`; labels of its words are a list in `tags`, `labels` or a field that ends in
`_tags`, one for each word.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qcore.data.tagged.documents import NONE_COUNTS, Document, Tag, decoded, tagged_document
from qcore.errors import InvalidData

TEXT, LABEL = "text", "label"
WORDS = ("tokens", "words")
TAGS = ("tags", "labels", LABEL)
"""What a list of labels, one a word, is called; other names end in "_tags"."""

MOST_OBJECT = 16 * 2**20
_SHOWN = 60


def read_line(
    content: bytes,
    place: str,
    cut: bool,
    characters: int,
    tagged: bool = False,
    fields: Sequence[str] = (TEXT,),
) -> Document:
    """A line of a `.jsonl` file.

    Args:
        content: The line.
        place: Its file and number, for messages.
        cut: Whether it goes on.
        characters: How much of its text is read.
        tagged: Whether labels of its words are looked for.
        fields: As for `read_fields`.

    Raises:
        InvalidData: it is no object with a text, or its labels are not those of its words.
    """
    if cut:
        raise InvalidData(f"{place} is longer than {MOST_OBJECT / 1e6:.0f} MB; split its text.")
    line = decoded(content, place, False).strip()
    if not line:
        return Document("", place)
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        words = getattr(error, "msg", "nested too deeply" if deep else "a number is too long")
        at = f" at character {error.pos + 1:,}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidData(
            f"{place} is no JSON ({words}{at}). Each line of a .jsonl file is one object, like "
            '{"text": "...", "label": 0}.'
        ) from error
    if not isinstance(found, dict):
        raise InvalidData(
            f"{place} needs an object with the field {TEXT!r}, a text; it holds a "
            f"{type(found).__name__}. Name the field of the text {TEXT!r}."
        )
    return read_fields(found, place, characters, tagged, fields)


def read_fields(
    found: Mapping[str, Any],
    place: str,
    characters: int,
    tagged: bool = False,
    fields: Sequence[str] = (TEXT,),
) -> Document:
    """The document of an object.

    Args:
        found: Its fields by name.
        place: Where it lies, for messages.
        characters: How much of its text is read.
        tagged: Whether labels of its words are looked for.
        fields: Those of its texts, several where a network takes several.

    Raises:
        InvalidData: it has no text, or its labels are not those of its words.
    """
    if len(fields) > 1:
        return _of_several(found, place, characters, fields)
    name, tags = _tags(found, place) if tagged else ("", None)
    text = found.get(TEXT)
    words = None
    if tags is not None or not isinstance(text, str):
        words = _words(found, place)
    if tags is not None and words is None and isinstance(text, str):
        words = _whole(text).split()
    label = found.get(LABEL) if name != LABEL else None
    if label is not None and not isinstance(label, str | int | float):
        raise InvalidData(
            f"{place}: the label is a {type(label).__name__}; it may be a number or a name. A list "
            "of labels, one a word, is for networks whose judge is 'tokens'."
        )
    if tags is not None and words is None:
        raise InvalidData(
            f"{place} has {name!r} and no text that they are of; it holds the fields "
            f"{_fields(found)}. Give the words as a list, 'tokens', beside them."
        )
    if words is not None and tags is not None and len(tags) != len(words):
        raise InvalidData(
            f"{place} has {len(words):,} words and {len(tags):,} labels in {name!r}; each word "
            f"has one label, null or {NONE_COUNTS} where none counts."
        )
    if words is not None:
        return tagged_document(words, tags or [], place, characters, label)
    if not isinstance(text, str):
        raise InvalidData(
            f"{place} needs an object with the field {TEXT!r}, a text; it holds the fields "
            f"{_fields(found)}. Name the field of the text {TEXT!r}."
        )
    whole = _whole(text).strip()
    return Document(whole[:characters], place, len(whole) > characters, label)


def _of_several(
    found: Mapping[str, Any], place: str, characters: int, fields: Sequence[str]
) -> Document:
    missing = [name for name in fields if not isinstance(found.get(name), str)]
    if missing:
        raise InvalidData(
            f"{place} needs an object with a text in each of the fields "
            f"{', '.join(map(repr, fields))}; {', '.join(map(repr, missing))} is none, and it "
            f"holds the fields {_fields(found)}."
        )
    label = found.get(LABEL)
    if label is not None and not isinstance(label, str | int | float):
        raise InvalidData(
            f"{place}: the label is a {type(label).__name__}; it may be a number or a name."
        )
    texts = [_whole(found[name]).strip() for name in fields]
    cut = any(len(text) > characters for text in texts)
    first, *more = (text[:characters] for text in texts)
    return Document(first, place, cut, label, more=tuple(more))


def _fields(found: Mapping[str, Any]) -> str:
    return ", ".join(map(str, found))[:100] or "none"


def _whole(text: str) -> str:
    """A text without half characters, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _words(found: Mapping[str, Any], place: str) -> list[str] | None:
    """The list of words; None where there is none."""
    names = (*WORDS, TEXT)
    name = next((name for name in names if isinstance(found.get(name), list)), None)
    return None if name is None else _strings(found[name], name, place)


def _strings(values: list[Any], name: str, place: str) -> list[str]:
    odd = next((at for at, value in enumerate(values) if not isinstance(value, str)), None)
    if odd is not None:
        kind = "null" if values[odd] is None else f"a {type(values[odd]).__name__}"
        raise InvalidData(
            f"{place}: word {odd:,} of {name!r} is {kind}; words are texts. Ids that a tokenizer "
            "made go into a column of a .parquet or .npz file (tensors:/path)."
        )
    return [_whole(value) for value in values]


def _tags(found: Mapping[str, Any], place: str) -> tuple[str, list[Tag] | None]:
    """(field, labels of its words); ("", None) where words have none."""
    named = [name for name in TAGS if isinstance(found.get(name), list)]
    others = [
        name
        for name, value in found.items()
        if isinstance(value, list) and str(name).lower().endswith("_tags")
    ]
    if not named and len(others) > 1:
        raise InvalidData(
            f"{place} has several lists of labels: {', '.join(map(repr, others))[:200]}. Call the "
            "one that the network was trained on 'tags'."
        )
    name = next(iter([*named, *others]), None)
    if name is None:
        return "", None
    values = found[name]
    for at, value in enumerate(values):
        whole = isinstance(value, float) and value.is_integer()
        if isinstance(value, bool) or not (whole or isinstance(value, str | int | None)):
            kind = type(value).__name__
            spans = " Spans (start, end, name) are not read." if kind in ("list", "dict") else ""
            raise InvalidData(
                f"{place}: label {at:,} of {name!r} is {str(value)[:_SHOWN]!r}, a {kind}; the "
                f"label of a word is a name or a whole number, null or {NONE_COUNTS} where none "
                f"counts.{spans}"
            )
    return str(name), [int(v) if isinstance(v, float) else v for v in values]
