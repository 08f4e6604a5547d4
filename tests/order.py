"""In which order test files are handed to the processes that run them side by side."""

from collections.abc import Iterable
from pathlib import PurePath

LONGEST = {"e2e": 0.6, "engine": 0.6}
"""Folders whose files take the longest, to the part of the run in which they begin."""


def mixed(files: Iterable[PurePath]) -> list[PurePath]:
    """Mix the files of all folders evenly, so that those that wait run beside those that compute.

    Args:
        files: Each once, relative to the folder of all tests; the order within a folder stays.
    """
    folders: dict[str, list[PurePath]] = {}
    for file in files:
        folders.setdefault(file.parts[0], []).append(file)
    place = {
        file: LONGEST.get(folder, 1.0) * at / len(held)
        for folder, held in folders.items()
        for at, file in enumerate(held)
    }
    return sorted(place, key=lambda file: (place[file], str(file)))
