"""The images of a folder, drawn by a seed: to calibrate on, to search on, to test on, to train on.

The seed orders the files. Calibration and search take the first that can be read, so that a
damaged file costs no split an image.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qcore.data.image_folder import (
    FolderImages,
    Parts,
    Read,
    Steps,
    remarks_on,
)
from qcore.data.skipped import Skipped
from qcore.data.splits import draw
from qcore.errors import InvalidParams

MOST_BYTES = 16 * 2**30
"""Of test images, at one byte a value; of large inputs with many channels fewer are used."""

ENOUGH_TO_TELL = 64
"""Images after which a folder of the wrong kind is refused before its test images are read."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Some images of a folder.

    Attributes:
        pixels: (n, channels, height, width), uint8, or float32 in 0..1; of other files (n, ...).
        labels: Class numbers, int64 (n,), or None.
        used: Positions of the files in their part, int64 (n,).
        beside: What else each file gave, (n, ...); None where there is nothing else.
    """

    pixels: Tensor
    labels: Tensor | None
    used: Tensor
    beside: Tensor | None = None


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
    parts: Parts,
    counts: tuple[int, int],
    seed: int,
    steps: Steps,
    *,
    most: int,
    training: bool,
    sample_bytes: int = 0,
) -> FolderSplits:
    """Draw and read images of a folder.

    Args:
        name: Data name, for messages.
        parts: The files of the folder, by what they are for.
        counts: Images to calibrate on, to search on.
        seed: Which are drawn; same seed, same images.
        steps: How files are prepared.
        most: Most test images, and most training images.
        training: Also read images to train on, of a folder that has a part to test on.
        sample_bytes: Memory one sample takes; 0 is a byte for each value of `steps.input_shape`.

    Raises:
        InvalidParams: more images are asked for than there are.
        InvalidData: no images, or more than a few that cannot be used; names them.
    """
    train, held_out, val = parts.train, parts.held_out, parts.val
    notes, what = list(parts.notes), f"{train.reader.kind.word}s"
    if val is not None and len(val) < counts[1]:
        notes.append(
            f"The validation part has only {len(val)} {what} for {counts[1]} search {what}: these "
            "are drawn from the training part too, and it is not used."
        )
        val = None
    elif val is not None:
        notes.append(f"Search {what} are drawn from the validation part.")
    draw(len(train), counts[0], counts[1] if val is None else 0, seed, name, what)
    left = len(train) - sum(counts) if held_out is None else len(held_out)
    if left < 1:
        raise _none_to_test(name, len(train), counts, what)
    most = max(1, min(most, MOST_BYTES // (sample_bytes or math.prod(steps.input_shape))))
    if left > most:
        notes.append(f"{most:,} of {left:,} test {what} are used, by the seed.")
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
        remarks_on([calibration, search], train.reader)
    # of an undivided folder, what was not looked at so far is there to test on
    rest = (order if held_out is None else _order(held_out, seed))[:most]
    if not len(rest):
        raise _none_to_test(name, len(train), counts, what)
    test = (held_out or train).read(rest.sort().values.tolist(), steps, skipped)
    read = [(train, calibration), (val or train, search), (held_out or train, test)]
    # the order is random, so that all classes are there
    unused = order[:most].sort().values.tolist() if training and held_out is not None else []
    if unused:
        further = Skipped(len(unused))
        read.append((train, train.read(unused, steps, further)))
    notes += remarks_on([one for _, one in read], train.reader)
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


def _none_to_test(name: str, files: int, counts: tuple[int, int], what: str) -> InvalidParams:
    return InvalidParams(
        f"{name} has {files} {what}: {counts[0]} for calibration and {counts[1]} for search leave "
        "none to test on. Ask for fewer."
    )


def _drawn(files: FolderImages, read: Read) -> Drawn:
    used = torch.from_numpy(read.used)
    labels = None if files.labels is None else torch.tensor(files.labels, dtype=torch.int64)[used]
    beside = None if read.beside is None else torch.from_numpy(read.beside)
    return Drawn(torch.from_numpy(read.pixels), labels, used, beside)
