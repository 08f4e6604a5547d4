"""Keeps what bitdial made in its own data folder to its owner: files 0600, folders 0700.

An older bitdial made them as the system does, readable by every user of the machine. Only names
that bitdial gives, of this user's, are changed. A folder with the set-group-ID bit, by which a
group shares one on purpose, stays as it is.
"""

import itertools
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

OTHERS = 0o077
"""What the group and all others may do."""

MOST = 100_000
"""Files of a data folder whose permissions are looked at."""

_OURS = re.compile(
    r"bitdial\.(db|aside)(\W.*)?|.*-[0-9a-f]{8}\.files|(migration|supervisor|backup)\.lock|locks|logs"
    r"|checkpoints|samples|runtime|pace|rounded|inspections|networks|costs|last_visit\.json",
    re.DOTALL,
)
"""What the first part of a path in a data folder is called."""


def ours(path: Path) -> bool:
    """Whether something in a data folder has a name that bitdial gives."""
    return bool(_OURS.fullmatch(path.name))


def shut(folder: Path) -> str:
    """Take from others what they may do with what is ours in a data folder; says what was changed.

    Args:
        folder: The data folder; itself shut where nothing else lies in it.

    Returns:
        A sentence; "" where nothing had to be changed.
    """
    if os.name != "posix":
        return ""
    try:
        itself = folder.stat()
        entries = list(folder.iterdir())
    except OSError:
        return ""
    if itself.st_mode & stat.S_ISGID:
        return ""
    own = [entry for entry in entries if ours(entry)]
    alone = len(own) == len(entries)
    # below what only its owner can look into nothing is open
    if not ((alone and _is_open(folder)) or any(map(_is_open, own))):
        return ""
    places = itertools.chain([folder] if alone else [], _below(own))
    changed = sum(map(_shut, itertools.islice(places, MOST)))
    if not changed:
        return ""
    words = "1 file or folder" if changed == 1 else f"{changed:,} files and folders"
    return f"Other users of this machine could read {words} in {folder}; only you can now."


def _below(entries: list[Path]) -> Iterator[Path]:
    for entry in entries:
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            for place, folders, files in os.walk(entry):
                yield from (Path(place) / name for name in (*folders, *files))


def _is_open(path: Path) -> bool:
    """Whether others may do anything with a file or folder of this user's."""
    try:
        found = path.lstat()
    except OSError:
        return False
    known = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    return known and found.st_uid == os.geteuid() and bool(found.st_mode & OTHERS)


def _shut(path: Path) -> bool:
    if not _is_open(path):
        return False
    with suppress(OSError):
        path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~OTHERS)
        return True
    return False
