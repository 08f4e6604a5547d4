"""Samples of unequal length, filled up to the length that a network takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qcore.data.listing import shown
from qcore.data.samples import as_kind
from qcore.data.stored_arrays import as_tensor
from qcore.errors import InvalidData
from qcore.example_inputs import KINDS
from qcore.inputs import Input

IGNORED = -100
"""What labels of unequal length are filled up with: places that do not count."""


def rows_of(value: Any, what: str, path: Path) -> list[Tensor] | None:
    """The samples of a column one by one, where they are of unequal length; else None.

    Raises:
        InvalidData: a sample is no array of numbers.
    """
    if not isinstance(value, list | tuple) or not all(_is_row(each) for each in value):
        return None
    rows = [
        torch.as_tensor(each) if _empty(each) else as_tensor(each, what, path) for each in value
    ]
    if len({row.shape for row in rows}) < 2:
        return None
    if any(row.dim() == 0 or row.shape[1:] != rows[0].shape[1:] for row in rows):
        raise InvalidData(
            f"{shown(path)}: the samples of {what} may differ in length, their first dimension, "
            f"alone; there are {_shapes(rows)}."
        )
    return rows


def filled(
    wanted: Input, rows: Sequence[Tensor], path: Path, notes: list[str]
) -> tuple[Tensor, Tensor]:
    """Rows of unequal length as an input takes them.

    Args:
        wanted: The input; a row of numbers goes along its only dimension above 1.
        rows: The samples, (length, ...) each.
        path: Of the file, for messages.
        notes: Gets a sentence on what was filled up or cut.

    Returns:
        (values (n, *shape), how many places of each are its own, int64 (n,)).

    Raises:
        InvalidData: nothing is said of padding, a row is empty, or has another shape.
    """
    place, name = shown(path), wanted.name
    along = [size for size in wanted.shape if size != 1]
    inner = tuple(rows[0].shape[1:])
    flat = not inner and len(along) <= 1
    shape = (max(wanted.shape, default=1),) if flat else wanted.shape
    if tuple(shape[1:]) != inner:
        raise InvalidData(
            f"{place}: input {name!r} takes samples of shape {wanted.shape}; {name} holds "
            f"{_shapes(rows)}."
        )
    lengths = torch.tensor([len(row) for row in rows])
    if wanted.pad is None:
        raise InvalidData(
            f"{place}: the samples of {name} have {int(lengths.min())} to {int(lengths.max())} "
            f"places, and input {name!r} takes {shape[0]}. Say what short ones are padded with "
            f"(=0 behind the input), or cut them to one length."
        )
    if not bool(lengths.all()):
        empty = int((lengths == 0).nonzero()[0])
        raise InvalidData(f"{place}: {name} of sample {empty:,} is empty; remove that sample.")
    kind = KINDS[wanted.dtype]
    values = torch.full((len(rows), *shape), wanted.pad, dtype=torch.double).to(kind)
    for at, row in enumerate(rows):
        part = as_kind(row, wanted)[: shape[0]]
        values[at, : len(part)] = part
    short, long = int((lengths < shape[0]).sum()), int((lengths > shape[0]).sum())
    if short:
        notes.append(f"{short:,} samples of {name} were padded to {shape[0]} with {wanted.pad:g}.")
    if long:
        notes.append(f"{long:,} samples of {name} were cut to {shape[0]} places.")
    return values.reshape(len(rows), *wanted.shape), lengths.clamp_max(shape[0])


def filled_labels(rows: Sequence[Tensor], length: int, path: Path) -> Tensor:
    """Labels place by place, of unequal length: filled up with places that do not count.

    Raises:
        InvalidData: they are no whole numbers.
    """
    if any(row.is_floating_point() or row.dim() != 1 for row in rows if len(row)):
        raise InvalidData(
            f"{shown(path)}: labels of unequal length are whole numbers, one at each place; there "
            f"are {_shapes(rows)} of {rows[0].dtype}."
        )
    values = torch.full((len(rows), length), IGNORED)
    for at, row in enumerate(rows):
        values[at, : len(row)] = row[:length].long()
    return values


def _is_row(value: Any) -> bool:
    return hasattr(value, "shape") or isinstance(value, list | tuple)


def _empty(value: Any) -> bool:
    return isinstance(value, list | tuple) and not value


def _shapes(rows: Sequence[Tensor]) -> str:
    found = list(dict.fromkeys(str(tuple(row.shape)) for row in rows))
    return ", ".join(found[:3]) + (" and others" if len(found) > 3 else "")
