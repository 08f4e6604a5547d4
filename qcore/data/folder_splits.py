"""The images of a folder, drawn by a seed: to calibrate on, to search on, to test on, to train on.

The seed orders the files. Calibration and search take the first that can be read, so that a
damaged file costs no split an image.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qcore.data.image_folder import (
    FolderImages,
    Read,
    labelled_folder,
    plain_folder,
    remarks_on,
)
from qcore.data.skipped import Skipped
from qcore.data.splits import draw
from qcore.errors import InvalidParams
from qcore.models.preprocessing import Preprocessing

MOST_BYTES = 16 * 2**30
"""Of test images, at one byte a value; of large inputs with many channels fewer are used."""

ENOUGH_TO_TELL = 64
"""Images after which a folder of the wrong kind is refused before its test images are read."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Some images of a folder.

    Attributes:
        pixels: (n, channels, height, width), uint8, or float32 in 0..1.
        labels: Class numbers, int64 (n,), or None.
        used: Positions of the files in their part, int64 (n,).
    """

    pixels: Tensor
    labels: Tensor | None
    used: Tensor


@dataclass(frozen=True, eq=False)
class FolderSplits:
    """A folder of images, split.

    Attributes:
        class_names: In label order; empty without labels.
        splits: Images to calibrate on, to search on, to test on.
        training: Those left to train on; None where not asked for, or where there are none.
        notes: Sentences on what was left out, converted, or used for what.
    """

    class_names: tuple[str, ...]
    splits: tuple[Drawn, Drawn, Drawn]
    training: Drawn | None
    notes: tuple[str, ...]


def split_folder(
    name: str,
    path: Path,
    counts: tuple[int, int],
    seed: int,
    steps: Preprocessing,
    *,
    labelled: bool,
    most: int,
    training: bool,
) -> FolderSplits:
    """Draw and read images of a folder.

    Args:
        name: Data name, for messages.
        path: The folder.
        counts: Images to calibrate on, to search on.
        seed: Which are drawn; same seed, same images.
        steps: How files are prepared.
        labelled: Whether its sub-folders are parts and classes.
        most: Most test images, and most training images.
        training: Also read images to train on, of a folder that has a part to test on.

    Raises:
        InvalidParams: more images are asked for than there are.
        InvalidData: no images, or more than a few that cannot be used; names them.
        DataUnavailable: there is no such folder.
    """
    parts = labelled_folder(path) if labelled else plain_folder(path)
    train, held_out, val = parts.train, parts.held_out, parts.val
    notes = list(parts.notes)
    if val is not None and len(val) < counts[1]:
        notes.append(
            f"The validation part has only {len(val)} images for {counts[1]} search images: these "
            "are drawn from the training part too, and it is not used."
        )
        val = None
    elif val is not None:
        notes.append("Search images are drawn from the validation part.")
    draw(len(train), counts[0], counts[1] if val is None else 0, seed, name)
    left = len(train) - sum(counts) if held_out is None else len(held_out)
    if left < 1:
        raise _none_to_test(name, len(train), counts)
    most = max(1, min(most, MOST_BYTES // math.prod(steps.input_shape)))
    if left > most:
        notes.append(f"{most:,} of {left:,} test images are used, by the seed.")
    skipped = Skipped(sum(counts) + min(left, most))
    order = _order(train, seed)
    calibration = train.read(order.tolist(), steps, skipped, counts[0])
    order = order[calibration.looked :]
    if val is None:
        search = train.read(order.tolist(), steps, skipped, counts[1])
        order = order[search.looked :]
    else:
        search = val.read(_order(val, seed).tolist(), steps, skipped, counts[1])
    if sum(counts) >= ENOUGH_TO_TELL:
        remarks_on([calibration, search])
    # of an undivided folder, what was not looked at so far is there to test on
    rest = (order if held_out is None else _order(held_out, seed))[:most]
    if not len(rest):
        raise _none_to_test(name, len(train), counts)
    test = (held_out or train).read(rest.sort().values.tolist(), steps, skipped)
    read = [(train, calibration), (val or train, search), (held_out or train, test)]
    # the order is random, so that all classes are there
    unused = order[:most].sort().values.tolist() if training and held_out is not None else []
    if unused:
        further = Skipped(len(unused))
        read.append((train, train.read(unused, steps, further)))
    notes += remarks_on([one for _, one in read])
    notes += filter(None, [skipped.note(), further.note() if unused else ""])
    drawn = [_drawn(files, one) for files, one in read]
    return FolderSplits(
        train.class_names,
        (drawn[0], drawn[1], drawn[2]),
        drawn[3] if unused else None,
        tuple(dict.fromkeys(notes)),
    )


def _order(files: FolderImages, seed: int) -> Tensor:
    return torch.randperm(len(files), generator=torch.Generator().manual_seed(seed))


def _none_to_test(name: str, images: int, counts: tuple[int, int]) -> InvalidParams:
    return InvalidParams(
        f"{name} has {images} images: {counts[0]} for calibration and {counts[1]} for search leave "
        "none to test on. Ask for fewer."
    )


def _drawn(files: FolderImages, read: Read) -> Drawn:
    used = torch.from_numpy(read.used)
    labels = None if files.labels is None else torch.tensor(files.labels, dtype=torch.int64)[used]
    return Drawn(torch.from_numpy(read.pixels), labels, used)
