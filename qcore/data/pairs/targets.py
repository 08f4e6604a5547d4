"""Targets: the file that says what a network should give for an image, as a map or a picture.

A target goes the way of its image: scaled and cropped alike, at its own size.
"""

import warnings
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from qcore.data.image_files import UNREADABLE, load_array, read_image, resize_and_crop
from qcore.data.listing import shown
from qcore.data.stored_arrays import why
from qcore.errors import InvalidData
from qcore.models.preprocessing import Preprocessing

IGNORED = 255
"""Value of a mask where no class counts."""

MOST_CLASSES = 30_000
_TURNED = range(5, 9)
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class TargetKind:
    """What targets are.

    Attributes:
        classes: Classes of a map; None where targets are pictures.
        binary: Whether a map says yes and no: 0 and 1, or 0 and 255.
        channels: Channels of a picture.
    """

    classes: int | None
    binary: bool = False
    channels: int = 3


def size_of(path: Path) -> tuple[int, int]:
    """(height, width) of a file as it is read: upright.

    Raises:
        InvalidData: it cannot be opened; names it.
    """
    try:
        if path.suffix.lower() == ".npy":
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            rows = shape[-2:] if len(shape) < 3 or shape[0] <= shape[-1] else shape[:2]
            return int(rows[0]), int(rows[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                width, height = image.size
                turned = image.getexif().get(_ORIENTATION, 1) in _TURNED
    except (*UNREADABLE, IndexError) as error:
        raise InvalidData(f"{shown(path)} cannot be read as an image; remove it.") from error
    return (width, height) if turned else (height, width)


def target_size(image: Path, target: Path, steps: Preprocessing) -> tuple[int, int]:
    """(height, width) that a target has once its image is scaled and cropped.

    Raises:
        InvalidData: its size is no multiple of the image's; says both.
    """
    height, width = size_of(image)
    high, wide = size_of(target)
    if (height, width) == (steps.height, steps.width) and steps.cover == (height, width):
        return high, wide
    factor = Fraction(high, height)
    rows, columns = steps.height * factor, steps.width * factor
    if high * width != wide * height or rows.denominator > 1 or columns.denominator > 1:
        raise InvalidData(
            f"{shown(target)} is {high}x{wide} and its input {height}x{width} (height x width). "
            "Targets are of their input's size, or a fixed multiple of it; or the inputs are "
            f"{steps.height}x{steps.width}, as the network takes them, and are not scaled."
        )
    return int(rows), int(columns)


def read_target(
    path: Path, steps: Preprocessing, size: tuple[int, int], kind: TargetKind
) -> np.ndarray:
    """A target, scaled and cropped as its image is.

    Args:
        path: The file.
        steps: Of the image.
        size: (height, width) of the result.
        kind: What targets are.

    Returns:
        A map of the file's numbers, int16 (height, width); or a picture (channels, height, width),
        float32 in 0..1 (any numbers from a `.npy` file of floats).

    Raises:
        InvalidData: it cannot be read, or is no map of the network's classes; names it.
    """
    high, wide = size
    resize = steps.resize and round(steps.resize * min(size) / min(steps.height, steps.width))
    own = replace(steps, height=high, width=wide, resize=resize)
    if kind.classes is None:
        if path.suffix.lower() == ".npy":
            return _numbers(path, kind.channels, size)
        found = read_image(path, replace(own, channels=kind.channels))
        if kind.channels == 3 and ("grey" in found.remarks or _has_palette(path)):
            raise InvalidData(
                f"{shown(path)} is grey or has a palette, and the network gives colour images. If "
                "it is a map of class numbers, add the network with the judge map."
            )
        pixels = found.pixels
        return pixels if pixels.dtype != np.uint8 else pixels.astype(np.float32) / 255
    numbers = _class_numbers(path)
    image = Image.fromarray(numbers.astype(np.int32))
    fitted = resize_and_crop(image, replace(own, channels=1, interpolation="nearest"), path)
    values = np.asarray(fitted)
    _check_classes(values, kind, path)
    return values.astype(np.int16)


def _has_palette(path: Path) -> bool:
    with Image.open(path) as image:
        return image.mode == "P"


def _class_numbers(path: Path) -> np.ndarray:
    """The numbers of a mask as they are stored: places of a palette, or grey values."""
    if path.suffix.lower() == ".npy":
        values = _stored(path)
        if values.ndim == 3 and 1 in (values.shape[0], values.shape[-1]):
            values = values[0] if values.shape[0] == 1 else values[..., 0]
        if values.ndim != 2 or (values.dtype.kind not in "bui" and (values % 1).any()):
            raise InvalidData(
                f"{shown(path)} is {values.dtype} of shape {values.shape}; a map is whole numbers "
                "(height, width)."
            )
        return values
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                image.load()
                upright = ImageOps.exif_transpose(image)
    except UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise InvalidData(
            f"{shown(path)} cannot be read as an image ({reason}); remove it."
        ) from error
    mode = upright.mode
    if mode in ("P", "L", "1", "I") or mode.startswith("I;16"):
        return np.asarray(upright).astype(np.int32)
    values = np.asarray(upright)
    colours = 1 if mode == "LA" else 3
    if values.ndim == 3 and mode in ("LA", "RGB", "RGBA"):
        first = values[..., 0]
        if all((values[..., at] == first).all() for at in range(1, colours)):
            return first.astype(np.int32)
    raise InvalidData(
        f"{shown(path)} is in colours (Pillow mode {mode!r}); class numbers are grey values or "
        "places of a palette. Save each class's number as its grey value."
    )


def _check_classes(values: np.ndarray, kind: TargetKind, path: Path) -> None:
    if kind.classes is None:
        return
    found = np.unique(values)
    allowed = (0, 1, IGNORED) if kind.binary else ()
    wrong = [int(v) for v in found if v not in allowed] if kind.binary else []
    if not kind.binary:
        wrong = [int(v) for v in found if (v >= kind.classes and v != IGNORED) or v < 0]
    if not wrong:
        return
    several = f"{', '.join(map(str, wrong[:6]))}{' ...' if len(wrong) > 6 else ''}"
    if kind.binary:
        raise InvalidData(
            f"{shown(path)} holds {several}; the network says yes or no at each place: 0 and 1, or "
            f"0 and 255 (0, 1 and {IGNORED} where 255 does not count)."
        )
    raise InvalidData(
        f"{shown(path)} holds class {several}; the network has {kind.classes} classes, 0 to "
        f"{kind.classes - 1}, and {IGNORED} is where none counts."
    )


def _stored(path: Path) -> np.ndarray:
    try:
        return load_array(path)
    except InvalidData:
        raise
    except UNREADABLE as error:
        raise InvalidData(
            f"{shown(path)} cannot be read as an array of numbers ({why(error)}); remove it."
        ) from error


def _numbers(path: Path, channels: int, size: tuple[int, int]) -> np.ndarray:
    """A `.npy` file as a picture of any numbers, at its own size."""
    values = _stored(path)
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 3 and values.shape[0] != channels and values.shape[-1] == channels:
        values = values.transpose(2, 0, 1)
    if values.shape != (channels, *size) or values.dtype.kind not in "buif":
        raise InvalidData(
            f"{shown(path)} is {values.dtype} of shape {values.shape}; ({channels}, {size[0]}, "
            f"{size[1]}) is needed, and arrays are not scaled."
        )
    scale = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(values.dtype, 1)
    found = values.astype(np.float32) / scale
    if not np.isfinite(found).all():
        raise InvalidData(f"{shown(path)} holds NaN or infinity; remove it.")
    return np.ascontiguousarray(found)


def as_labels(values: torch.Tensor, kind: TargetKind, notes: list[str]) -> torch.Tensor:
    """Targets of a whole set as a judge takes them: places that do not count become -1.

    A set of yes-or-no masks that holds 0 and 255 alone says yes with 255.

    Args:
        values: As `read_target` gave them, (n, ...).
        kind: What targets are.
        notes: Gets a sentence on what 255 was taken for.
    """
    if kind.classes is None:
        return values
    ignored = values == IGNORED
    if not bool(ignored.any()) or (kind.classes > IGNORED and not kind.binary):
        return values
    if kind.classes == 2 and not bool((values == 1).any()):
        notes.append(f"Masks hold 0 and {IGNORED} alone; {IGNORED} was read as class 1.")
        return ignored.to(values.dtype)
    notes.append(f"Places of masks with {IGNORED} do not count.")
    return values.masked_fill(ignored, -1)
