"""Documents from rows of a `.parquet` file, and from a CoNLL file, which has a word in each line.

A row has the fields that a line of a `.jsonl` file may have. In a CoNLL file the first column is
the word and the last one its label; an empty line ends a document.
"""

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from qcore.data.listing import shown
from qcore.data.tagged.documents import Document, Tag, decoded, tagged_document
from qcore.data.tagged.objects import LABEL, TAGS, TEXT, WORDS, read_fields
from qcore.errors import InvalidData

SENTENCES = (".conll", ".bio", ".iob", ".iob2")
MOST_LINE = 2**16
_STARTS = "-DOCSTART-"
_BATCH = 256
_COLUMNS = 2


def count_rows(path: Path) -> int:
    """Rows of a `.parquet` file.

    Raises:
        InvalidData: it cannot be read, or has none.
    """
    with _opened(path) as file:
        total = int(file.metadata.num_rows)
    if not total:
        raise InvalidData(f"{shown(path)} has no rows; check the file.")
    return total


def row_documents(
    path: Path,
    chosen: Container[int],
    characters: int,
    tagged: bool,
    fields: Sequence[str] = (TEXT,),
) -> Iterator[Document]:
    """Documents of some rows, in order, a few in memory at a time.

    Args:
        path: The file.
        chosen: Numbers of the rows, from 0.
        characters: How much of each text is read.
        tagged: Whether labels of words are looked for.
        fields: Those of the texts.

    Raises:
        InvalidData: it cannot be read, or a row has no text.
    """
    with _opened(path) as file:
        names = [name for name in file.schema_arrow.names if name in fields or _is_read(name)]
        number = 0
        for batch in file.iter_batches(_BATCH, columns=names):
            for row in batch.to_pylist():
                if number in chosen:
                    place = f"{shown(path.name)}, row {number:,}"
                    yield read_fields(row, place, characters, tagged, fields)
                number += 1


def count_sentences(path: Path, most: int) -> tuple[int, bool]:
    """(documents in the first bytes of a CoNLL file, whether these are all of it)."""
    found, within, read = 0, False, 0
    with path.open("rb") as stream:
        while read < most and (line := stream.readline(MOST_LINE)):
            read += len(line)
            empty = not line.strip() or line.startswith(_STARTS.encode())
            found += within and empty
            within = not empty
        whole = not stream.read(1)
    return found + within, whole


def sentence_documents(
    path: Path, chosen: Container[int], total: int, characters: int, tagged: bool
) -> Iterator[Document]:
    """Some documents of a CoNLL file, in order; see `row_documents`.

    Raises:
        InvalidData: a line is too long, not UTF-8, or a word without a label.
    """
    with path.open("rb") as stream:
        for number, found in zip(range(total), _sentences(stream, path, characters), strict=False):
            if number not in chosen:
                continue
            first, words, tags = found
            place = f"{shown(path.name)}, line {first:,}"
            bare = next((at for at, tag in enumerate(tags) if tag is None), None)
            if tagged and bare is not None:
                raise InvalidData(
                    f"{place} begins a document whose word {bare:,}, {words[bare][:40]!r}, has no "
                    "label; each line is a word, and its label behind it."
                )
            yield tagged_document(words, tags if tagged else [], place, characters)


def _sentences(
    stream: BinaryIO, path: Path, characters: int
) -> Iterator[tuple[int, list[str], list[Tag]]]:
    """(first line, words, their labels) of each document, no further than is read of it."""
    words: list[str] = []
    tags: list[Tag] = []
    line = first = length = 0
    while content := stream.readline(MOST_LINE):
        line += 1
        place = f"{shown(path.name)}, line {line:,}"
        if len(content) == MOST_LINE and not content.endswith(b"\n"):
            raise InvalidData(
                f"{place} is longer than {MOST_LINE:,} bytes; a line of such a file is a word and "
                "its label."
            )
        text = decoded(content, place, False).rstrip("\r\n")
        if not text.strip() or text.startswith(_STARTS):
            if words:
                yield first, words, tags
            words, tags, length = [], [], 0
            continue
        first = first if words else line
        if length <= characters:
            parts = text.split("\t") if "\t" in text else text.split()
            words.append(parts[0])
            tags.append(parts[-1].strip() if len(parts) >= _COLUMNS else None)
            length += len(parts[0]) + 1
    if words:
        yield first, words, tags


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A `.parquet` file; what its library raises becomes a sentence."""
    # takes a second to load, and is needed by no other file
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InvalidData(
            f"{shown(path)} cannot be read as Parquet ({reason}). Save it again, or remove it."
        ) from error


def _is_read(name: str) -> bool:
    return name in (TEXT, LABEL, *WORDS, *TAGS) or name.lower().endswith("_tags")
