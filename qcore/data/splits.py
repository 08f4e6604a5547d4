"""What a data set is once it is read: images, and the splits drawn from them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qcore.data.samples import Samples
from qcore.errors import InvalidData, InvalidParams
from qcore.inputs import Input

NOTED_IMAGES, NOTED_BATCH = 8, 512
FAR_MEAN, FAR_STD = 0.6, (0.4, 2.5)
"""Beyond which normalised pixels are called odd. Photographs that were not normalised at all have
mean 0.45 and standard deviation 0.25; normalised ones stay within 0.3 of 0 and 1."""


@dataclass(frozen=True, eq=False)
class Images:
    """Some images, with or without labels.

    Attributes:
        pixels: Shape (n, channels, height, width); uint8 in 0..255, or floats in 0..1.
        labels: Class numbers, int64 (n,); maps of class numbers, int16 (n, height, width),
            negative where none counts; pictures or other numbers, float32 (n, ...); None where
            there are none.
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
        if self.labels is not None:
            _check_labels(self.labels, len(self.pixels))

    def __len__(self) -> int:
        return len(self.pixels)

    def at(self, index: Tensor) -> "Images":
        """The images at these positions, in this order."""
        labels = None if self.labels is None else self.labels[index]
        return Images(self.pixels[index], labels, self.mean, self.std)

    def arrays(self) -> list[np.ndarray]:
        """Everything in it, in a fixed order: what its digest is taken of."""
        labels = [] if self.labels is None else [self.labels.contiguous().numpy()]
        return [self.pixels.contiguous().numpy(), *labels]

    @property
    def form(self) -> str:
        """Shapes and settings as text, for its digest."""
        shape: tuple[object, ...] = ()
        if self.labels is not None and self.labels.dim() > 1:
            shape = tuple(self.labels.shape), str(self.labels.dtype)
        return repr((tuple(self.pixels.shape), self.mean, self.std, *shape))

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


Split = Images | Samples
"""Some samples of a data set: images, or what other networks take."""


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, split.

    Attributes:
        name: What load_data was asked for.
        classes: Number of classes; None where images have no labels.
        class_names: Their names in label order; empty without labels.
        mean: Per-channel mean used to normalise, in 0..1.
        std: Per-channel standard deviation, in 0..1.
        input_shape: (channels, height, width) of one image; the shape of the first input of other
            networks.
        calibration: Samples for ranges, norms and bias correction; from the training images.
        search: Samples of the search split; from the training samples, none of them above.
        test: Test samples, read once per reported point.
        digest: 64 hex digits of SHA-256 over names, drawn indices, pixels and labels.
        notes: Sentences on what was left out or converted while reading.
        training: Training samples that are in none of the above; None where not asked for.
        inputs: What the network takes where that is no image; () for images.
    """

    name: str
    classes: int | None
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_shape: tuple[int, ...]
    calibration: Split
    search: Split
    test: Split
    digest: str
    notes: tuple[str, ...] = ()
    training: Split | None = None
    inputs: tuple[Input, ...] = ()

    @property
    def ids(self) -> bool:
        """True where the first input is a text of ids, each of which stands for many numbers."""
        first = self.inputs[0] if self.inputs else None
        return first is not None and first.dtype.startswith("int") and len(first.shape) == 1


def normalisation_note(images: Split) -> str:
    """A sentence where normalised images are far from mean 0 and standard deviation 1, or ""."""
    if not isinstance(images, Images) or len(images) < NOTED_IMAGES:
        return ""
    x = next(images.batches(NOTED_BATCH))[0]
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3))
    if float(mean.abs().max()) <= FAR_MEAN and bool(
        ((std >= FAR_STD[0]) & (std <= FAR_STD[1])).all()
    ):
        return ""
    shown = [", ".join(f"{v:.2f}" for v in values.tolist()) for values in (mean, std)]
    return (
        f"After normalisation the images have mean {shown[0]} and standard deviation {shown[1]} "
        "per channel, where about 0 and 1 are usual: is the mean and standard deviation the one "
        "the network was trained with?"
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


def _check_labels(labels: Tensor, n: int) -> None:
    kinds = {torch.int64} if labels.dim() < 2 else {torch.int64, torch.int16, torch.float32}
    if labels.dim() < 1 or len(labels) != n or labels.dtype not in kinds:
        raise InvalidData(
            f"{n} images need int64 labels of shape ({n},), or maps and pictures ({n}, ...) of "
            f"int16, int64 or float32; got {labels.dtype} of shape {tuple(labels.shape)}."
        )
    if labels.is_floating_point() and not bool(labels.isfinite().all()):
        raise InvalidData("The labels hold NaN or infinite values; clean them first.")


def draw(
    total: int, calibration: int, search: int, seed: int, name: str, what: str = "images"
) -> list[Tensor]:
    """Indices of the calibration and the search split: disjoint, and of a random order.

    Raises:
        InvalidParams: there are fewer images than asked for.
    """
    if calibration + search > total:
        raise InvalidParams(
            f"{calibration} calibration and {search} search {what} are asked for, but {name} has "
            f"{total} {what} to draw them from. Ask for fewer."
        )
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return [order[:calibration], order[calibration : calibration + search]]


def assemble(
    name: str,
    class_names: Sequence[str],
    splits: Sequence[Split],
    chosen: Sequence[Tensor],
    notes: tuple[str, ...] = (),
) -> Data:
    """A data set of three splits, with the digest that names them.

    Args:
        name: What it is called.
        class_names: In label order; none without labels.
        splits: Calibration, search and test samples.
        chosen: The indices they were drawn by.
        notes: Sentences on what was left out or converted.
    """
    digest = hashlib.sha256(name.encode())
    digest.update("\n".join(class_names).encode())
    for indices in chosen:
        digest.update(indices.numpy().tobytes())
    for split in splits:
        digest.update(split.form.encode())
        for values in split.arrays():
            digest.update(values)  # type: ignore[arg-type]
    calibration, search, test = splits
    inputs = test.inputs if isinstance(test, Samples) else ()
    return Data(
        name=name,
        classes=None if test.labels is None or not class_names else len(class_names),
        class_names=tuple(class_names),
        mean=() if isinstance(test, Samples) else test.mean,
        std=() if isinstance(test, Samples) else test.std,
        input_shape=tuple(test.arrays()[0].shape[1:]),
        inputs=inputs,
        calibration=calibration,
        search=search,
        test=test,
        digest=digest.hexdigest(),
        notes=notes,
    )
