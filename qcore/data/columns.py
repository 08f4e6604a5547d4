"""Samples from the columns of a file: one column for each input of a network, named like it.

The file is a `.npz`, a `.pt`, a `.safetensors` or a `.parquet`. Beside the inputs it may hold `y`
(or `labels`), as the network's judge takes them; and with "_test" behind each name the test
samples, where these are given rather than drawn. Samples of unequal length are filled up where the
input says what with, and a mask that is not there is made of their lengths, or of the column
`lengths`.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qcore.data.listing import shown
from qcore.data.masks import LENGTHS, is_mask, mask_of
from qcore.data.ragged import filled, rows_of
from qcore.data.samples import Samples, as_kind
from qcore.data.splits import Data, assemble, draw
from qcore.data.stored_arrays import as_tensor, read_stored, unread
from qcore.data.tagged.columns import LABELS, read_column_labels, without_unlabelled
from qcore.errors import InvalidData, InvalidParams
from qcore.example_inputs import zeros_for
from qcore.inputs import Input
from qcore.judges import Judge

TEST = "_test"
"""What ends the names of test samples."""

Columns = Mapping[str, Any]
"""As stored: arrays, rows of unequal length, or what cannot be used."""


def column_data(
    name: str,
    key: str,
    path: Path | None,
    inputs: tuple[Input, ...],
    counts: tuple[int, int],
    seed: int,
    training: bool,
    judge: Judge | None = None,
) -> Data:
    """Read and split the samples of a network that takes no images.

    Args:
        name: The data name.
        key: Its kind, a key of DATASETS.
        path: Its file.
        inputs: What the network takes.
        counts: Samples to calibrate on and to search on.
        seed: Which are drawn.
        training: Also give those that are left over, where the test samples are given.
        judge: How its answers are compared; says what labels are.

    Raises:
        InvalidData: it is no file of columns, a column is missing, or does not fit its input.
        InvalidParams: more samples are asked for than there are.
    """
    if key != "tensors" or path is None:
        raise InvalidData(
            f"This network takes {'; '.join(each.words for each in inputs)}, and {key} gives "
            "images. Use tensors:/path, a file with a column for each input."
        )
    with unread(path):
        return _columns(name, path, inputs, counts, seed, training, judge)


def _columns(
    name: str,
    path: Path,
    inputs: tuple[Input, ...],
    counts: tuple[int, int],
    seed: int,
    training: bool,
    judge: Judge | None,
) -> Data:
    notes: list[str] = []
    stored = read_stored(path, notes)
    given, test = _part(stored, "", inputs, path, judge, notes), None
    if any(f"{each.name}{TEST}" in stored for each in inputs):
        test = _part(stored, TEST, inputs, path, judge, notes)
        if (test.labels is None) != (given.labels is None):
            raise InvalidData(
                f"{path} has labels for only one of its two parts; give y and y_test."
            )
    known = {*(each.name for each in inputs), *LABELS}
    if len(inputs) == 1:
        known.add("x")
    if any(is_mask(each) for each in inputs):
        known |= {*LENGTHS, *(f"{each.name}_{LENGTHS[0]}" for each in inputs)}
    known |= {f"{each}{TEST}" for each in known}
    unused = sorted(set(stored) - known)
    if unused:
        notes.append(f"{path.name} also holds {', '.join(unused[:10])}, not used.")
    return split_samples(name, given, test, counts, seed, training, tuple(notes))


def split_samples(
    name: str,
    given: Samples,
    test: Samples | None,
    counts: tuple[int, int],
    seed: int,
    training: bool,
    notes: tuple[str, ...] = (),
    class_names: tuple[str, ...] = (),
) -> Data:
    """Draw the splits.

    Args:
        name: The data name.
        given: Samples to draw from.
        test: Test samples; None draws them from what is left.
        counts: Samples to calibrate on and to search on.
        seed: Which are drawn.
        training: Also give the samples left over, where the test samples are given.
        notes: Sentences on what was converted.
        class_names: Names of the classes in label order; () where there are none.

    Raises:
        InvalidParams: more samples are asked for than there are.
    """
    chosen = draw(len(given), *counts, seed, name, "samples")
    order = torch.randperm(len(given), generator=torch.Generator().manual_seed(seed))
    rest = order[sum(counts) :].sort().values
    if test is None:
        if not len(rest):
            raise InvalidParams(
                f"{name} has {len(given):,} samples: {counts[0]:,} for calibration and "
                f"{counts[1]:,} for search leave none to test on. Ask for fewer."
            )
        test = given.at(rest)
        chosen = [*chosen, rest]
        left = None
    else:
        left = rest if training and len(rest) else None
    splits = [given.at(index) for index in chosen[:2]]
    data = assemble(name, class_names, [*splits, test], chosen, notes)
    return data if left is None else replace(data, training=given.at(_unseen(given, splits, left)))


def _unseen(given: Samples, splits: list[Samples], left: Tensor) -> Tensor:
    """Positions among those left over whose samples are in no split."""
    taken = {digest for split in splits for digest in _digests(split)}
    fresh = [
        at for at, digest in zip(left, _digests(given.at(left)), strict=True) if digest not in taken
    ]
    return torch.stack(fresh) if fresh else left[:0]


def _digests(samples: Samples) -> list[bytes]:
    rows = [samples.columns[each.name].reshape(len(samples), -1) for each in samples.inputs]
    arrays = [row.contiguous().numpy() for row in rows]
    return [
        hashlib.sha256(b"|".join(array[at].tobytes() for array in arrays)).digest()
        for at in range(len(samples))
    ]


def _part(
    stored: Columns,
    end: str,
    inputs: tuple[Input, ...],
    path: Path,
    judge: Judge | None,
    notes: list[str],
) -> Samples:
    present = {each.name: stored.get(each.name + end) for each in inputs}
    if len(inputs) == 1 and present[inputs[0].name] is None and f"x{end}" in stored:
        present[inputs[0].name] = stored[f"x{end}"]  # one input needs no name of its own
    columns: dict[str, Tensor] = {}
    given = _given_lengths(stored, end, inputs, path)
    own: dict[str, Tensor] = {}
    for each in inputs:
        if present[each.name] is not None:
            columns[each.name], counted = _column(each, present[each.name], end, path, notes)
            if counted is not None:
                own[each.name] = counted
    missing = [
        each.name + end
        for each in inputs
        if not (
            each.name in columns or each.zeros or (is_mask(each) and (own or given is not None))
        )
    ]
    if missing:
        raise InvalidData(
            f"{path} has no {', '.join(missing)}; it holds "
            f"{', '.join(sorted(stored)[:10]) or 'nothing'}. Name each column like its input."
        )
    n = next((len(values) for values in columns.values()), 0)
    for each in inputs:
        if each.name in columns:
            continue
        lengths = given if given is not None else _lengths_for(each, own)
        if each.zeros or lengths is None:
            columns[each.name] = zeros_for(each, n)
        else:
            columns[each.name] = mask_of(each, lengths)
            notes.append(f"{each.name} was made of the samples' lengths.")
    labels = read_column_labels(stored, columns, inputs, end, path, judge, notes)
    samples = Samples(columns, inputs, labels)
    kept = without_unlabelled(labels, columns, judge)
    if kept is None:
        return samples
    if not len(kept):
        raise InvalidData(
            f"{shown(path)}: no place of any sample has a label that counts; labels are class "
            "numbers from 0, and negative where none counts."
        )
    notes.append(f"{n - len(kept):,} of {n:,} samples have no label that counts and are left out.")
    return samples.at(kept)


def _lengths_for(mask: Input, own: Mapping[str, Tensor]) -> Tensor | None:
    """The lengths that a mask is made of: those of the input whose name begins most like its own.

    As "decoder_attention_mask" counts the places of "decoder_input_ids".
    """
    if not own:
        return None
    return own[max(own, key=lambda name: _beginning(name, mask.name))]


def _beginning(one: str, other: str) -> int:
    """How many letters two names begin alike with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _given_lengths(
    stored: Columns, end: str, inputs: tuple[Input, ...], path: Path
) -> Tensor | None:
    """The samples' lengths where the file has a column of them, int64 (n,)."""
    names = [*LENGTHS, *(f"{each.name}_{LENGTHS[0]}" for each in inputs)]
    name = next((f"{one}{end}" for one in names if f"{one}{end}" in stored), None)
    if name is None or not any(is_mask(each) for each in inputs):
        return None
    lengths = as_tensor(stored[name], name, path)
    if lengths.dim() != 1 or lengths.is_floating_point() or int(lengths.min()) < 1:
        raise InvalidData(
            f"{shown(path)}: {name} holds the length of each sample, whole numbers (n,) of at "
            f"least 1; got {lengths.dtype} of shape {tuple(lengths.shape)}."
        )
    return lengths.long()


def _column(
    wanted: Input, value: Any, end: str, path: Path, notes: list[str]
) -> tuple[Tensor, Tensor | None]:
    """An input's values (n, *shape), and how many places of each are its own, where known."""
    rows = rows_of(value, wanted.name + end, path)
    if rows is not None:
        return filled(wanted, rows, path, notes)
    values = as_tensor(value, wanted.name + end, path)
    if values.dim() and _lies_flat(values, wanted):
        notes.append(f"{wanted.name} of {tuple(values.shape[1:])} was read as {wanted.shape}.")
        values = values.reshape(len(values), *wanted.shape)
    found = fitted(wanted, values, notes)
    if not wanted.shape or values.dim() < 2 or values.shape[1] == found.shape[1]:
        return found, None
    return found, torch.full((len(found),), min(values.shape[1], found.shape[1]))


def _lies_flat(values: Tensor, wanted: Input) -> bool:
    """Whether a row holds all numbers of a sample in a line, or only sizes of 1 differ."""
    sizes = [[size for size in shape if size != 1] for shape in (values.shape[1:], wanted.shape)]
    if tuple(values.shape[1:]) == wanted.shape:
        return False
    return sizes[0] == sizes[1] or (values.dim() == 2 and values[0].numel() == _numbers(wanted))


def _numbers(wanted: Input) -> int:
    return math.prod(wanted.shape)


def fitted(wanted: Input, values: Tensor, notes: list[str]) -> Tensor:
    """A column as an input takes it: its kind of numbers, and padded or cut to its length.

    Raises:
        InvalidData: shorter samples where nothing is said of padding, or longer ones.
    """
    values = as_kind(values, wanted)
    if values.dim() != len(wanted.shape) + 1 or not wanted.shape:
        return values
    length, found = wanted.shape[0], values.shape[1]
    if found == length or tuple(values.shape[2:]) != wanted.shape[1:]:
        return values
    if wanted.pad is None:
        raise InvalidData(
            f"Input {wanted.name!r} takes samples of length {length}; the data have {found}. Say "
            "what short ones are padded with, or cut them to one length."
        )
    if found > length:
        notes.append(f"{wanted.name} was cut from {found} to {length} places.")
        return values[:, :length].contiguous()
    notes.append(f"{wanted.name} was padded from {found} to {length} places with {wanted.pad:g}.")
    filled = values.new_full((len(values), length, *values.shape[2:]), wanted.pad)
    filled[:, :found] = values
    return filled
