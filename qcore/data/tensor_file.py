"""Images and labels from one `.npz` or `.pt` file.

The file holds x, images (n, channels, height, width) or (n, height, width), uint8 or floats in
0..1; y, class numbers (n,), unless there are no labels; and, where the test images are given
rather than drawn, x_test and y_test. An optional `classes` says how many classes there are, where
the last ones may be missing from y.
"""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcore.errors import DataUnavailable, InvalidConfig, InvalidData

MOST_BYTES = 8 * 2**30
KEYS = ("x", "y", "x_test", "y_test", "classes")
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, eq=False)
class TensorFile:
    """What a file holds.

    Attributes:
        x: Images (n, channels, height, width), uint8 or float32 in 0..1.
        y: Labels, int64 (n,), or None.
        x_test: Test images, or None where they are to be drawn from x.
        y_test: Their labels, or None.
        classes: Number of classes; None without labels.
        notes: Sentences on what was converted or looks odd.
    """

    x: Tensor
    y: Tensor | None
    x_test: Tensor | None
    y_test: Tensor | None
    classes: int | None
    notes: tuple[str, ...] = ()


def read_tensors(path: Path) -> TensorFile:
    """Read and check a file of tensors; nothing in it is run.

    Raises:
        DataUnavailable: there is no such file.
        InvalidData: it is damaged, too large, lacks x, or holds what cannot be images or labels.
    """
    stored = _read(path)
    unknown = sorted(set(stored) - set(KEYS))
    if "x" not in stored:
        raise InvalidData(
            f"{path} has no x; it holds {', '.join(sorted(stored)[:10]) or 'nothing'}. Save the "
            "images as x and the class numbers as y."
        )
    notes = [f"{path.name} also holds {', '.join(unknown[:10])}, not used."] if unknown else []
    x = _images(stored["x"], "x", path, notes)
    y = _labels(stored.get("y"), "y", len(x), path)
    x_test = y_test = None
    if "x_test" in stored:
        x_test = _images(stored["x_test"], "x_test", path, [])
        if x_test.shape[1:] != x.shape[1:]:
            raise InvalidData(
                f"{path}: x has images of {tuple(x.shape[1:])}, "
                f"x_test of {tuple(x_test.shape[1:])}."
            )
        y_test = _labels(stored.get("y_test"), "y_test", len(x_test), path)
        if (y is None) != (y_test is None):
            raise InvalidData(f"{path} has labels for only one of x and x_test; give both.")
    classes = _classes(stored.get("classes"), (y, y_test), path, notes)
    return TensorFile(x, y, x_test, y_test, classes, tuple(notes))


def read_arrays_of(path: Path) -> dict[str, Tensor]:
    """Every array of a file of tensors under its name; nothing in it is run.

    Raises:
        DataUnavailable: there is no such file.
        InvalidData: it is damaged or too large, or holds what are no numbers.
    """
    return {name: _tensor(value, name, path) for name, value in _read(path).items()}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataUnavailable(f"There is no file {path}.")
    size = path.stat().st_size
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(entry.file_size for entry in archive.infolist()))
        if size > MOST_BYTES:
            raise InvalidData(
                f"{path} holds {size / 1e9:.1f} GB; at most {MOST_BYTES / 1e9:.1f} GB are read "
                "into memory. Use fewer images."
            )
        if path.suffix.lower() == ".safetensors":
            # loaders of networks are not needed by any other file
            from qcore.models.loading.weights import read_weights

            return dict(read_weights(path, most=MOST_BYTES))
        if path.suffix.lower() == ".npz":
            # numpy leaves a file open that it cannot read
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (InvalidData, DataUnavailable, InvalidConfig):
        raise
    except _UNREADABLE as error:
        raise InvalidData(
            f"{path} cannot be read as plain tensors ({str(error).splitlines()[0][:200]}). Save "
            "it with numpy.savez(path, x=x, y=y) or torch.save({'x': x, 'y': y}, path)."
        ) from error
    if not isinstance(stored, Mapping):
        raise InvalidData(f"{path} holds a {type(stored).__name__}; save {{'x': x, 'y': y}}.")
    return {str(key): value for key, value in stored.items()}


def _tensor(value: Any, what: str, path: Path) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "buif" and value.dtype.itemsize <= 8:
        return torch.from_numpy(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="))))
    raise InvalidData(f"{path}: {what} must be an array of numbers; got {type(value).__name__}.")


def _images(value: Any, what: str, path: Path, notes: list[str]) -> Tensor:
    x = _tensor(value, what, path)
    if x.dim() == 3:
        x = x.unsqueeze(1)
    if x.dim() != 4 or 0 in x.shape:
        raise InvalidData(
            f"{path}: {what} must have the shape (n, channels, height, width), none of them 0; "
            f"got {tuple(x.shape)}."
        )
    if x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.permute(0, 3, 1, 2)
        notes.append(f"{what} has its channels last; they were moved first.")
    x = x.contiguous()
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        raise InvalidData(
            f"{path}: {what} is {x.dtype}; images are uint8 (0..255) or floats in 0..1."
        )
    x = x.float()
    if not bool(x.isfinite().all()):
        bad = int((~x.isfinite().flatten(1).all(1)).sum())
        raise InvalidData(f"{path}: {bad} images of {what} hold NaN or infinity; remove them.")
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        hint = (
            "these look like 0..255: save them as uint8"
            if low >= 0 and high <= 255
            else "these look normalised already: save them as they were before, and give the mean "
            "and standard deviation with the network"
        )
        raise InvalidData(f"{path}: {what} reaches from {low:g} to {high:g}, not 0..1; {hint}.")
    return x


def _labels(value: Any, what: str, count: int, path: Path) -> Tensor | None:
    if value is None:
        return None
    y = _tensor(value, what, path)
    if y.shape != (count,):
        raise InvalidData(
            f"{path}: {what} must have one class number per image, shape ({count},); got "
            f"{tuple(y.shape)}."
        )
    if y.is_floating_point() or y.dtype == torch.bool:
        raise InvalidData(f"{path}: {what} is {y.dtype}; class numbers are whole numbers from 0.")
    y = y.to(torch.int64)
    if int(y.min()) < 0:
        raise InvalidData(f"{path}: {what} goes down to {int(y.min())}; classes count from 0.")
    return y


def _classes(
    given: Any, labels: tuple[Tensor | None, Tensor | None], path: Path, notes: list[str]
) -> int | None:
    known = [y for y in labels if y is not None]
    if not known:
        return None
    together = torch.cat(known)
    highest = int(together.max())
    classes = highest + 1
    if given is not None:
        told = _tensor(given, "classes", path) if not isinstance(given, int) else given
        if isinstance(told, Tensor) and told.numel() != 1:
            raise InvalidData(f"{path}: classes must be one number; got shape {tuple(told.shape)}.")
        classes = int(told)
        if highest >= classes:
            raise InvalidData(
                f"{path}: labels go up to {highest}, which {classes} classes do not reach: they "
                f"count from 0 to {classes - 1}."
            )
    if classes < 2:
        raise InvalidData(f"{path}: every label is 0; at least two classes are needed.")
    if classes > len(together):
        raise InvalidData(
            f"{path}: labels go up to {highest}, for {len(together)} images; are they class "
            "numbers?"
        )
    seen = len(torch.unique(together))
    if int(together.min()) == 1 and seen == highest:
        notes.append(
            "No image has label 0: if yours count from 1, subtract 1: classes are 0 to "
            f"{highest - 1}."
        )
    elif seen < classes:
        notes.append(f"{classes - seen} of {classes} classes have no image.")
    return classes
