"""Data sets that torchvision reads, by name: on disk already, or fetched once.

Sets of equal small images are taken whole; sets of photographs stay files, and only the images
drawn are decoded, as the model's preprocessing says.
"""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qcore.data.fashion import Labelled
from qcore.data.image_files import prepare_image
from qcore.errors import DataUnavailable, InvalidData
from qcore.models.cards import networks_folder
from qcore.models.catalog import DATASETS
from qcore.models.preprocessing import Preprocessing


@dataclass(frozen=True)
class Arrays:
    """A set of small images.

    Attributes:
        cls: Class in torchvision.datasets.
        train: Arguments that give the training images.
        test: Arguments that give the test images.
    """

    cls: str
    train: Mapping[str, Any]
    test: Mapping[str, Any]


_BY_FLAG = ({"train": True}, {"train": False})
_BY_NAME = ({"split": "train"}, {"split": "test"})

ARRAYS: dict[str, Arrays] = {
    "cifar10": Arrays("CIFAR10", *_BY_FLAG),
    "cifar100": Arrays("CIFAR100", *_BY_FLAG),
    "mnist": Arrays("MNIST", *_BY_FLAG),
    "kmnist": Arrays("KMNIST", *_BY_FLAG),
    "svhn": Arrays("SVHN", *_BY_NAME),
}

PHOTOGRAPHS: dict[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "imagenette": (
        "Imagenette",
        {"split": "train", "size": "full"},
        {"split": "val", "size": "full"},
    ),
    "flowers102": ("Flowers102", *_BY_NAME),
    "pets": ("OxfordIIITPet", {"split": "trainval"}, {"split": "test"}),
    "food101": ("Food101", *_BY_NAME),
}
"""Name to class in torchvision.datasets, and the arguments of its two parts."""


def roots(root: Path | None) -> list[Path]:
    """Folders that torchvision's data sets are looked for in; the first is where they go to."""
    if root is not None:
        return [root]
    return [networks_folder().parent / "datasets", Path("data")]


def open_set(key: str, root: Path | None) -> tuple[Any, Any]:
    """The training and the test part of a set, from disk or else fetched.

    Raises:
        DataUnavailable: it is not on this machine and cannot be fetched; says where to put it.
    """
    from qcore.models._torchvision import torchvision

    name, train, test = (
        PHOTOGRAPHS[key]
        if key in PHOTOGRAPHS
        else (ARRAYS[key].cls, ARRAYS[key].train, ARRAYS[key].test)
    )
    source = getattr(torchvision.datasets, name)
    places = roots(root)
    for place in places:
        try:
            return (
                source(root=str(place), **train, download=False),
                source(root=str(place), **test, download=False),
            )
        except (OSError, RuntimeError, ValueError):  # it is not here, or not whole
            continue
        except ImportError as error:
            raise DataUnavailable(
                f"Reading {DATASETS[key].title} needs a package that is missing ({error}): "
                "pip install scipy."
            ) from error
    place = places[0]
    try:
        # some sets refuse to be fetched again where their folder is there already
        place.mkdir(parents=True, exist_ok=True)
        parts = [source(root=str(place), **part, download=True) for part in (train, test)]
    except (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        looked = " or ".join(str(place) for place in places)
        raise DataUnavailable(
            f"{DATASETS[key].title} is not in {looked} and could not be fetched ({error}). On a "
            f"machine that is online run torchvision.datasets.{name}(root, download=True), and "
            f"copy that folder to {place}."
        ) from error
    return parts[0], parts[1]


def read_arrays(key: str, root: Path | None) -> tuple[Labelled, Labelled, tuple[str, ...]]:
    """Read a set of ARRAYS whole.

    Returns:
        ((images, labels) to train, (images, labels) to test, names of the classes): images uint8
        (n, channels, height, width), labels int64 (n,).

    Raises:
        DataUnavailable: it is not on this machine and cannot be fetched.
    """
    stored = open_set(key, root)
    parts = [(_pixels(part.data), _labels(part)) for part in stored]
    count = DATASETS[key].classes or 0
    names = getattr(stored[0], "classes", None) or [str(number) for number in range(count)]
    return parts[0], parts[1], tuple(map(str, names))


def _labels(part: Any) -> torch.Tensor:
    found = part.targets if hasattr(part, "targets") else part.labels
    return torch.as_tensor(np.asarray(found), dtype=torch.int64)


def _pixels(data: Any) -> torch.Tensor:
    """Pixels as (n, channels, height, width), from any of torchvision's layouts."""
    array = np.ascontiguousarray(data)
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[-1] == 3:
        array = array.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(array))


@dataclass(frozen=True)
class Photographs:
    """A part of a set, not yet decoded.

    Attributes:
        dataset: torchvision's own object; gives (PIL image, class number) by index.
        class_names: Names of the classes in label order.
    """

    dataset: Any
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, indices: Sequence[int], steps: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        """Decode the chosen images.

        Returns:
            (uint8 pixels (n, channels, height, width), labels int64 (n,)).

        Raises:
            InvalidData: an image cannot be decoded.
        """
        pixels = np.empty((len(indices), *steps.input_shape), np.uint8)
        labels = np.empty(len(indices), np.int64)
        for row, index in enumerate(indices):
            try:
                image, label = self.dataset[index]
            except (OSError, SyntaxError, ValueError, pickle.UnpicklingError) as error:
                raise InvalidData(f"Image {index} cannot be read ({error}).") from error
            pixels[row] = prepare_image(image, steps)
            labels[row] = label
        return pixels, labels


def open_photographs(key: str, root: Path | None) -> tuple[Photographs, Photographs]:
    """The training and the test part of a set of PHOTOGRAPHS.

    Raises:
        DataUnavailable: it is not on this machine and cannot be fetched.
    """
    train, test = open_set(key, root)
    names = getattr(train, "classes", None) or range(DATASETS[key].classes or 0)
    words = tuple(" / ".join(n) if isinstance(n, tuple) else str(n) for n in names)
    return Photographs(train, words), Photographs(test, words)
