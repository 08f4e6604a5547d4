"""Images and labels from one `.npz`, `.npy` or `.pt` file.

The file holds x, images (n, channels, height, width) or with fewer or other axes that a network's
input shape explains, uint8, uint16 or floats in 0..1; y, class numbers (n,), unless there are no
labels; and, where the test images are given rather than drawn, x_test and y_test. An optional
`classes` says how many classes there are, where the last ones may be missing from y, or names them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from qcore.data.labels import read_labels
from qcore.data.listing import shown
from qcore.data.pairs.targets import TargetKind
from qcore.data.pixels import as_pixels
from qcore.data.stored_arrays import KEYS, as_tensor, read_stored, unread
from qcore.data.stored_targets import read_targets
from qcore.errors import InvalidData

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TensorFile:
    """What a file holds.

    Attributes:
        x: Images (n, channels, height, width), uint8 or float32 in 0..1.
        y: Labels, int64 (n,), or None; maps or pictures (n, ...) where these were asked for.
        x_test: Test images, or None where they are to be drawn from x.
        y_test: Their labels, or None.
        classes: Number of classes; None without labels.
        notes: Sentences on what was converted or looks odd.
        names: Names of the classes in label order; () where the file has none.
    """

    x: Tensor
    y: Tensor | None
    x_test: Tensor | None
    y_test: Tensor | None
    classes: int | None
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def read_tensors(
    path: Path, shape: Shape | None = None, targets: TargetKind | None = None
) -> TensorFile:
    """Read and check a file of tensors; nothing in it is run.

    Args:
        path: The file.
        shape: (channels, height, width) that the network takes: it decides which axis is which.
            Without one, a last axis of 1 or 3 is taken as channels where the second is neither.
        targets: What labels are of a network that gives maps or pictures; None for classes.

    Raises:
        DataUnavailable: there is no such file.
        InvalidData: it is damaged, too large, lacks x, or holds what cannot be images or labels.
    """
    with unread(path):
        return _read(path, shape, targets)


def _read(path: Path, shape: Shape | None, targets: TargetKind | None) -> TensorFile:
    notes: list[str] = []
    stored = read_stored(path, notes)
    unknown = sorted(set(stored) - set(KEYS))
    if "x" not in stored:
        raise InvalidData(
            f"{shown(path)} has no x; it holds {', '.join(sorted(stored)[:10]) or 'nothing'}. Save "
            "the images as x and the class numbers as y."
        )
    if unknown:
        notes.append(f"{shown(path.name)} also holds {', '.join(unknown[:10])}, not used.")
    x = _images(stored["x"], "x", path, shape, notes)
    x_test = None
    counts = {"y": len(x)}
    if "x_test" in stored:
        x_test = _images(stored["x_test"], "x_test", path, shape, notes)
        if x_test.shape[1:] != x.shape[1:]:
            raise InvalidData(
                f"{shown(path)}: x has images of {tuple(x.shape[1:])}, "
                f"x_test of {tuple(x_test.shape[1:])}."
            )
        counts["y_test"] = len(x_test)
        if (stored.get("y") is None) != (stored.get("y_test") is None):
            raise InvalidData(f"{shown(path)} has labels for only one of x and x_test; give both.")
    if targets is not None:
        y, y_test = (*read_targets(stored, counts, targets, path, notes), None)[:2]
        return TensorFile(x, y, x_test, y_test, None, tuple(notes))
    labels = read_labels(stored, counts, path, notes)
    y, y_test = (*labels.numbers, None)[:2]
    return TensorFile(x, y, x_test, y_test, labels.classes, tuple(notes), labels.names)


def _images(value: Any, what: str, path: Path, shape: Shape | None, notes: list[str]) -> Tensor:
    x = as_tensor(value, what, path)
    if x.dim() < 2 or 0 in x.shape:
        raise InvalidData(
            f"{shown(path)}: {what} must have the shape (n, channels, height, width), none of them "
            f"0; got {tuple(x.shape)}."
        )
    x = _by_guess(x, what, notes) if shape is None else _by_shape(x, what, shape, notes)
    if x.dim() != 4:
        wanted = "channels, height, width" if shape is None else ", ".join(map(str, shape))
        raise InvalidData(
            f"{shown(path)}: {what} must have the shape (n, {wanted}), none of them 0; got "
            f"{tuple(x.shape)}."
        )
    try:
        return as_pixels(x.contiguous(), what, notes)
    except InvalidData as error:
        raise InvalidData(f"{shown(path)}: {error}") from error


def _by_shape(x: Tensor, what: str, shape: Shape, notes: list[str]) -> Tensor:
    """Bring the axes into the network's order; axes of length 1 come and go."""
    given = tuple(x.shape[1:])
    if given == shape:
        return x
    channels, height, width = shape
    if given == (height, width, channels) and channels > 1:
        notes.append(f"{what} has its channels last; they were moved first.")
        return x.permute(0, 3, 1, 2)
    if [size for size in given if size > 1] == [size for size in shape if size > 1]:
        notes.append(f"{what} of {given} was read as {shape}, as the network takes it.")
        return x.reshape(len(x), *shape)
    if x.dim() == 2 and given[0] == channels * height * width:
        notes.append(f"{what} of {given} was read as {shape}, row by row.")
        return x.reshape(len(x), *shape)
    return _by_guess(x, what, notes)


def _by_guess(x: Tensor, what: str, notes: list[str]) -> Tensor:
    if x.dim() == 3:
        return x.unsqueeze(1)
    if x.dim() == 4 and x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3):
        notes.append(f"{what} has its channels last; they were moved first.")
        return x.permute(0, 3, 1, 2)
    return x
