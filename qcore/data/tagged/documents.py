"""A document: a text as it is drawn from a file, with what it or its words are labelled."""

import codecs
from dataclasses import dataclass

from qcore.errors import InvalidData

Label = str | int | float | bool | None
Tag = str | int | None
"""Label of a word: a name or a number; None where none counts."""

NONE_COUNTS = -100
"""Tag of a word that has no label."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Document:
    """A text.

    Attributes:
        text: Without white space around it; "" where it is empty.
        place: Its file and line, to be found again.
        cut: Whether the file goes on with it.
        label: As it is written; None without one.
        spans: (first character, the one behind the last) of each word that has a tag.
        tags: The label of each of these words; () where words have none.
        more: Its further texts, where a network takes several.
    """

    text: str
    place: str
    cut: bool = False
    label: Label = None
    spans: tuple[tuple[int, int], ...] = ()
    tags: tuple[Tag, ...] = ()
    more: tuple[str, ...] = ()


def tagged_document(
    words: list[str], tags: list[Tag], place: str, characters: int, label: Label = None
) -> Document:
    """A document of words with a space between them, cut behind so many characters.

    Args:
        words: Its words.
        tags: The label of each; none where words have no labels.
        place: Its file and line.
        characters: How much of it is read; whole words.
        label: That of the document.
    """
    spans: list[tuple[int, int]] = []
    end = 0
    for word in words:
        start = end + bool(spans)
        if start + len(word) > characters:
            break
        end = start + len(word)
        spans.append((start, end))
    kept = len(spans)
    text, cut = " ".join(words[:kept]), kept < len(words)
    if not text.strip():
        return Document("", place, cut, label)
    return Document(text, place, cut, label, tuple(spans) if tags else (), tuple(tags[:kept]))


def decoded(content: bytes, place: str, cut: bool) -> str:
    """Bytes as text; where they were cut, their last character may be as well.

    Raises:
        InvalidData: they are not UTF-8; says where.
    """
    try:
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        return decoder.decode(content, not cut)
    except UnicodeDecodeError as error:
        kind = "UTF-16" if content.startswith(_UTF16) else "another encoding"
        raise InvalidData(
            f"{place} is not UTF-8 (byte 0x{content[error.start]:02X} at {error.start + 1:,}), "
            f"perhaps {kind}. Save it as UTF-8."
        ) from error
