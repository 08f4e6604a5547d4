"""Cuts texts into token ids with a `tokenizer.json`, which is data: nothing of it is run."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qcore.data.listing import shown
from qcore.errors import DataUnavailable, InvalidData, QcoreError
from qcore.inputs import Input
from qcore.models import verses
from qcore.models.cards import FOLDER, card_folder
from qcore.models.hugging_folder import TOKENIZER, read_config

MOST_BYTES = 512 * 2**20
PADDING = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>", "<PAD>", "<|endoftext|>", "</s>")
"""Tokens that pad where the tokenizer does not say which does, in the order they are tried."""

WRITES = "decoder"
"""Begins the name of the ids of what a network writes, each predicted from those before it."""

_OTHER_VOCABULARY = 0.9
"""Below this share of the network's ids, a tokenizer's number of tokens is called odd."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """The tokens of one text.

    Attributes:
        ids: int64 (tokens,), at most as many as are taken.
        types: The type of each.
        own: How many of them stand for the text itself, not around it.
        cut: Whether the text has more.
        last: Of each token the last character of the text that it stands for, int64 (tokens,); -1
            where it stands for none.
    """

    ids: np.ndarray
    types: np.ndarray
    own: int
    cut: bool
    last: np.ndarray


@dataclass(frozen=True)
class Cutter:
    """A tokenizer, set to the length of a network's input.

    Attributes:
        library: The tokenizer of the library.
        path: Its file.
        ids: The input that takes the ids.
        padding: The id that short texts are padded with.
        notes: Sentences on what to know of it.
        start: Id that stands before every text, of what a network writes; None for none.
    """

    library: Any
    path: Path
    ids: Input
    padding: int
    notes: tuple[str, ...] = ()
    start: int | None = None

    def encode(self, texts: list[str]) -> list[Encoded]:
        """Cut some texts.

        Raises:
            InvalidData: an id is none of the network's; says which, and both sizes.
        """
        found = []
        for encoding in self.library.encode_batch(texts):
            ids = np.array(encoding.ids, np.int64)
            if self.ids.high is not None and len(ids) and int(ids.max()) >= self.ids.high:
                self._refuse(int(ids.max()))
            types = np.array(encoding.type_ids, np.int64)
            own = len(ids) - sum(encoding.special_tokens_mask)
            last = np.array([e - 1 if e > s else -1 for s, e in encoding.offsets], np.int64)
            if self.start is not None:
                ids, types = np.r_[self.start, ids], np.r_[0, types]
                last = np.r_[-1, last]
            found.append(Encoded(ids, types, own, bool(encoding.overflowing), last))
        return found

    def _refuse(self, number: int) -> None:
        token, high = str(self.library.id_to_token(number)), self.ids.high or 0
        raise InvalidData(
            f"{shown(self.path)} is the tokenizer of another vocabulary: it makes the id "
            f"{number:,} ({token[:40]!r}) and has {self.library.get_vocab_size():,} tokens; the "
            f"network knows {high:,} ids (0 to {high - 1:,}). Use the network's own."
        )


def open_cutter(texts: Path, model: str | None, ids: Input) -> Cutter:
    """The tokenizer that lies beside texts, or else in the network's folder.

    Args:
        texts: Folder or file of the texts.
        model: Name of the network; None looks beside the texts alone.
        ids: The input that takes the ids.

    Raises:
        DataUnavailable: there is none, or the library is not installed.
        InvalidData: it cannot be read, or the input is too short for the tokens it always adds.
    """
    beside = (texts if texts.is_dir() else texts.parent) / TOKENIZER
    own = [] if model is None else [card_folder(model) / FOLDER / TOKENIZER]
    own += [] if model is None else [card_folder(model) / TOKENIZER]
    own += [verses.TOKENIZER] if model == verses.NETWORK.name else []
    places = [path for path in (beside, *own) if path.is_file()]
    if not places:
        also = f", nor in the network's folder {shown(own[-1].parent)}" if own else ""
        raise DataUnavailable(
            f"There is no {TOKENIZER} beside {shown(texts)}{also}. Copy the network's own there; "
            "transformers writes one: AutoTokenizer.from_pretrained(FOLDER).save_pretrained("
            "FOLDER)."
        )
    path = places[0]
    notes = []
    if path == beside and len(places) > 1 and path.read_bytes() != places[1].read_bytes():
        notes.append(f"Texts were cut by {shown(path)}, which is not the network's {TOKENIZER}.")
    tokenizer = _read(path)
    size, most = tokenizer.get_vocab_size(), ids.high
    if most is not None and size < _OTHER_VOCABULARY * most:
        notes.append(
            f"{shown(path)} has {size:,} tokens and the network {most:,} ids: is it the network's?"
        )
    start = _start(model, ids)
    length = ids.shape[0] - (start is not None)
    added = tokenizer.num_special_tokens_to_add(False)
    if length <= added:
        raise InvalidData(
            f"{shown(path)} adds {added} tokens to each text, and {ids.name!r} takes {length}: "
            "none is left for the text."
        )
    padding = _padding(tokenizer, ids)
    if ids.pad and padding != int(ids.pad):
        notes.append(
            f"Texts are padded with the id {padding:,}, as {shown(path)} says; the network's own "
            f"is {int(ids.pad):,}."
        )
    if start is not None:
        notes.append(f"{ids.name} begins with the id {start:,}, as the network's config.json says.")
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=length)
    return Cutter(tokenizer, path, ids, padding, tuple(notes), start)


def _start(model: str | None, ids: Input) -> int | None:
    """The id that a Hugging Face network begins what it writes with; None of what it reads."""
    if model is None or not ids.name.lower().startswith(WRITES):
        return None
    try:
        config = read_config(card_folder(model) / FOLDER)
    except QcoreError:
        return None
    usual = config.get("pad_token_id") if "t5" in str(config.get("model_type")) else None
    found = config.get("decoder_start_token_id", usual)
    known = isinstance(found, int) and found >= 0 and (ids.high is None or found < ids.high)
    return found if known else None


def _read(path: Path) -> Any:
    try:
        library = importlib.import_module("tokenizers")
    except ImportError as error:
        raise DataUnavailable(
            f"tokenizers is needed to cut texts and cannot be imported ({error}). Install it with "
            "pip install -r requirements-models.txt, and restart."
        ) from error
    if path.stat().st_size > MOST_BYTES:
        raise InvalidData(f"{shown(path)} is too large ({path.stat().st_size / 1e6:,.0f} MB).")
    try:
        return library.Tokenizer.from_file(str(path))
    except Exception as error:
        # the library raises plain exceptions
        raise InvalidData(
            f"{shown(path)} is no tokenizer ({' '.join(str(error).split())[:150]}). Copy the "
            "network's own there."
        ) from error


def _padding(tokenizer: Any, ids: Input) -> int:
    """The id that short texts are padded with; one that the network knows."""
    said = tokenizer.padding
    usual = [tokenizer.token_to_id(token) for token in PADDING]
    given = None if ids.pad is None else int(ids.pad)
    for number in ((said or {}).get("pad_id"), *usual[:5], given, *usual[5:], 0):
        if number is not None and (ids.high is None or number < ids.high):
            return int(number)
    return 0
