"""Which files a folder holds, whatever it is called and however deep they lie."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qcore.errors import DataUnavailable

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
    | {".npy"}
)
OTHER_IMAGES = frozenset({".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".dcm", ".exr"})
"""Endings of images that are not read; how many were passed over is said."""


@dataclass(frozen=True)
class FileKind:
    """Files that are looked for in a folder.

    Attributes:
        word: What one of them is called.
        suffixes: Endings of those that are read, in small letters.
        others: Endings of those that are not read; how many were passed over is said.
    """

    word: str
    suffixes: frozenset[str]
    others: frozenset[str]


IMAGES = FileKind("image", SUFFIXES, OTHER_IMAGES)
SOUNDS = FileKind(
    "sound",
    frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus"}),
    frozenset({".mp3", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".au"}),
)

LEFT_BEHIND = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
"""Folders that archives and network drives put beside the data; some hold small copies of it."""


@dataclass(frozen=True)
class Listing:
    """The files of one kind under a folder.

    Attributes:
        files: In the order of their paths, part by part.
        others: Ending and number of files whose kind is not read.
    """

    files: tuple[Path, ...]
    others: tuple[tuple[str, int], ...] = ()


def existing(folder: Path, kind: FileKind = IMAGES) -> Path:
    """The folder, of files of one kind.

    Raises:
        DataUnavailable: there is none, or it cannot be looked at.
    """
    try:
        there, is_file = folder.is_dir(), folder.is_file()
    except OSError as error:
        raise DataUnavailable(f"{shown(folder)} cannot be opened ({error.strerror}).") from error
    if is_file:
        raise DataUnavailable(
            f"{shown(folder)} is a file, no folder of {kind.word}s. Give the folder; a file of "
            f"tensors is named tensors:{shown(folder)}."
        )
    if not there:
        raise DataUnavailable(f"There is no folder {shown(folder)} on this machine.")
    return folder


def folders_in(folder: Path) -> list[Path]:
    """Folders directly in a folder, links to folders too, hidden ones not, in order of names.

    Raises:
        DataUnavailable: it cannot be opened.
    """
    return [Path(entry.path) for entry in _entries(folder) if _is_dir(entry)]


def image_files(folder: Path, kind: FileKind = IMAGES) -> Listing:
    """Every image file under a folder, or every file of another kind.

    Links are followed, hidden files passed over. A folder that is reached twice, by a link,
    counts once.

    Raises:
        DataUnavailable: the folder, or one in it, cannot be opened.
    """
    others: Counter[str] = Counter()
    files = tuple(_walk(folder, kind, {_identity(folder)}, others))
    return Listing(files, tuple(sorted(others.items())))


def holds_images(folder: Path, kind: FileKind = IMAGES) -> bool:
    """Whether image files, or files of another kind, lie directly in a folder."""
    return any(
        os.path.splitext(entry.name)[1].lower() in kind.suffixes and not _is_dir(entry)
        for entry in _entries(folder)
    )


def shown(path: Path | str) -> str:
    """A path or name as text that can be stored: bytes that are no UTF-8 are spelled out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _walk(
    folder: Path, kind: FileKind, seen: set[tuple[int, int]], others: Counter[str]
) -> Iterator[Path]:
    for entry in _entries(folder):
        path = Path(entry.path)
        if _is_dir(entry):
            here = _identity(path)
            if here not in seen:
                seen.add(here)
                yield from _walk(path, kind, seen, others)
            continue
        suffix = path.suffix.lower()
        if suffix in kind.others:
            others[suffix] += 1
        # a link that leads nowhere is listed, so that reading it says so; no pipe, where it waits
        elif suffix in kind.suffixes and (_is_file(entry) or not path.exists()):
            yield path


def _is_dir(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            visible = [
                entry
                for entry in entries
                if not entry.name.startswith(".") and entry.name not in LEFT_BEHIND
            ]
    except OSError as error:
        raise DataUnavailable(
            f"The folder {shown(folder)} cannot be opened ({error.strerror}). Change its "
            "permissions, or take it out."
        ) from error
    return sorted(visible, key=lambda entry: entry.name)
