"""Labels from a column of a file, as the judge of a network with named inputs takes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qcore.data.listing import shown
from qcore.data.ragged import IGNORED, filled_labels, rows_of
from qcore.data.stored_arrays import as_tensor
from qcore.errors import InvalidData
from qcore.inputs import Input
from qcore.judges import Judge
from qcore.judges.parts import Parts
from qcore.judges.tokens import Tokens

LABELS = ("y", "labels", "label")
"""What a column of labels is called."""

NUMBERED = ("classes", "tokens")
"""Judges whose labels are whole numbers."""

_TWO = 2


def read_column_labels(
    stored: Mapping[str, Any],
    columns: Mapping[str, Tensor],
    inputs: Sequence[Input],
    end: str,
    path: Path,
    judge: Judge | None,
    notes: list[str],
) -> Tensor | None:
    """Labels (n, ...): whole numbers as int64, others as they are; None where there are none.

    Lists of labels, one for each place of a text, are filled up and cut as the text is, with
    places that do not count.

    Args:
        stored: The columns of the file.
        columns: What the network is given of them.
        inputs: What the network takes.
        end: What ends the names of these samples' columns.
        path: Of the file, for messages.
        judge: How answers are compared; None where that is not known.
        notes: Gets a sentence on what was converted.

    Raises:
        InvalidData: they are no numbers, or not as many as the places of a text.
    """
    taken = [each.name for each in inputs]
    name = next((n + end for n in LABELS if n + end in stored and n not in taken), None)
    if name is None:
        return None
    first = judge.parts[0] if isinstance(judge, Parts) else judge
    texts = [e for e in inputs if e.dtype.startswith("int") and len(e.shape) == 1]
    named = [e for e in texts if e.name == getattr(first, "ids", "")]
    ids = next(iter([*named, *texts]), None)
    given = None if ids is None else stored.get(ids.name + end)
    rows = rows_of(stored[name], name, path)
    if rows is not None:
        length = next((each.shape[0] for each in inputs if each.shape), 1)
        if ids is not None and given is not None:
            _check_lengths(rows, given, name, ids.name + end, path)
            length = ids.shape[0]
        labels = filled_labels(rows, length, path)
    else:
        labels = as_tensor(stored[name], name, path)
        numbered = first is not None and first.name in NUMBERED
        if labels.is_floating_point():
            if not numbered or bool((labels != labels.round()).any()):
                return labels
            notes.append(f"{name} holds floats; all are whole numbers and were taken as such.")
        labels = labels.long()
    if first is None or first.name != "tokens" or ids is None or labels.dim() != _TWO:
        return labels
    if rows is None:
        labels = _fitted(labels, given, ids, name, path)
    return _following(labels, columns[ids.name], name, notes) if first.own_labels else labels


def without_unlabelled(
    labels: Tensor | None, columns: Mapping[str, Tensor], judge: Judge | None
) -> Tensor | None:
    """Places of the samples that have a label, where some have none that counts; else None.

    Args:
        labels: As `read_column_labels` gives them.
        columns: What the network is given, masks among it.
        judge: How answers are compared.
    """
    first = judge.parts[0] if isinstance(judge, Parts) else judge
    if not isinstance(first, Tokens) or (first.own_labels and first.ids not in columns):
        return None
    if first.mask and first.mask not in columns:
        return None
    truth = first.truth(columns, labels)
    if truth is None or truth.dim() != _TWO:
        return None
    has = (truth >= 0).any(1)
    return None if bool(has.all()) else has.nonzero().flatten()


def _check_lengths(rows: Sequence[Tensor], texts: Any, name: str, ids: str, path: Path) -> None:
    given = rows_of(texts, ids, path)
    if given is None:
        places = as_tensor(texts, ids, path)
        sizes = [places.shape[1] if places.dim() > 1 else 1] * len(rows)
        odd = next((at for at, row in enumerate(rows) if len(row) > sizes[at]), None)
    else:
        sizes = [len(row) for row in given]
        pairs = zip(rows, sizes, strict=False)
        odd = next((at for at, (row, size) in enumerate(pairs) if len(row) != size), None)
    if odd is not None:
        raise InvalidData(
            f"{shown(path)}: sample {odd:,} has {len(rows[odd]):,} labels in {name} and "
            f"{sizes[odd]:,} ids in {ids}. Give each id a label, {IGNORED} where none counts."
        )


def _fitted(labels: Tensor, texts: Any, ids: Input, name: str, path: Path) -> Tensor:
    """Labels of a text's places, padded and cut as its ids are."""
    length, found = ids.shape[0], labels.shape[1]
    rows = None if texts is None else rows_of(texts, ids.name, path)
    if rows is not None:
        odd = next((at for at, row in enumerate(rows) if len(row) != found), 0)
        raise InvalidData(
            f"{shown(path)}: sample {odd:,} has {found:,} labels in {name} and {len(rows[odd]):,} "
            f"ids in {ids.name}. Give each id a label, {IGNORED} where none counts."
        )
    given = None if texts is None else as_tensor(texts, ids.name, path)
    own = length if given is None or given.dim() != _TWO else given.shape[1]
    if found != own or found == length:
        return labels
    if found > length:
        return labels[:, :length].contiguous()
    filled = torch.full((len(labels), length), IGNORED)
    filled[:, :found] = labels
    return filled


def _following(labels: Tensor, ids: Tensor, name: str, notes: list[str]) -> Tensor:
    """Labels of a language model that are its own ids, each moved to the place before it."""
    counts = labels >= 0
    if labels.shape != ids.shape or not bool((labels == ids)[counts].all()):
        return labels
    notes.append(
        f"{name} holds the text's own ids; the label of a place is the id that comes after it."
    )
    moved = torch.full_like(labels, IGNORED)
    moved[:, :-1] = labels[:, 1:]
    return moved
