"""Labels of a file of tensors that are maps or pictures, for networks that give these."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qcore.data.listing import shown
from qcore.data.pairs.targets import IGNORED, TargetKind, as_labels
from qcore.data.stored_arrays import as_tensor
from qcore.errors import InvalidData

_ONE_HOT = 4
"""Dimensions of maps that give a number for each class, (n, classes, height, width)."""


def read_targets(
    stored: Mapping[str, Any],
    counts: Mapping[str, int],
    kind: TargetKind,
    path: Path,
    notes: list[str],
) -> tuple[Tensor | None, ...]:
    """Maps of class numbers, int16 (n, ...), or pictures and other numbers, float32 (n, ...).

    Args:
        stored: The arrays.
        counts: Names of the arrays of labels, and how many images each is for.
        kind: What they are.
        path: Of the file, for messages.
        notes: Gets a sentence on what was converted.

    Raises:
        InvalidData: another number of them, or no classes of the network.
    """
    present = {what: as_tensor(stored[what], what, path) for what in counts if what in stored}
    for what, values in present.items():
        if values.dim() < 1 or len(values) != counts[what] or values.is_complex():
            raise InvalidData(
                f"{shown(path)}: {what} is {values.dtype} of shape {tuple(values.shape)}; each of "
                f"the {counts[what]:,} images has its own target."
            )
    if kind.classes is None:
        return tuple(_picture(present.get(what), what, path) for what in counts)
    maps = {what: _map(values, kind, what, path, notes) for what, values in present.items()}
    if not maps:
        return tuple(None for _ in counts)
    labels = as_labels(torch.cat(list(maps.values())), kind, notes)
    parts = dict(zip(maps, labels.split([len(values) for values in maps.values()]), strict=True))
    return tuple(parts.get(what) for what in counts)


def _picture(values: Tensor | None, what: str, path: Path) -> Tensor | None:
    if values is None:
        return None
    scale = {torch.uint8: 255, torch.uint16: 65535}.get(values.dtype, 1)
    found = values.float() / scale
    if not bool(found.isfinite().all()):
        raise InvalidData(f"{shown(path)}: {what} holds NaN or infinity; remove those samples.")
    return found[:, None] if found.dim() == 1 else found


def _map(values: Tensor, kind: TargetKind, what: str, path: Path, notes: list[str]) -> Tensor:
    classes = kind.classes or 0
    if not kind.binary and values.dim() == _ONE_HOT and values.shape[1] == classes > 1:
        one_hot = bool(((values == 0) | (values == 1)).all())
        if one_hot and bool((values.long().sum(1) == 1).all()):
            notes.append(f"{what} is one-hot, of {classes} classes; it became class numbers.")
            values = values.long().argmax(1)
    if not kind.binary and values.dim() == _ONE_HOT and values.shape[1] == 1:
        values = values[:, 0]
    if values.is_floating_point() and not bool((values == values.round()).all()):
        raise InvalidData(
            f"{shown(path)}: {what} holds fractions; maps are class numbers, whole numbers from 0."
        )
    whole = values.long()
    low, high = int(whole.min()), int(whole.max())
    fine = (whole < classes) | (whole == IGNORED)
    if low < -1 or not bool(fine.all()):
        at = int((~fine | (whole < -1)).flatten(1).any(1).nonzero()[0]) if whole.dim() > 1 else 0
        raise InvalidData(
            f"{shown(path)}: {what} of sample {at:,} holds class {high if high >= classes else low}"
            f"; the network has {classes} classes, 0 to {classes - 1}, and -1 or {IGNORED} is "
            "where none counts."
        )
    if whole.dim() < 2:
        raise InvalidData(
            f"{shown(path)}: {what} holds one number a sample, and the judge 'map' needs a class "
            "number at each place, (n, height, width)."
        )
    return whole.to(torch.int16)
