"""Words of token numbers, read from a tokenizer's `tokenizer.json`. Torch-free; nothing is run."""

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qcore.errors import InvalidParams
from qcore.models import verses
from qcore.models.cards import card_folder
from qcore.models.catalog import split_data_name

NAME = "tokenizer.json"
MOST_BYTES = 64 * 2**20
MOST_LETTERS = 40


def tokenizer_places(model: str, data: str) -> list[Path]:
    """Where a tokenizer of a network's texts may lie: with the data, then with the network."""
    places = [verses.TOKENIZER] if data == verses.DATA.name else []
    with contextlib.suppress(InvalidParams):
        path = split_data_name(data)[1]
        if path is not None:
            places.append((path if path.is_dir() else path.parent) / NAME)
    with contextlib.suppress(InvalidParams):
        own = card_folder(model)
        places += [own / NAME, *sorted(own.glob(f"*/{NAME}"))]
    return places


def read_words(path: Path) -> dict[int, str]:
    """Token numbers to their words as a reader knows them; {} where the file tells none.

    A file that is missing, damaged, too large or of an unknown kind is no fault: tokens are then
    shown as numbers.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}
        document = json.loads(path.read_text(encoding="utf-8"))
        pieces = dict(_pieces(document))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    spelled = _bytes_of_letters() if "ByteLevel" in json.dumps(document.get("decoder")) else {}
    return {number: _readable(piece, spelled) for number, piece in pieces.items()}


def chosen_words(
    found: Mapping[int, str], tokens: Iterable[int], vocabulary: int | None
) -> dict[int, str]:
    """The words of some tokens; none where the tokenizer knows more than the network does."""
    if not found or (vocabulary is not None and max(found) >= vocabulary):
        return {}
    return {token: found[token] for token in sorted(set(tokens)) if token in found}


def _pieces(document: Mapping[str, Any]) -> Iterable[tuple[int, str]]:
    vocabulary = document["model"]["vocab"]
    if isinstance(vocabulary, Mapping):
        yield from ((int(number), str(piece)) for piece, number in vocabulary.items())
    else:  # of a unigram model: pieces with their scores, in order
        yield from ((number, str(piece[0])) for number, piece in enumerate(vocabulary))
    for added in document.get("added_tokens") or ():
        yield int(added["id"]), str(added["content"])


def _readable(piece: str, spelled: Mapping[str, int]) -> str:
    if spelled and all(letter in spelled for letter in piece):
        piece = bytes(spelled[letter] for letter in piece).decode("utf-8", "replace")
    piece = piece.replace("\u2581", " ")
    return piece if len(piece) <= MOST_LETTERS else f"{piece[: MOST_LETTERS - 1]}…"


def _bytes_of_letters() -> dict[str, int]:
    """The letters by which byte-level tokenizers write bytes: printable ones stand for themselves.

    Reference: GPT-2's bytes_to_unicode.
    """
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(byte): byte for byte in kept}
    rest = [byte for byte in range(256) if byte not in kept]
    return letters | {chr(256 + at): byte for at, byte in enumerate(rest)}
