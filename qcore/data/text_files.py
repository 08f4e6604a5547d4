"""Documents from text files, one after the other: never more of a file in memory than is used.

A folder of `.txt` files holds a document in each; a `.txt` file one in each line; a `.jsonl` file
an object in each line, with the fields `text` and, where there is one, `label`.
"""

import codecs
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from qcore.data.listing import LEFT_BEHIND, shown
from qcore.data.skipped import Skipped
from qcore.errors import DataUnavailable, InvalidData

LINES, OBJECTS = (".txt", ".text"), (".jsonl", ".ndjson")
TEXT, LABEL = "text", "label"

MOST_BYTES = 256 * 2**20
"""Of one file, how much is drawn from: its beginning."""

MOST_OBJECT = 16 * 2**20
_BLOCK = 2**20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Label = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Document:
    """A text.

    Attributes:
        text: Without white space around it; "" where it is empty.
        place: Its file and line, to be found again.
        cut: Whether the file goes on with it.
        label: As it is written; None without one.
    """

    text: str
    place: str
    cut: bool = False
    label: Label = None


@dataclass
class Documents:
    """Documents that were drawn from a folder or a file, in the order in which they lie there.

    Attributes:
        each: Gives them one by one, once.
        total: How many there are to draw from; of one file, in its first `MOST_BYTES`.
        drawn: How many were.
        whole: False where a file is longer than what is drawn from.
        skipped: Files that cannot be read, filled while the documents are.
    """

    each: Iterator[Document]
    total: int
    drawn: int
    whole: bool = True
    skipped: Skipped = field(default_factory=lambda: Skipped(0))


def open_documents(path: Path, most: int, characters: int, seed: int) -> Documents:
    """Documents of a folder or a file.

    Args:
        path: A folder of `.txt` files, a `.txt` or a `.jsonl` file.
        most: How many are drawn where there are more.
        characters: How much of each is read.
        seed: Which are drawn.

    Raises:
        DataUnavailable: there is nothing of this name.
        InvalidData: it is no such file or folder; later, while documents are read: a line is not
            UTF-8 or no object with a text, too many files cannot be read.
    """
    try:
        if path.is_dir():
            return _folder(path, most, characters, seed)
        if not path.is_file():
            raise DataUnavailable(f"There is no folder or file {shown(path)} on this machine.")
        suffix = path.suffix.lower()
        if suffix not in (*LINES, *OBJECTS):
            raise InvalidData(
                f"{shown(path)} is no text file; give a folder of .txt files, a .txt file with a "
                "document in each line, or a .jsonl file."
            )
        total, whole = _count_lines(path)
    except OSError as error:
        raise DataUnavailable(f"{shown(path)} cannot be opened ({error.strerror}).") from error
    wanted = _drawn(total, most, seed)
    read = _object if suffix in OBJECTS else _line
    limit = MOST_OBJECT if suffix in OBJECTS else 4 * characters
    each = _lines(path, wanted, total, limit, read, characters)
    return Documents(each, total, len(wanted), whole)


def _drawn(total: int, most: int, seed: int) -> range | list[int]:
    if total <= most:
        return range(total)
    return sorted(random.Random(seed).sample(range(total), most))


def _folder(path: Path, most: int, characters: int, seed: int) -> Documents:
    files = sorted(_text_files(path))
    if not files:
        other = sorted(p.name for p in path.iterdir() if p.suffix.lower() in OBJECTS)
        hint = f" Give the file itself: texts:{shown(path / other[0])}." if other else ""
        raise InvalidData(f"{shown(path)} holds no .txt files.{hint}")
    chosen = [files[at] for at in _drawn(len(files), most, seed)]
    skipped = Skipped(len(chosen))
    each = _files(chosen, path, characters, skipped)
    return Documents(each, len(files), len(chosen), True, skipped)


def _text_files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if f not in LEFT_BEHIND and not f.startswith(".")]
        for name in names:
            if name.lower().endswith(LINES) and not name.startswith("."):
                yield Path(place) / name


def _files(
    files: list[Path], folder: Path, characters: int, skipped: Skipped
) -> Iterator[Document]:
    for path in files:
        place = shown(path.relative_to(folder))
        try:
            with path.open("rb") as stream:
                content = stream.read(4 * characters + 1)
            cut = len(content) > 4 * characters
            text = _decoded(content, place, cut).strip()
        except OSError as error:
            skipped.reasons.append((place, f"{place} cannot be opened ({error.strerror})."))
        except InvalidData as error:
            skipped.reasons.append((place, str(error)))
        else:
            yield Document(text[:characters], place, cut or len(text) > characters)
        if skipped.too_many:
            raise skipped.refuse()


def _count_lines(path: Path) -> tuple[int, bool]:
    """(lines in the first MOST_BYTES of a file, whether these are all of it)."""
    lines = read = 0
    last = b"\n"
    with path.open("rb") as stream:
        while read < MOST_BYTES and (block := stream.read(_BLOCK)):
            lines += block.count(b"\n")
            read += len(block)
            last = block[-1:]
        whole = not stream.read(1)
    if last != b"\n" and (whole or not lines):
        lines += 1
    return lines, whole


def _lines(
    path: Path,
    wanted: range | list[int],
    total: int,
    limit: int,
    read: Callable[[bytes, str, bool, int], Document],
    characters: int,
) -> Iterator[Document]:
    chosen = set(wanted) if len(wanted) < total else None
    with path.open("rb") as stream:
        for number in range(total):
            content = stream.readline(limit + 1)
            cut = len(content) > limit and not content.endswith(b"\n")
            if cut:
                _pass_over(stream)
            if chosen is None or number in chosen:
                place = f"{shown(path.name)}, line {number + 1:,}"
                yield read(content, place, cut, characters)


def _pass_over(stream: BinaryIO) -> None:
    """Read on to the end of a line, a block at a time."""
    while (block := stream.readline(_BLOCK)) and not block.endswith(b"\n"):
        pass


def _line(content: bytes, place: str, cut: bool, characters: int) -> Document:
    text = _decoded(content, place, cut).strip()
    return Document(text[:characters], place, cut or len(text) > characters)


def _object(content: bytes, place: str, cut: bool, characters: int) -> Document:
    if cut:
        raise InvalidData(f"{place} is longer than {MOST_OBJECT / 1e6:.0f} MB; split its text.")
    line = _decoded(content, place, False).strip()
    if not line:
        return Document("", place)
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        words = getattr(error, "msg", "nested too deeply")
        at = f" at character {error.pos + 1:,}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidData(
            f"{place} is no JSON ({words}{at}). Each line of a .jsonl file is one object, like "
            '{"text": "...", "label": 0}.'
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get(TEXT), str):
        holds = f"the fields {', '.join(map(str, found))[:100]}" if isinstance(found, dict) else ""
        raise InvalidData(
            f"{place} needs an object with the field {TEXT!r}, a text; it holds "
            f"{holds or 'a ' + type(found).__name__}. Name the field of the text {TEXT!r}."
        )
    label = found.get(LABEL)
    if label is not None and not isinstance(label, str | int | float):
        raise InvalidData(
            f"{place}: the label is a {type(label).__name__}; it may be a number or a name."
        )
    # half a character, which JSON can spell and UTF-8 cannot
    text = found[TEXT].encode("utf-8", "replace").decode().strip()
    return Document(text[:characters], place, len(text) > characters, label)


def _decoded(content: bytes, place: str, cut: bool) -> str:
    try:
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        # where a text was cut, its last character may be as well
        return decoder.decode(content, not cut)
    except UnicodeDecodeError as error:
        kind = "UTF-16" if content.startswith(_UTF16) else "another encoding"
        raise InvalidData(
            f"{place} is not UTF-8 (byte 0x{content[error.start]:02X} at {error.start + 1:,}), "
            f"perhaps {kind}. Save it as UTF-8."
        ) from error
