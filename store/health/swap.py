"""Puts another file in the place of a database that nobody works on; at no moment is there none."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from qcore.errors import DatabaseUnavailable
from store.database import Store, connect
from store.database.locations import database_url
from store.health.status import is_held
from store.runs.files import files_folder

BESIDE = ("-wal", "-shm", "-journal")


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep everybody else from a database's file in the body.

    Raises:
        DatabaseUnavailable: it is in use, or its folder cannot be written.
    """
    url = database_url(file)
    busy = DatabaseUnavailable(
        f"{file} is in use. Stop the dashboard and every `python -m store run` that works on it, "
        "then try again."
    )
    store = Store(connect(url), url, file.parent)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.parent / "migration.lock", timeout=0):
            if is_held(files_folder(store) / "supervisor.lock") or _is_open(file):
                raise busy
            yield
    except Timeout as error:
        raise busy from error
    except OSError as error:
        raise DatabaseUnavailable(
            f"{file} cannot be written ({error.strerror or error}). Change the permissions of "
            "its folder, or choose another one with BITDIAL_DATA."
        ) from error


def _is_open(file: Path) -> bool:
    """Whether a process has a database open: its log is given up only if nobody else needs it."""
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(file, timeout=0)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.OperationalError as error:
        return "locked" in str(error)
    except sqlite3.Error:
        return False  # too damaged to be used by anybody
    return False


def put_in_place(fresh: Path, file: Path) -> Path:
    """Give a whole new file the name of a database, which is kept beside it.

    Whatever is interrupted: under the name is the old file or the new one, and the old one and its
    log are kept under another as soon as anything is changed.

    Returns:
        Where the old file is now.
    """
    names = (f"{file.name}.replaced.{stamp()}{more}.bak" for more in ("", *"abcdefgh"))
    aside = next(each for name in names if not (each := file.with_name(name)).exists())
    _on_disk(fresh)
    for ending in (*BESIDE, ""):
        part = file.with_name(file.name + ending)
        if part.exists():
            _also(part, aside.with_name(aside.name + ending))
    _on_disk(file.parent)
    # the log of the old file would be read as one of the new file's
    for ending in BESIDE:
        file.with_name(file.name + ending).unlink(missing_ok=True)
    os.replace(fresh, file)
    _on_disk(file.parent)
    return aside


def _also(part: Path, other: Path) -> None:
    """Let a file have a second name, or be copied where a disk knows one name a file only."""
    other.unlink(missing_ok=True)
    try:
        os.link(part, other)
    except OSError:
        other.write_bytes(part.read_bytes())
        _on_disk(other)


def _on_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; Windows knows no folders."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stamp(seconds: float | None = None) -> str:
    """The time in UTC, for the name of a file."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(seconds))
