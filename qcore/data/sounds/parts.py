"""What the sounds of a folder are for: parts by folders or by lists, and classes by folders."""

from collections.abc import Callable, Sequence
from pathlib import Path

from qcore.data.image_folder import (
    ROLES,
    FolderImages,
    Parts,
    Reader,
    labelled_folder,
    plain_folder,
)
from qcore.data.listing import SOUNDS, existing, folders_in, holds_images, image_files, shown

LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}
"""Files that name the sounds of a part, a line each, as Speech Commands has them."""

_MOST_BYTES = 64 * 2**20


def sound_parts(path: Path, reader: Reader) -> Parts:
    """List the sounds of a folder.

    Files alone have no labels, nor have parts that hold files alone; folders are classes, but for
    those whose names begin with "_", as Speech Commands keeps its noise.

    Args:
        path: The folder.
        reader: How files become samples.

    Raises:
        DataUnavailable: there is no such folder, or one in it cannot be opened.
        InvalidData: it holds no sounds, or classes that differ between its parts.
    """
    children = folders_in(existing(path, SOUNDS))
    folders = [child for child in children if image_files(child, SOUNDS).files]
    if not folders:
        return plain_folder(path, reader)
    if holds_images(path, SOUNDS):
        found = plain_folder(path, reader)
        words = (
            f"{shown(path)} holds sounds beside its folders, so that these are no classes: no "
            "labels are read."
        )
        return Parts(found.train, notes=(words, *found.notes))
    plain = _parts_without_classes(folders, reader)
    if plain is not None:
        return plain
    noise = [child for child in folders if child.name.startswith("_")]
    listed = _listed(path, "test")
    if not noise and not listed:
        return labelled_folder(path, reader)
    classes = [child for child in folders if child not in noise]
    notes = [
        f"{shown(child.name)} begins with _ and is no class; it is not used." for child in noise
    ]
    every = _classes(classes, reader)
    if not any(_place(path, file) in listed for file in every.paths):
        return Parts(every, notes=tuple(notes))
    notes.append(f"Parts are those of {' and '.join(LISTS.values())}.")
    val = _listed(path, "val")
    train = _some(every, lambda file: _place(path, file) not in listed | val)
    held_out = _some(every, lambda file: _place(path, file) in listed)
    searched = _some(every, lambda file: _place(path, file) in val) if val else None
    return Parts(train, searched if searched else None, held_out, tuple(notes))


def _parts_without_classes(folders: Sequence[Path], reader: Reader) -> Parts | None:
    """Parts of files alone; None where the folders are something else."""
    roles = {
        role: plain_folder(child, reader).train
        for role, names in ROLES.items()
        for child in folders
        if child.name.lower() in names and holds_images(child, SOUNDS)
    }
    if len(roles) != len(folders) or "train" not in roles or len(roles) < 2:
        return None
    if len(roles) < len(ROLES):
        return Parts(roles["train"], None, roles["val" if "val" in roles else "test"])
    return Parts(roles["train"], roles["val"], roles["test"])


def _classes(folders: Sequence[Path], reader: Reader) -> FolderImages:
    files = [image_files(folder, SOUNDS).files for folder in folders]
    paths = tuple(path for each in files for path in each)
    labels = tuple(number for number, each in enumerate(files) for _ in each)
    return FolderImages(paths, labels, tuple(shown(folder.name) for folder in folders), reader)


def _some(files: FolderImages, fits: Callable[[Path], bool]) -> FolderImages:
    kept = [at for at, path in enumerate(files.paths) if fits(path)]
    labels = files.labels or ()
    return FolderImages(
        tuple(files.paths[at] for at in kept),
        tuple(labels[at] for at in kept),
        files.class_names,
        files.reader,
    )


def _place(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _listed(folder: Path, role: str) -> frozenset[str]:
    """Names in the list of a part; none where there is no such list."""
    path = folder / LISTS[role]
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return frozenset()
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.strip() for line in lines if line.strip())
