"""Records that jobs keep as small files beside the database: read, written whole, oldest gone."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from qcore.errors import InvalidData, StoreError

Record = TypeVar("Record")


def read(path: Path, parse: Callable[[str], Record], most: int, what: str) -> Record | None:
    """The record of a file; None where there is none yet.

    Args:
        path: The file.
        parse: Its text to the record; raises InvalidData.
        most: Bytes of a file that may be one.
        what: What it is a record of, for messages.

    Raises:
        InvalidData: it is damaged; it was removed, so that it can be computed again.
    """
    try:
        if path.stat().st_size > most:
            raise InvalidData(f"The record of {what} is too large to be one; compute it again.")
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (InvalidData, OSError, UnicodeDecodeError) as error:
        with contextlib.suppress(OSError):
            path.unlink()
        if isinstance(error, InvalidData):
            raise
        raise InvalidData(f"The record of {what} cannot be read: {error}.") from error


def write(path: Path, text: str) -> None:
    """Write a record, never half.

    Raises:
        StoreError: it could not be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise StoreError(f"The record could not be written to {path.parent}: {error}.") from error


def forget_oldest(folder: Path, most: int) -> None:
    """Keep the latest records of a folder."""
    found = []
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError):
            found.append((path.stat().st_mtime, path))
    for _, path in sorted(found)[:-most]:
        with contextlib.suppress(OSError):
            path.unlink()
