"""Labels of the words of texts, as labels of the tokens that a tokenizer cuts them into.

The first token of a word has its label, and the others none, as is usual where taggers are trained.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qcore.data.listing import shown
from qcore.data.tagged.documents import NONE_COUNTS, Document, Tag, decoded
from qcore.data.tokens import Encoded
from qcore.errors import InvalidData
from qcore.judges import Judge
from qcore.judges.parts import Parts
from qcore.judges.tokens import Tokens

NAMES = "labels.txt"
"""File beside texts that names a tagger's outputs in their order, one a line."""

MOST_BYTES = 2**20
_LISTED = 12

Tags = list[Tag]


def takes_tags(judge: Judge | None) -> bool:
    """Whether a judge is told a label for each token, and they are not the text's own."""
    first = judge.parts[0] if isinstance(judge, Parts) else judge
    return isinstance(first, Tokens) and not first.own_labels


def tags_of(document: Document, tokens: Encoded) -> Tags:
    """The label of each token; None where it has none.

    A token belongs to the word that its last character lies in: what stands before, as the space
    that some tokenizers keep with a word, belongs to no word.
    """
    found: Tags = [None] * len(tokens.ids)
    if not document.tags:
        return found
    starts, ends = np.array(document.spans, np.int64).T
    places = np.searchsorted(starts, tokens.last, "right") - 1
    inside = (tokens.last >= 0) & (places >= 0) & (tokens.last < ends[places])
    seen: set[int] = set()
    for at in np.flatnonzero(inside).tolist():
        word = int(places[at])
        tag = document.tags[word]
        if word not in seen and not _none(tag):
            found[at] = tag
        seen.add(word)
    return found


def counted(tags: Tags) -> bool:
    """Whether any token has a label."""
    return any(tag is not None for tag in tags)


def read_token_labels(
    tags: Sequence[Tags],
    places: Sequence[str],
    length: int,
    known: tuple[str, ...],
    path: Path,
    notes: list[str],
) -> tuple[tuple[str, ...], Tensor]:
    """Labels of documents as the judge `tokens` takes them.

    Args:
        tags: Of each document, the label of each token.
        places: Where each document lies, for messages.
        length: Tokens that the network takes.
        known: Names of the network's outputs in their order; () where it does not say.
        path: Of the texts; a file `labels.txt` beside it names the outputs instead.
        notes: Gets a sentence on what was converted.

    Returns:
        (names of the labels in their order, () where they have none; class numbers, int64
        (documents, length), NONE_COUNTS where a token has no label).

    Raises:
        InvalidData: a label is none of the network's; says which and where.
    """
    names = _named(path, notes) or known
    if known and len(names) != len(known):
        raise InvalidData(
            f"{NAMES} beside {shown(path.name)} names {len(names):,} outputs, and the network has "
            f"{len(known):,} labels. Name each of its outputs once, in their order."
        )
    numbers = _numbers(tags, places, names, path)
    labels = torch.full((len(tags), length), NONE_COUNTS)
    for row, each in enumerate(tags):
        for at, tag in enumerate(each):
            if tag is not None:
                labels[row, at] = numbers[tag]
    return names, labels


def _numbers(
    tags: Sequence[Tags], places: Sequence[str], names: tuple[str, ...], path: Path
) -> dict[Tag, int]:
    """Each label to its class number."""
    first: dict[Tag, str] = {}
    for each, place in zip(tags, places, strict=True):
        for tag in each:
            if tag is not None:
                first.setdefault(tag, place)
    given = {name: number for number, name in enumerate(names)}
    alike = {name.casefold(): number for number, name in enumerate(names)}
    found: dict[Tag, int] = {}
    unknown: list[Tag] = []
    for tag in first:
        text = str(tag).strip()
        if isinstance(tag, str) and text in given:
            found[tag] = given[text]
        elif isinstance(tag, str) and text.casefold() in alike and len(alike) == len(given):
            found[tag] = alike[text.casefold()]
        elif text.isdecimal() and (not names or int(text) < len(names)):
            found[tag] = int(text)
        else:
            unknown.append(tag)
    if unknown:
        _refuse(unknown, first, names, path)
    return found


def _refuse(unknown: list[Tag], first: dict[Tag, str], names: tuple[str, ...], path: Path) -> None:
    odd = ", ".join(repr(tag)[:40] for tag in unknown[:_LISTED])
    start = f"{first[unknown[0]]}: the label {repr(unknown[0])[:40]} is "
    several = f" (unknown are {odd})" if len(unknown) > 1 else ""
    if not names:
        raise InvalidData(
            f"{start}a name, and nothing says which of the network's outputs it is{several}. Write "
            f"class numbers, or name the outputs in their order, one a line, in a file {NAMES} "
            f"beside {shown(path.name)}."
        )
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    raise InvalidData(
        f"{start}none of the network's {len(names):,} labels{several}. It knows "
        f"{', '.join(name[:40] for name in names[:_LISTED])}{more}, or their numbers, 0 to "
        f"{len(names) - 1:,}; null or {NONE_COUNTS} is where none counts. If its outputs are "
        f"called otherwise, name them in their order in a file {NAMES} beside the texts."
    )


def _named(path: Path, notes: list[str]) -> tuple[str, ...]:
    """Names of outputs from the file beside texts; () where there is none."""
    file = (path if path.is_dir() else path.parent) / NAMES
    if not file.is_file() or file == path:
        return ()
    with file.open("rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InvalidData(
            f"{shown(file)} is larger than {MOST_BYTES / 1e6:.0f} MB; it names the network's "
            "outputs, one a line."
        )
    names = [line.strip() for line in decoded(content, shown(file), False).splitlines()]
    while names and not names[-1]:
        names.pop()
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if "" in names or twice is not None:
        what = f"names {twice!r} twice" if twice else "has an empty line between its names"
        raise InvalidData(f"{shown(file)} {what}; it names each of the network's outputs once.")
    if names:
        notes.append(f"Labels are numbered by {shown(file.name)}: {len(names):,} names.")
    return tuple(names)


def _none(tag: Tag) -> bool:
    return tag is None or (isinstance(tag, int) and tag < 0) or str(tag).strip() == str(NONE_COUNTS)
