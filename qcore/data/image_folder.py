"""Folders of image files: which images there are, what class and what part they belong to.

Files are listed first and decoded only once chosen.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qcore.data.image_files import ALL_OF_THEM, REMARKS, read_image
from qcore.data.listing import (
    SUFFIXES,
    Listing,
    existing,
    folders_in,
    holds_images,
    image_files,
    shown,
)
from qcore.data.skipped import MOST_LISTED, Skipped
from qcore.errors import InvalidData
from qcore.models.preprocessing import Preprocessing

ROLES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Parts of a divided folder, and what their folders are called, in capitals or not."""

LOOKED_FURTHER = 10_000
"""Files looked at after too many cannot be used, so that all can be named at once."""


@dataclass(frozen=True, eq=False)
class Read:
    """Files that were read.

    Attributes:
        pixels: (n, channels, height, width), uint8; float32 in 0..1 where a file holds more.
        used: Positions of the files, int64 (n,).
        looked: How many of the positions given were looked at.
        remarked: Files by what was done to them, a key of REMARKS.
    """

    pixels: np.ndarray
    used: np.ndarray
    looked: int
    remarked: Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class FolderImages:
    """Image files, not yet read.

    Attributes:
        paths: The files, in sorted order.
        labels: Class number of each file, or None.
        class_names: Names of the class folders in label order; empty without labels.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...] | None = None
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def read(
        self,
        indices: Sequence[int],
        steps: Preprocessing,
        skipped: Skipped | None = None,
        wanted: int | None = None,
    ) -> Read:
        """Decode, scale and crop files, one after another, until so many are read.

        Args:
            indices: Positions in `paths`.
            steps: Channels, sizes and interpolation.
            skipped: Collects what cannot be used; None allows nothing of the kind.
            wanted: Images wanted; None is all.

        Raises:
            InvalidData: more files than may be cannot be decoded or have the wrong kind of
                colours, or too few are left; names them.
        """
        skipped = Skipped(0) if skipped is None else skipped
        every, wanted = wanted is None, len(indices) if wanted is None else wanted
        pixels = np.empty((wanted, *steps.input_shape), np.uint8)
        used: list[int] = []
        remarked: dict[str, list[Path]] = {}
        looked = 0
        for index in indices:
            # where too many cannot be used, the others are looked at to name them all at once
            if looked - wanted >= LOOKED_FURTHER if skipped.too_many else len(used) == wanted:
                break
            if len(skipped.reasons) >= MOST_LISTED:
                break
            looked += 1
            path = self.paths[index]
            try:
                image = read_image(path, steps)
            except InvalidData as error:
                skipped.reasons.append((shown(path), str(error)))
                continue
            if skipped.too_many or len(used) == wanted:
                continue
            pixels = _placed(pixels, len(used), image.pixels)
            used.append(index)
            for word in image.remarks:
                remarked.setdefault(word, []).append(path)
        if skipped.too_many:
            raise skipped.refuse()
        if len(used) < (1 if every else wanted):
            raise InvalidData(
                f"Only {len(used)} of the {wanted} images asked for can be read. Ask for fewer. "
                f"{skipped.note()}"
            )
        return Read(pixels[: len(used)], np.array(used, np.int64), looked, remarked)


def _placed(pixels: np.ndarray, row: int, image: np.ndarray) -> np.ndarray:
    """Put an image into its row; whole numbers become floats where one image needs it."""
    if image.dtype != np.uint8 and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / 255
    if pixels.dtype != np.uint8 and image.dtype == np.uint8:
        image = image.astype(np.float32) / 255
    pixels[row] = image
    return pixels


def remarks_on(parts: Sequence[Read]) -> list[str]:
    """Sentences on what was done to the files of several parts, together.

    Raises:
        InvalidData: all of them lack what the network takes.
    """
    total = sum(len(part.used) for part in parts)
    together: dict[str, list[Path]] = {}
    for part in parts:
        for word, paths in part.remarked.items():
            together.setdefault(word, []).extend(paths)
    notes = []
    for word, paths in together.items():
        first = shown(paths[0])
        if word in ALL_OF_THEM and len(paths) == total:
            raise InvalidData(ALL_OF_THEM[word].format(n=total, first=first))
        notes.append(REMARKS[word].format(n=len(paths), first=first))
    return notes


@dataclass(frozen=True)
class Parts:
    """A folder of images, by what its parts are for.

    Attributes:
        train: Images to calibrate, search and train on.
        val: Images to search on, where the folder has a test part too; None otherwise.
        held_out: Images to test on; None where they are to be drawn from `train`.
        notes: Sentences on what is used for what, and on what is not used.
    """

    train: FolderImages
    val: FolderImages | None = None
    held_out: FolderImages | None = None
    notes: tuple[str, ...] = ()


def plain_folder(path: Path) -> Parts:
    """List every image file under a folder, without labels.

    Raises:
        DataUnavailable: there is no such folder, or one in it cannot be opened.
        InvalidData: it holds no image file.
    """
    found = image_files(existing(path))
    if not found.files:
        raise InvalidData(f"{shown(path)} holds no image files ({', '.join(sorted(SUFFIXES))}).")
    return Parts(FolderImages(found.files), notes=_passed_over([found]))


def labelled_folder(path: Path) -> Parts:
    """List the images of a folder with one sub-folder for each class.

    Classes are numbered by the sorted order of their folder names, as torchvision's ImageFolder
    does. A folder is divided where it has a training part and one to test on, by the names of
    ROLES, and these hold folders rather than images: a class may be called "train". Of three
    parts the validation part is searched on and the test part tested on.

    Args:
        path: Holds train/CLASS/ and val/CLASS/ or test/CLASS/, or CLASS/ folders.

    Raises:
        DataUnavailable: there is no such folder, or one in it cannot be opened.
        InvalidData: no classes, an empty class, or classes that differ between the parts.
    """
    children = folders_in(existing(path))
    found = {role: _part(path, children, role) for role in ROLES}
    parts = {role: part for role, part in found.items() if part is not None}
    if set(parts) not in ({"train", "val"}, {"train", "test"}, set(ROLES)):
        if not parts or len(parts) < len(children):
            files, notes = _classes(path, children)
            return Parts(files, notes=notes)
        raise InvalidData(
            f"{shown(path)} has only {', '.join(part.name for part in parts.values())}; it needs "
            "train/ and val/ (or test/). To have images split by the seed, give the folder that "
            f"holds the class folders, such as {shown(next(iter(parts.values())))}."
        )
    read = {role: _classes(part, folders_in(part)) for role, part in parts.items()}
    train, notes = read["train"]
    for role, part in parts.items():
        _same_classes(train, read[role][0], parts["train"], part)
        notes = (*notes, *read[role][1]) if role != "train" else notes
    beside = [shown(child.name) for child in children if child not in parts.values()]
    if beside:
        notes = (*notes, f"Beside its parts the folder holds {', '.join(beside[:10])}, not used.")
    if len(parts) < len(ROLES):
        return Parts(train, None, read["val" if "val" in read else "test"][0], notes)
    return Parts(train, read["val"][0], read["test"][0], notes)


def _part(path: Path, children: Sequence[Path], role: str) -> Path | None:
    """The folder of one part: called so, holding folders and no images."""
    named = [child for child in children if child.name.lower() in ROLES[role]]
    fitting = [child for child in named if folders_in(child) and not holds_images(child)]
    if len(fitting) > 1:
        raise InvalidData(
            f"{shown(path)} holds {' and '.join(shown(part.name) for part in fitting)}, which are "
            "both its "
            f"{role} part; keep one of them."
        )
    return fitting[0] if fitting else None


def _same_classes(train: FolderImages, other: FolderImages, one: Path, two: Path) -> None:
    if train.class_names != other.class_names:
        differing = sorted(set(train.class_names) ^ set(other.class_names))
        raise InvalidData(
            f"{shown(one)} and {shown(two)} have different classes; only one has: "
            f"{', '.join(differing[:10])}."
        )


def _classes(folder: Path, folders: Sequence[Path]) -> tuple[FolderImages, tuple[str, ...]]:
    if not folders:
        raise InvalidData(
            f"{shown(folder)} has no class folders. Put each class into a folder of its own, or "
            f"use images:{shown(folder)} for images without labels."
        )
    listings: list[Listing] = []
    for child in folders:
        listings.append(image_files(child))
        if not listings[-1].files:
            raise InvalidData(
                f"{shown(child)} holds no image files; fill the class or remove its folder."
            )
    paths = tuple(path for found in listings for path in found.files)
    labels = tuple(number for number, found in enumerate(listings) for _ in found.files)
    names = tuple(shown(child.name) for child in folders)
    return FolderImages(paths, labels, names), _passed_over(listings)


def _passed_over(listings: Sequence[Listing]) -> tuple[str, ...]:
    counted: Counter[str] = Counter()
    for found in listings:
        counted.update(dict(found.others))
    if not counted:
        return ()
    words = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counted.items()))
    return (f"Images of kinds that are not read were passed over: {words}.",)
