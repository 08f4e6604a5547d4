"""Copies of a SQLite database while it is used, looked through before they count, and put back.

A database server has tools of its own for this, and is told of in words.
"""

import logging
import os
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from qcore.errors import DatabaseUnavailable, InvalidParams, QcoreError, StoreError
from store.database import Store
from store.database.errors_explained import explained
from store.database.locations import database_url, shown_url, sqlite_file
from store.database.upgrade import known_revisions
from store.health.swap import alone, put_in_place, stamp
from store.runs.files import files_folder
from store.settings import read_settings

WEEK_S = 7 * 86_400
LOOK_S = 3600.0
FIRST_LOOK_S = 60.0
"""Who opens the dashboard for a moment does not wait for a copy."""

_WEEKLY = re.compile(r"\.weekly\.(\d{14})\.bak$")


def back_up(store: Store, target: Path) -> int:
    """Copy the database into a new file while others read and write it, and look through the copy.

    Returns:
        Bytes of the copy. It holds everything that was stored when the copying began.

    Raises:
        InvalidParams: something is at the target already.
        DatabaseUnavailable: it is a database server's, or a disk is full.
        StoreError: the copy is damaged; nothing was kept of it.
    """
    source = _file_of(store.url, "pg_dump --format=custom --file=FILE DATABASE")
    if os.path.lexists(target):
        raise InvalidParams(f"{target} is there already; give the backup another name.")
    return _copied(source, target, store.url)


def _file_of(url: str, instead: str) -> Path:
    file = sqlite_file(url)
    if file is None:
        raise DatabaseUnavailable(
            f"{shown_url(url)} is a database server's, which has its own way: {instead}."
        )
    return file


def _copied(source: Path, target: Path, url: str) -> int:
    """Copy one file of SQLite to a place that is free or gets what is there replaced."""
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
        with explained(url), closing(sqlite3.connect(part)) as copy:
            with closing(sqlite3.connect(source)) as original:
                original.backup(copy)
            # a copy is one file, whole without a second one beside it
            copy.execute("PRAGMA journal_mode=DELETE")
            said = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(5)")]
        if said != ["ok"]:
            raise StoreError(
                f"{source} is damaged ({'; '.join(said)}), and so would be its copy; nothing was "
                "kept of it. See `python -m store doctor`."
            )
        os.replace(part, target)
    except OSError as error:
        raise DatabaseUnavailable(
            f"{target} cannot be written ({error.strerror or error}). Free some space, or give "
            "another place."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return target.stat().st_size


def restore(location: str | Path | None, backup: Path) -> Path | None:
    """Put a backup in the place of the database, which is kept beside it.

    Args:
        location: The database, as `open_store` takes it; it may be damaged or missing.
        backup: A file that `back_up` or an upgrade made.

    Returns:
        Where the database of before is now; None where there was none.

    Raises:
        InvalidParams: the backup is missing, damaged or none of bitdial's.
        DatabaseUnavailable: the database is a server's, in use, or its folder cannot be written.
    """
    url = database_url(location)
    target = _file_of(url, "pg_restore --clean --dbname=DATABASE FILE")
    _check_backup(backup)
    with alone(target):
        fresh = target.with_name(f"{target.name}.restored")
        _copied(backup, fresh, url)
        if target.exists():
            return put_in_place(fresh, target)
        os.replace(fresh, target)
        return None


def _check_backup(backup: Path) -> None:
    words = f"{backup} cannot be put back: "
    try:
        if not backup.is_file():
            raise InvalidParams(f"{words}there is no such file.")
        with closing(sqlite3.connect(backup)) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, OSError) as error:
        raise InvalidParams(f"{words}it is no database of bitdial's ({error}).") from error
    if said != ["ok"]:
        raise InvalidParams(f"{words}it is damaged ({'; '.join(said)}).")
    if found is None or found[0] not in known_revisions():
        schema = "none" if found is None else found[0]
        raise InvalidParams(f"{words}this bitdial does not know its schema ({schema}).")


def weekly(file: Path) -> list[Path]:
    """The weekly backups beside a database, oldest first."""
    prefix = f"{file.name}.weekly."
    found = (path for path in file.parent.iterdir() if path.name.startswith(prefix))
    return sorted(path for path in found if _WEEKLY.search(path.name))


def is_due(file: Path, clock: Callable[[], float] = time.time) -> bool:
    """Whether the newest weekly backup is a week old, or from a future that a clock made up."""
    dates = [found[1] for path in weekly(file) if (found := _WEEKLY.search(path.name))]
    now = clock()
    near = (stamp(now - WEEK_S), stamp(now + 86_400))
    return not any(near[0] < date < near[1] for date in dates)


def back_up_weekly(store: Store, keep: int, clock: Callable[[], float] = time.time) -> Path | None:
    """Make this week's backup where it is due, then remove the oldest beyond `keep`.

    Returns:
        The new file; None where none is due, none is wanted (0), or there is no room for one.

    Raises:
        StoreError: no sound copy can be made; older ones are all kept.
    """
    file = sqlite_file(store.url)
    if file is None or not keep or not is_due(file, clock):
        return None
    if shutil.disk_usage(file.parent).free < 2 * file.stat().st_size:
        logging.getLogger("bitdial").warning("No room for the weekly backup of %s.", file)
        return None
    made = file.with_name(f"{file.name}.weekly.{stamp(clock())}.bak")
    back_up(store, made)
    others = [path for path in weekly(file) if path != made]
    for old in others[: max(0, len(others) - keep + 1)]:
        old.unlink(missing_ok=True)
    return made


def keep_backups(store: Store, stopping: threading.Event) -> None:
    """Back up weekly until the server stops; one server of a folder at a time does."""
    wait = FIRST_LOOK_S
    while not stopping.wait(wait):
        wait = LOOK_S
        try:
            with FileLock(files_folder(store) / "backup.lock", timeout=0):
                back_up_weekly(store, read_settings().backups)
        except (Timeout, QcoreError, OSError) as error:
            logging.getLogger("bitdial").warning("No weekly backup: %s", error)
