"""Folders of image files: which images there are, what class and what part they belong to.

Files are listed first and decoded only once chosen. Folders of sounds, and of pairs of images, go
the same way with a `Reader` of their own.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qcore.data.image_files import ALL_OF_THEM, REMARKS, Decoded, read_image
from qcore.data.listing import (
    IMAGES,
    FileKind,
    Listing,
    existing,
    folders_in,
    holds_images,
    image_files,
    shown,
)
from qcore.data.skipped import MOST_LISTED, Skipped
from qcore.errors import InvalidData

ROLES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Parts of a divided folder, and what their folders are called, in capitals or not."""

LOOKED_FURTHER = 10_000
"""Files looked at after too many cannot be used, so that all can be named at once."""


class Steps(Protocol):
    """How a file is prepared: a network's preprocessing, or what a reader takes in its place."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""


@dataclass(frozen=True)
class Reader:
    """How files become samples.

    Attributes:
        kind: Which files.
        decode: Gives the sample of a file, prepared by its second argument.
        remarks: Sentences on what was done to files, by the keys that `decode` remarks.
        whole: Why a whole set to which this was done is refused, by the same keys.
        dtype: Of the samples; uint8 becomes float32 where one file holds more.
    """

    kind: FileKind = IMAGES
    decode: Callable[[Path, Any], Decoded] = read_image
    remarks: Mapping[str, str] = field(default_factory=lambda: REMARKS)
    whole: Mapping[str, str] = field(default_factory=lambda: ALL_OF_THEM)
    dtype: type[np.generic] = np.uint8


IMAGE_READER = Reader()


@dataclass(frozen=True, eq=False)
class Read:
    """Files that were read.

    Attributes:
        pixels: (n, channels, height, width), uint8; float32 in 0..1 where a file holds more. Of
            other readers (n, ...).
        used: Positions of the files, int64 (n,).
        looked: How many of the positions given were looked at.
        remarked: Files by what was done to them, a key of the reader's remarks.
        beside: What else each file gave (n, ...); None where the reader gives nothing else.
    """

    pixels: np.ndarray
    used: np.ndarray
    looked: int
    remarked: Mapping[str, Sequence[Path]]
    beside: np.ndarray | None = None


@dataclass(frozen=True)
class FolderImages:
    """Image files, not yet read.

    Attributes:
        paths: The files, in sorted order.
        labels: Class number of each file, or None.
        class_names: Names of the class folders in label order; empty without labels.
        reader: How they become samples.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...] | None = None
    class_names: tuple[str, ...] = ()
    reader: Reader = IMAGE_READER

    def __len__(self) -> int:
        return len(self.paths)

    def read(
        self,
        indices: Sequence[int],
        steps: Steps,
        skipped: Skipped | None = None,
        wanted: int | None = None,
    ) -> Read:
        """Decode, scale and crop files, one after another, until so many are read.

        Args:
            indices: Positions in `paths`.
            steps: Channels, sizes and interpolation; what the reader takes.
            skipped: Collects what cannot be used; None allows nothing of the kind.
            wanted: Images wanted; None is all.

        Raises:
            InvalidData: more files than may be cannot be decoded or have the wrong kind of
                colours, or too few are left; names them.
        """
        skipped = Skipped(0) if skipped is None else skipped
        every, wanted = wanted is None, len(indices) if wanted is None else wanted
        pixels = np.empty((wanted, *steps.input_shape), self.reader.dtype)
        used: list[int] = []
        beside: list[np.ndarray] = []
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
                image = self.reader.decode(path, steps)
            except InvalidData as error:
                skipped.reasons.append((shown(path), str(error)))
                continue
            if skipped.too_many or len(used) == wanted:
                continue
            pixels = _placed(pixels, len(used), image.pixels)
            used.append(index)
            if image.beside is not None:
                beside.append(image.beside)
            for word in image.remarks:
                remarked.setdefault(word, []).append(path)
        if skipped.too_many:
            raise skipped.refuse()
        if len(used) < (1 if every else wanted):
            raise InvalidData(
                f"Only {len(used)} of the {wanted} {self.reader.kind.word}s asked for can be read. "
                f"Ask for fewer. {skipped.note()}"
            )
        return Read(
            pixels[: len(used)],
            np.array(used, np.int64),
            looked,
            remarked,
            np.stack(beside) if beside else None,
        )


def _placed(pixels: np.ndarray, row: int, image: np.ndarray) -> np.ndarray:
    """Put an image into its row; whole numbers become floats where one image needs it."""
    if image.dtype != np.uint8 and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / 255
    if pixels.dtype != np.uint8 and image.dtype == np.uint8:
        image = image.astype(np.float32) / 255
    pixels[row] = image
    return pixels


def remarks_on(parts: Sequence[Read], reader: Reader = IMAGE_READER) -> list[str]:
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
        if word in reader.whole and len(paths) == total:
            raise InvalidData(reader.whole[word].format(n=total, first=first))
        notes.append(reader.remarks[word].format(n=len(paths), first=first))
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


def plain_folder(path: Path, reader: Reader = IMAGE_READER) -> Parts:
    """List every file of a reader's kind under a folder, without labels.

    Raises:
        DataUnavailable: there is no such folder, or one in it cannot be opened.
        InvalidData: it holds no image file.
    """
    kind = reader.kind
    found = image_files(existing(path, kind), kind)
    if not found.files:
        passed = " ".join(_passed_over([found], kind))
        raise InvalidData(
            f"{shown(path)} holds no {kind.word} files ({', '.join(sorted(kind.suffixes))})."
            + (f" {passed}" if passed else "")
        )
    files = FolderImages(found.files, reader=reader)
    return Parts(files, notes=_passed_over([found], kind))


def labelled_folder(path: Path, reader: Reader = IMAGE_READER) -> Parts:
    """List the images of a folder with one sub-folder for each class.

    Classes are numbered by the sorted order of their folder names, as torchvision's ImageFolder
    does. A folder is divided where it has a training part and one to test on, by the names of
    ROLES, and these hold folders rather than images: a class may be called "train". Of three
    parts the validation part is searched on and the test part tested on.

    Args:
        path: Holds train/CLASS/ and val/CLASS/ or test/CLASS/, or CLASS/ folders.
        reader: Which files they hold, and how these become samples.

    Raises:
        DataUnavailable: there is no such folder, or one in it cannot be opened.
        InvalidData: no classes, an empty class, or classes that differ between the parts.
    """
    children = folders_in(existing(path, reader.kind))
    found = {role: _part(path, children, role, reader.kind) for role in ROLES}
    parts = {role: part for role, part in found.items() if part is not None}
    if set(parts) not in ({"train", "val"}, {"train", "test"}, set(ROLES)):
        if not parts or len(parts) < len(children):
            files, notes = _classes(path, children, reader)
            return Parts(files, notes=notes)
        raise InvalidData(
            f"{shown(path)} has only {', '.join(part.name for part in parts.values())}; it needs "
            f"train/ and val/ (or test/). To have {reader.kind.word}s split by the seed, give the "
            f"folder that holds the class folders, such as {shown(next(iter(parts.values())))}."
        )
    read = {role: _classes(part, folders_in(part), reader) for role, part in parts.items()}
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


def _part(path: Path, children: Sequence[Path], role: str, kind: FileKind) -> Path | None:
    """The folder of one part: called so, holding folders and no files of the kind."""
    named = [child for child in children if child.name.lower() in ROLES[role]]
    fitting = [child for child in named if folders_in(child) and not holds_images(child, kind)]
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


def _classes(
    folder: Path, folders: Sequence[Path], reader: Reader
) -> tuple[FolderImages, tuple[str, ...]]:
    kind = reader.kind
    if not folders:
        raise InvalidData(
            f"{shown(folder)} has no class folders. Put each class into a folder of its own, or "
            f"use images:{shown(folder)} for images without labels."
        )
    listings: list[Listing] = []
    for child in folders:
        listings.append(image_files(child, kind))
        if not listings[-1].files:
            raise InvalidData(
                f"{shown(child)} holds no {kind.word} files; fill the class or remove its folder."
            )
    paths = tuple(path for found in listings for path in found.files)
    labels = tuple(number for number, found in enumerate(listings) for _ in found.files)
    names = tuple(shown(child.name) for child in folders)
    return FolderImages(paths, labels, names, reader), _passed_over(listings, kind)


def _passed_over(listings: Sequence[Listing], kind: FileKind) -> tuple[str, ...]:
    counted: Counter[str] = Counter()
    for found in listings:
        counted.update(dict(found.others))
    if not counted:
        return ()
    words = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counted.items()))
    return (f"{kind.word.capitalize()}s of kinds that are not read were passed over: {words}.",)
