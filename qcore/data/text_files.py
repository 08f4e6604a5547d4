"""Documents from text files, one after the other: never more of a file in memory than is used.

A folder of `.txt` files holds a document in each; a `.txt` file one in each line; a `.jsonl` file
an object in each line (`tagged.objects` says which fields it may have), and a `.parquet` file one
in each row; a `.conll` file has a word in each line, with its label.
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from qcore.data.listing import LEFT_BEHIND, shown
from qcore.data.parquet import SUFFIXES as ROWS
from qcore.data.skipped import Skipped
from qcore.data.tagged.documents import Document, decoded
from qcore.data.tagged.objects import MOST_OBJECT, TEXT, read_line
from qcore.data.tagged.stored import (
    SENTENCES,
    count_rows,
    count_sentences,
    row_documents,
    sentence_documents,
)
from qcore.errors import DataUnavailable, InvalidData

LINES, OBJECTS = (".txt", ".text"), (".jsonl", ".ndjson")
MOST_BYTES = 256 * 2**20
"""Of one file, how much is drawn from: its beginning."""

_BLOCK = 2**20


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


def open_documents(
    path: Path,
    most: int,
    characters: int,
    seed: int,
    tagged: bool = False,
    fields: Sequence[str] = (TEXT,),
) -> Documents:
    """Documents of a folder or a file.

    Args:
        path: A folder of `.txt` files, or a `.txt`, `.jsonl`, `.parquet` or `.conll` file.
        most: How many are drawn where there are more.
        characters: How much of each is read.
        seed: Which are drawn.
        tagged: Whether labels of their words are looked for.
        fields: Those of a document's texts; several in a `.jsonl` or `.parquet` file alone.

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
        if suffix not in (*LINES, *OBJECTS, *ROWS, *SENTENCES):
            raise InvalidData(
                f"{shown(path)} is no text file; give a folder of .txt files, a .txt file with a "
                "document in each line, a .jsonl or .parquet file, or a .conll file with a word "
                "and its label in each line."
            )
        if suffix in ROWS:
            total, whole = count_rows(path), True
        elif suffix in SENTENCES:
            total, whole = count_sentences(path, MOST_BYTES)
        else:
            total, whole = _count_lines(path)
    except OSError as error:
        raise DataUnavailable(f"{shown(path)} cannot be opened ({error.strerror}).") from error
    wanted = _drawn(total, most, seed)
    if suffix in (*ROWS, *SENTENCES):
        chosen = wanted if isinstance(wanted, range) else set(wanted)
        stored = (
            row_documents(path, chosen, characters, tagged, fields)
            if suffix in ROWS
            else sentence_documents(path, chosen, total, characters, tagged)
        )
        return Documents(stored, total, len(wanted), whole)
    read = partial(read_line, tagged=tagged, fields=fields) if suffix in OBJECTS else _line
    limit = MOST_OBJECT if suffix in OBJECTS else 4 * characters
    each = _lines(path, wanted, total, limit, read, characters)
    return Documents(each, total, len(wanted), whole)


def fields_file(path: Path) -> Path | None:
    """The `.jsonl` or `.parquet` file that is meant: itself, or the only one of a folder."""
    if not path.is_dir():
        return path if path.suffix.lower() in (*OBJECTS, *ROWS) or not path.is_file() else None
    found = [p for p in path.iterdir() if p.suffix.lower() in (*OBJECTS, *ROWS) and p.is_file()]
    return found[0] if len(found) == 1 else None


def _drawn(total: int, most: int, seed: int) -> range | list[int]:
    if total <= most:
        return range(total)
    return sorted(random.Random(seed).sample(range(total), most))


def _folder(path: Path, most: int, characters: int, seed: int) -> Documents:
    files = sorted(_text_files(path))
    if not files:
        kinds = (*OBJECTS, *ROWS, *SENTENCES)
        other = sorted(p.name for p in path.iterdir() if p.suffix.lower() in kinds)
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
            path = Path(place) / name
            if name.lower().endswith(LINES) and not name.startswith(".") and _opens(path):
                yield path


def _opens(path: Path) -> bool:
    """False for what is there and no file, as a pipe, at which reading would wait for ever."""
    return path.is_file() or not path.exists()


def _files(
    files: list[Path], folder: Path, characters: int, skipped: Skipped
) -> Iterator[Document]:
    for path in files:
        place = shown(path.relative_to(folder))
        try:
            with path.open("rb") as stream:
                content = stream.read(4 * characters + 1)
            cut = len(content) > 4 * characters
            text = decoded(content, place, cut).strip()
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
    text = decoded(content, place, cut).strip()
    return Document(text[:characters], place, cut or len(text) > characters)
