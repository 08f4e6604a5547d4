"""Samples from the columns of a file: one column for each input of a network, named like it.

The file is a `.npz`, a `.pt` or a `.safetensors`. Beside the inputs it may hold `y`, the labels, as
the network's judge takes them; and with "_test" behind each name the test samples, where these are
given rather than drawn.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from qcore.data.samples import Samples, as_kind, zeros_for
from qcore.data.splits import Data, assemble, draw
from qcore.data.stored_arrays import as_tensor, read_stored
from qcore.errors import InvalidData, InvalidParams
from qcore.models.inputs import Input

LABELS, TEST = "y", "_test"

Columns = Mapping[str, Tensor]


def column_data(
    name: str,
    key: str,
    path: Path | None,
    inputs: tuple[Input, ...],
    counts: tuple[int, int],
    seed: int,
    training: bool,
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

    Raises:
        InvalidData: it is no file of columns, a column is missing, or does not fit its input.
        InvalidParams: more samples are asked for than there are.
    """
    if key != "tensors" or path is None:
        raise InvalidData(
            f"This network takes {'; '.join(each.words for each in inputs)}, and {key} gives "
            "images. Use tensors:/path, a file with a column for each input."
        )
    notes: list[str] = []
    stored = {n: as_tensor(v, n, path) for n, v in read_stored(path, notes).items()}
    given, test = _part(stored, "", inputs, path, notes), None
    if any(f"{each.name}{TEST}" in stored for each in inputs):
        test = _part(stored, TEST, inputs, path, notes)
        if (test.labels is None) != (given.labels is None):
            raise InvalidData(
                f"{path} has labels for only one of its two parts; give y and y_test."
            )
    known = {*(each.name for each in inputs), LABELS}
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
    chosen = draw(len(given), *counts, seed, name)
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
    stored: Columns, end: str, inputs: tuple[Input, ...], path: Path, notes: list[str]
) -> Samples:
    present = {each.name: stored.get(each.name + end) for each in inputs}
    if len(inputs) == 1 and present[inputs[0].name] is None and f"x{end}" in stored:
        present[inputs[0].name] = stored[f"x{end}"]  # one input needs no name of its own
    missing = [each.name + end for each in inputs if present[each.name] is None and not each.zeros]
    if missing:
        raise InvalidData(
            f"{path} has no {', '.join(missing)}; it holds "
            f"{', '.join(sorted(stored)[:10]) or 'nothing'}. Name each column like its input."
        )
    n = next((len(v) for v in present.values() if v is not None), 0)
    columns = {}
    for each in inputs:
        values = present[each.name]
        columns[each.name] = zeros_for(each, n) if values is None else fitted(each, values, notes)
    labels = stored.get(LABELS + end)
    if labels is not None and not labels.is_floating_point():
        labels = labels.long()
    return Samples(columns, inputs, labels)


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
