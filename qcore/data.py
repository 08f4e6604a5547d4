"""Images to calibrate on, to search on and to test on: where they come from and how they split.

Calibration and search images are drawn disjoint from the training images by a seed; the test
images are the data set's own and are never drawn from. Pixels stay uint8 in memory and are
normalised one batch at a time. Folders of image files are read by `image_folder`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qcore.allocation import ModelSpec
from qcore.catalog import DATASETS, MODELS, PREPROCESSING, Preprocessing, split_data_name
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from qcore.fashion import (
    DEFAULT_FASHION_FOLDERS,
    FASHION_CLASSES,
    FASHION_MEAN,
    FASHION_STD,
    SHIPPED_FASHION,
    Labelled,
    load_fashion_mnist,
    read_fashion_mnist,
)
from qcore.image_folder import FolderImages, labelled_folder, plain_folder

__all__ = [
    "DEFAULT_FASHION_FOLDERS",
    "SHIPPED_FASHION",
    "Data",
    "Images",
    "check_data_fits",
    "load_data",
    "read_fashion_mnist",
]

CIFAR: dict[str, tuple[str, tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ("CIFAR10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ("CIFAR100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}

FOLDER_TEST_LIMIT = 10_000
"""Most test images, and training images, read from a folder; at 3 x 224 x 224 1.5 GB each."""


@dataclass(frozen=True, eq=False)
class Images:
    """Some images, with or without labels.

    Attributes:
        pixels: Shape (n, channels, height, width); uint8 in 0..255, or floats in 0..1.
        labels: Class numbers, int64 (n,), or None where there are none.
        mean: Mean of each channel in 0..1, subtracted from every batch.
        std: Standard deviation of each channel in 0..1, that every batch is divided by.

    Raises:
        InvalidData: no images, a wrong shape or type, NaN or infinity, floats outside 0..1, or
            labels that do not match the images.
    """

    pixels: Tensor
    labels: Tensor | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        _check_pixels(self.pixels)
        channels = self.pixels.shape[1]
        for what, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise InvalidData(f"{what} has {len(values)} values for {channels} channels.")
        if self.labels is not None and (
            self.labels.shape != (len(self.pixels),) or self.labels.dtype != torch.int64
        ):
            raise InvalidData(
                f"{len(self.pixels)} images need int64 labels of shape ({len(self.pixels)},); got "
                f"{self.labels.dtype} of shape {tuple(self.labels.shape)}."
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(
        self, size: int, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield (normalised float32 images (k, c, h, w), labels (k,) or None), k <= size, in order.

        A pixel becomes (x / 255 - mean) / std.

        Raises:
            InvalidParams: size is below 1.
        """
        if size < 1:
            raise InvalidParams(f"The batch size must be at least 1; got {size}.")
        mean = torch.tensor(self.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, -1, 1, 1)
        for start in range(0, len(self), size):
            pixels = self.pixels[start : start + size].to(device)
            scaled = pixels.float() if pixels.is_floating_point() else pixels.float() / 255
            labels = None if self.labels is None else self.labels[start : start + size].to(device)
            yield (scaled - mean) / std, labels


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, split.

    Attributes:
        name: What load_data was asked for.
        classes: Number of classes; None where images have no labels.
        class_names: Their names in label order; empty without labels.
        mean: Per-channel mean used to normalise, in 0..1.
        std: Per-channel standard deviation, in 0..1.
        input_shape: (channels, height, width) of one image.
        calibration: Images for ranges, norms and bias correction; from the training images.
        search: Images of the search split; from the training images, none of them above.
        test: Test images, read once per reported point.
        digest: 64 hex digits of SHA-256 over names, drawn indices, pixels and labels.
        notes: Sentences on what was left out or converted while reading.
        training: Training images that are in none of the above; None where not asked for.
    """

    name: str
    classes: int | None
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_shape: tuple[int, int, int]
    calibration: Images
    search: Images
    test: Images
    digest: str
    notes: tuple[str, ...] = ()
    training: Images | None = None


def load_data(
    name: str,
    *,
    calibration: int,
    search: int,
    seed: int = 0,
    root: Path | None = None,
    full: bool = False,
    model: str | None = None,
    training: bool = False,
) -> Data:
    """Read a data set and split it.

    Args:
        name: "fashion-mnist", "cifar10", "cifar100", "imagefolder:/path" (path/train/CLASS/ and
            path/val/CLASS/, or path/CLASS/ split by the seed) or "images:/path" (no labels).
        calibration: Images to calibrate on, at least 1.
        search: Images to search on, at least 1.
        seed: Which images are drawn; same seed, same images.
        root: Folder of downloaded data sets; None looks in ./data.
        full: For fashion-mnist, all 60,000 training images instead of the shipped 10,000.
        model: Key of MODELS whose resize, crop and normalisation a folder's images get; None is
            ImageNet's usual 256, 224.
        training: Also give the training images that are left over; of the full Fashion-MNIST
            where that is on this machine, and at most 10,000 of a folder with a val/ beside it.

    Raises:
        InvalidParams: an unknown name, or more images asked for than there are.
        InvalidData: an empty folder, a file that is no image, or images of the wrong kind.
        DataUnavailable: the data set is not on this machine and cannot be fetched.
    """
    key, path = split_data_name(name)
    for what, count in (("calibration", calibration), ("search", search)):
        if count < 1:
            raise InvalidParams(f"At least one {what} image is needed; got {count}.")
    if path is not None:
        counts = (calibration, search)
        return _folder_data(name, key, path, counts, seed, _preprocessing(model), training)
    if key == "fashion-mnist":
        train, test = load_fashion_mnist(root, full)
        mean, std, class_names = FASHION_MEAN, FASHION_STD, FASHION_CLASSES
    else:
        train, test, class_names = _cifar(key, root)
        _, mean, std = CIFAR[key]
    chosen = _draw(len(train[0]), calibration, search, seed, name)
    splits = [Images(train[0][i], train[1][i], mean, std) for i in chosen]
    data = _assemble(name, class_names, [*splits, Images(*test, mean, std)], chosen)
    if not training:
        return data
    if key == "fashion-mnist" and not full:
        # where it is missing, the rest of the shipped subset has to do
        with suppress(DataUnavailable):
            train, _ = load_fashion_mnist(root, full=True)
    return replace(data, training=_left_over(train, splits))


def _left_over(train: Labelled, splits: Sequence[Images]) -> Images | None:
    """Training images whose pixels are not those of any image in the splits."""
    taken = {x.numpy().tobytes() for split in splits for x in split.pixels}
    keep = torch.tensor([x.numpy().tobytes() not in taken for x in train[0]])
    if not bool(keep.any()):
        return None
    return Images(train[0][keep], train[1][keep], splits[0].mean, splits[0].std)


def check_data_fits(data: Data, model: ModelSpec) -> None:
    """Raise unless a model's input and outputs fit the data.

    Raises:
        InvalidData: channels, image size or number of classes differ; says both.
    """
    channels, height, width = data.input_shape
    wanted = model.input_shape
    if channels != wanted[0]:
        raise InvalidData(
            f"{model.name} takes images of {wanted[0]} channel(s); {data.name} has {channels}. "
            "Choose data of the same kind as the model was trained on."
        )
    if (height, width) != tuple(wanted[1:]):
        raise InvalidData(
            f"{model.name} takes images of {wanted[1]}x{wanted[2]} pixels; {data.name} has "
            f"{height}x{width}. Resize the images, or choose other data."
        )
    if data.classes is not None and data.classes != model.classes:
        raise InvalidData(
            f"{model.name} has {model.classes} outputs; {data.name} has {data.classes} classes. "
            "Use data with the model's own classes, or 'images:/path' to compare with the float "
            "network without labels."
        )


def _check_pixels(pixels: Tensor) -> None:
    if pixels.dim() != 4 or 0 in pixels.shape:
        raise InvalidData(
            "Images need the shape (n, channels, height, width) with none of them 0; got "
            f"{tuple(pixels.shape)}."
        )
    if pixels.is_floating_point():
        if not bool(torch.isfinite(pixels).all()):
            raise InvalidData("The images hold NaN or infinite values; clean them first.")
        low, high = float(pixels.min()), float(pixels.max())
        if low < 0 or high > 1:
            raise InvalidData(
                f"Float images must lie in 0..1; these reach from {low:g} to {high:g}. Give raw "
                "pixels: normalisation is done here."
            )
    elif pixels.dtype != torch.uint8:
        raise InvalidData(f"Images must be uint8 or floats; got {pixels.dtype}.")


def _draw(total: int, calibration: int, search: int, seed: int, name: str) -> list[Tensor]:
    """Disjoint sorted-by-chance indices for the two splits."""
    if calibration + search > total:
        raise InvalidParams(
            f"{calibration} calibration and {search} search images are asked for, but {name} has "
            f"{total} images to draw them from. Ask for fewer."
        )
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return [order[:calibration], order[calibration : calibration + search]]


def _assemble(
    name: str,
    class_names: Sequence[str],
    splits: Sequence[Images],
    chosen: Sequence[Tensor],
    notes: tuple[str, ...] = (),
) -> Data:
    digest = hashlib.sha256(name.encode())
    digest.update("\n".join(class_names).encode())
    for indices in chosen:
        digest.update(indices.numpy().tobytes())
    for split in splits:
        digest.update(repr((tuple(split.pixels.shape), split.mean, split.std)).encode())
        digest.update(split.pixels.contiguous().numpy())
        if split.labels is not None:
            digest.update(split.labels.contiguous().numpy())
    calibration, search, test = splits
    _, channels, height, width = test.pixels.shape
    return Data(
        name=name,
        classes=None if test.labels is None else len(class_names),
        class_names=tuple(class_names),
        mean=test.mean,
        std=test.std,
        input_shape=(channels, height, width),
        calibration=calibration,
        search=search,
        test=test,
        digest=digest.hexdigest(),
        notes=notes,
    )


def _cifar(key: str, root: Path | None) -> tuple[Labelled, Labelled, tuple[str, ...]]:
    from qcore._torchvision import torchvision

    folder = Path("data") if root is None else root
    source = getattr(torchvision.datasets, CIFAR[key][0])
    parts = []
    for train in (True, False):
        try:
            stored = source(root=str(folder), train=train, download=True)
        except (OSError, RuntimeError) as error:
            raise DataUnavailable(
                f"{DATASETS[key].title} is not in {folder} and could not be fetched ({error}). "
                f"Download it elsewhere and put torchvision's folder of it into {folder}."
            ) from error
        pixels = torch.from_numpy(np.ascontiguousarray(stored.data)).permute(0, 3, 1, 2)
        parts.append((pixels.contiguous(), torch.tensor(stored.targets, dtype=torch.int64)))
    return parts[0], parts[1], tuple(stored.classes)


def _preprocessing(model: str | None) -> Preprocessing:
    if model is None:
        return PREPROCESSING
    if model not in MODELS:
        raise InvalidParams(f"Unknown model {model!r}; the list is in qcore.catalog.MODELS.")
    return MODELS[model].preprocessing


def _folder_data(
    name: str,
    key: str,
    path: Path,
    counts: tuple[int, int],
    seed: int,
    preprocessing: Preprocessing,
    training: bool,
) -> Data:
    if key == "imagefolder":
        train, held_out = labelled_folder(path)
    else:
        train, held_out = plain_folder(path), None
    chosen = _draw(len(train), *counts, seed, name)
    pool = train if held_out is None else held_out
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    # undivided images: _draw took the head of this very order, the rest is the test split
    rest = order[sum(counts) :] if held_out is None else order
    if not len(rest):
        raise InvalidParams(
            f"{name} has {len(train)} images: {counts[0]} for calibration and {counts[1]} for "
            "search leave none to test on. Ask for fewer."
        )
    notes: list[str] = []
    if len(rest) > FOLDER_TEST_LIMIT:
        notes.append(f"{FOLDER_TEST_LIMIT:,} of {len(rest):,} test images are used, by the seed.")
    chosen = [*chosen, rest[:FOLDER_TEST_LIMIT].sort().values]
    splits = []
    for files, indices in zip((train, train, pool), chosen, strict=True):
        splits.append(_decode(files, indices, preprocessing, notes))
    extra = None
    if training and held_out is not None:
        left = torch.ones(len(train), dtype=torch.bool)
        left[torch.cat(chosen[:2])] = False
        # of a random order, so that all classes are there
        mixed = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        rest = mixed[left[mixed]][:FOLDER_TEST_LIMIT].sort().values
        extra = _decode(train, rest, preprocessing, notes) if len(rest) else None
    unique = tuple(dict.fromkeys(notes))
    return replace(_assemble(name, train.class_names, splits, chosen, unique), training=extra)


def _decode(
    files: FolderImages, indices: Tensor, preprocessing: Preprocessing, notes: list[str]
) -> Images:
    pixels, note = files.read(indices.tolist(), preprocessing)
    if note:
        notes.append(note)
    labels = None
    if files.labels is not None:
        labels = torch.tensor(files.labels, dtype=torch.int64)[indices]
    return Images(torch.from_numpy(pixels), labels, preprocessing.mean, preprocessing.std)
