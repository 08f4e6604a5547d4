"""Samples from texts: token ids, masks and token types, as the inputs of a network want them."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from qcore.data.columns import split_samples
from qcore.data.listing import shown
from qcore.data.samples import Samples, as_kind
from qcore.data.splits import Data
from qcore.data.tagged.documents import Document, Label
from qcore.data.tagged.objects import TEXT
from qcore.data.tagged.words import Tags, counted, read_token_labels, tags_of, takes_tags
from qcore.data.text_files import Documents, fields_file, open_documents
from qcore.data.text_labels import class_names, read_text_labels
from qcore.data.text_roles import TextRoles, field_of, text_roles
from qcore.data.tokens import Cutter, Encoded, open_cutter
from qcore.errors import InvalidData
from qcore.example_inputs import zeros_for
from qcore.inputs import Input
from qcore.models.catalog import judge_of

_BATCH = 256
_SPARE = 1.25
"""How many more documents are drawn than are used, because some are empty or the same."""

_CHARACTERS = 64
"""Of a document, how many characters are read for each token that is taken."""

_FEWEST_CHARACTERS = 2**14


@dataclass
class _Kept:
    """The documents that are used, and what became of the others.

    Attributes:
        encoded: Their tokens, of each of their texts.
        labels: Label and place of each.
        tags: The label of each of its tokens; None where its words have none.
        left_out: Why documents were left out, to how many.
    """

    encoded: list[tuple[Encoded, ...]] = field(default_factory=list)
    labels: list[tuple[Label, str]] = field(default_factory=list)
    tags: list[Tags | None] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def thin(self, most: int, seed: int) -> None:
        """Drop documents that are more than so many, drawn by the seed from all of them."""
        order = torch.randperm(len(self.encoded), generator=torch.Generator().manual_seed(seed))
        stay = order[:most].sort().values.tolist()
        self.encoded = [self.encoded[at] for at in stay]
        self.labels = [self.labels[at] for at in stay]
        self.tags = [self.tags[at] for at in stay]


def text_data(
    name: str,
    path: Path,
    inputs: tuple[Input, ...],
    counts: tuple[int, int],
    seed: int,
    training: bool,
    model: str | None,
    most_tested: int,
) -> Data:
    """Read texts, cut them into tokens, and split them by documents.

    A document has a text for each input of token ids.

    Args:
        name: The data name.
        path: A folder of `.txt` files, or a `.txt`, `.jsonl`, `.parquet` or `.conll` file; with
            several texts in a document a `.jsonl` or `.parquet` file.
        inputs: What the network takes.
        counts: Documents to calibrate on and to search on.
        seed: Which are drawn.
        training: Also give those left over, of which texts have none.
        model: Name of the network, whose folder may hold the tokenizer.
        most_tested: Most documents of the test split.

    Raises:
        InvalidData: the network takes no token ids, or a document or its label cannot be read.
        InvalidParams: more documents are asked for than there are.
        DataUnavailable: texts or tokenizer are not there, or tokenizers is not installed.
    """
    texts, zeros = text_roles(inputs)
    judge = None if model is None else judge_of(model)
    cutters = [open_cutter(path, model, roles.ids) for roles in texts]
    fields = tuple(field_of(roles.ids.name) for roles in texts) if len(texts) > 1 else (TEXT,)
    path = _file_of(path, texts, fields)
    length = max(roles.ids.shape[0] for roles in texts)
    wanted = sum(counts) + most_tested
    characters = max(_FEWEST_CHARACTERS, _CHARACTERS * length)
    tagged = takes_tags(judge) and len(texts) == 1
    found = open_documents(path, int(_SPARE * wanted), characters, seed, tagged, fields)
    judged = getattr(judge, "ids", "") if judge is not None and judge.own_labels else None
    fewest = [2 if judged in ("", roles.ids.name) else 1 for roles in texts]
    kept = _read(found, cutters, fewest)
    kept.thin(wanted, seed)
    if not kept.encoded:
        why = ", ".join(f"{n:,} {words}" for words, n in kept.left_out.items()) or "it is empty"
        raise InvalidData(f"{shown(path)} holds no document that can be used ({why}).")
    said = dict.fromkeys(note for cutter in cutters for note in cutter.notes)
    notes = [*_fields_note(texts, fields), *said, *_notes(found, kept, length)]
    classes: tuple[str, ...] = ()
    labels = None
    if any(tags is not None for tags in kept.tags) and model is not None:
        classes, labels = _token_labels(kept, length, model, path, notes)
    elif judge is not None and model is not None:
        classes, labels = read_text_labels(kept.labels, model, judge, notes)
    columns: dict[str, Tensor] = {}
    for at, (roles, cutter) in enumerate(zip(texts, cutters, strict=True)):
        columns |= _columns([each[at] for each in kept.encoded], roles, cutter.padding)
    columns |= {each.name: zeros_for(each, len(kept.encoded)) for each in zeros}
    samples = Samples(columns, inputs, labels)
    return split_samples(name, samples, None, counts, seed, training, tuple(notes), classes)


def _token_labels(
    kept: _Kept, length: int, model: str, path: Path, notes: list[str]
) -> tuple[tuple[str, ...], Tensor]:
    places = [place for _, place in kept.labels]
    bare = [place for tags, place in zip(kept.tags, places, strict=True) if tags is None]
    if bare:
        raise InvalidData(
            f"{bare[0]} has no labels of its words, and others have: {len(bare):,} of "
            f"{len(places):,}. Give all of them some, or none."
        )
    tags = [each or [] for each in kept.tags]
    return read_token_labels(tags, places, length, class_names(model), path, notes)


def _read(found: Documents, cutters: list[Cutter], fewest: list[int]) -> _Kept:
    kept, seen = _Kept(), set()
    for batch in _batches(found.each):
        encoded = [
            cutter.encode([(document.text, *document.more)[at] for document in batch])
            for at, cutter in enumerate(cutters)
        ]
        for document, tokens in zip(batch, zip(*encoded, strict=True), strict=True):
            digest = hashlib.blake2b(digest_size=16)
            for each in tokens:
                digest.update(len(each.ids).to_bytes(8, "big") + each.ids.tobytes())
            if not all(each.own for each in tokens) or not document.text:
                kept.left_out["empty"] += 1
            elif any(len(each.ids) < n for each, n in zip(tokens, fewest, strict=True)):
                kept.left_out["of a single token, after which nothing can be predicted"] += 1
            elif digest.digest() in seen:
                kept.left_out["the same as another one in the tokens that are taken"] += 1
            elif document.tags and not counted(tags := tags_of(document, tokens[0])):
                kept.left_out["in whose tokens no word with a label begins"] += 1
            else:
                seen.add(digest.digest())
                cut = document.cut or any(each.cut for each in tokens)
                kept.encoded.append((replace(tokens[0], cut=cut), *tokens[1:]))
                kept.labels.append((document.label, document.place))
                kept.tags.append(tags if document.tags else None)
    return kept


def _batches(each: Iterator[Document]) -> Iterator[list[Document]]:
    while batch := list(islice(each, _BATCH)):
        yield batch


def _notes(found: Documents, kept: _Kept, length: int) -> list[str]:
    notes = []
    cut = sum(tokens[0].cut for tokens in kept.encoded)
    if cut:
        notes.append(
            f"{cut:,} of {len(kept.encoded):,} documents are longer than {length:,} tokens "
            "and were cut."
        )
    for words, number in kept.left_out.items():
        notes.append(f"{number:,} documents were left out: {words}.")
    known = len(kept.encoded) + sum(kept.left_out.values()) + len(found.skipped.reasons)
    if known < found.total or not found.whole:
        more = "" if found.whole else " at the beginning of a longer file"
        notes.append(
            f"{len(kept.encoded):,} of {found.total:,} documents{more} are used, by the seed."
        )
    return [*notes, *filter(None, [found.skipped.note()])]


def _file_of(path: Path, texts: tuple[TextRoles, ...], fields: tuple[str, ...]) -> Path:
    """The folder or file that documents are read from; of several texts it is a file of objects."""
    found = path if len(texts) == 1 else fields_file(path)
    if found is None:
        shape = ", ".join(f'"{name}": "..."' for name in fields)
        raise InvalidData(
            f"{shown(path)} is no file of objects with {len(fields)} texts each, and this network "
            f"takes {' and '.join(roles.ids.name for roles in texts)}. Give a .jsonl file with an "
            f"object in each line, {{{shape}}}, or a .parquet file with these columns."
        )
    return found


def _fields_note(texts: tuple[TextRoles, ...], fields: tuple[str, ...]) -> list[str]:
    if len(texts) == 1:
        return []
    pairs = zip(texts, fields, strict=True)
    told = ", ".join(f"{roles.ids.name} the field {name!r}" for roles, name in pairs)
    return [f"Of each document {told}."]


def _columns(encoded: list[Encoded], roles: TextRoles, padding: int) -> dict[str, Tensor]:
    n, size = len(encoded), roles.ids.shape[0]
    ids = torch.full((n, size), padding, dtype=torch.int64)
    mask = torch.zeros((n, size), dtype=torch.int64)
    types = torch.zeros((n, size), dtype=torch.int64)
    for row, tokens in enumerate(encoded):
        places = slice(0, len(tokens.ids))
        ids[row, places] = torch.from_numpy(tokens.ids)
        types[row, places] = torch.from_numpy(tokens.types)
        mask[row, places] = 1
    columns = {roles.ids.name: as_kind(ids, roles.ids)}
    columns |= {each.name: as_kind(mask, each) for each in roles.masks}
    columns |= {each.name: as_kind(types, each) for each in roles.types}
    numbers = torch.arange(size).expand(n, size).contiguous()
    return columns | {each.name: as_kind(numbers, each) for each in roles.positions}
