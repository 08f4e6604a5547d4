"""Facts about the place where results are kept: the database, the disk under it, who leads."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection

from store.database import Store
from store.database.upgrade import newest_revision, revision_of
from store.runs.files import files_folder, leader_lock

KERNEL_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class Health:
    """What holds now.

    Attributes:
        address: Of the database, without its password.
        product: "SQLite 3.46.1", "PostgreSQL 15.18".
        size: Of the database, bytes, with what is not yet merged into it.
        revision: Schema revision it has.
        newest: Schema revision that this bitdial works with.
        journal: How writes are made safe: "wal" on SQLite.
        folder: Of locks, logs and checkpoints.
        free: Bytes free on the disk of the folder.
        leader: Who starts the searches of this data folder, in words; "" if nobody does.
    """

    address: str
    product: str
    size: int
    revision: str | None
    newest: str
    journal: str
    folder: Path
    free: int
    leader: str


def health(store: Store) -> Health:
    """Look at everything that is quick to look at.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    with store.read() as connection:
        product, journal = _kind(connection)
        size, revision = size_of(connection), revision_of(connection)
    return Health(
        address=store.shown,
        product=product,
        size=size,
        revision=revision,
        newest=newest_revision(),
        journal=journal,
        folder=store.folder,
        free=free_bytes(store.folder),
        leader=leader(store),
    )


def _kind(connection: Connection) -> tuple[str, str]:
    if connection.dialect.name == "sqlite":
        version = connection.exec_driver_sql("SELECT sqlite_version()").scalar()
        return f"SQLite {version}", str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
    version = connection.exec_driver_sql("SHOW server_version").scalar()
    return f"PostgreSQL {str(version).split()[0]}", "the server's own write-ahead log"


def size_of(connection: Connection) -> int:
    """Bytes of a database."""
    if connection.dialect.name != "sqlite":
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar()
        return int(size or 0)
    file = connection.engine.url.database or ""
    parts = [Path(file), Path(f"{file}-wal")]
    return sum(part.stat().st_size for part in parts if part.exists())


def free_bytes(folder: Path) -> int:
    """Bytes free on the disk of a folder, or of where it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock file; one that does not exist is not made."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, PermissionError):  # held, or another user's
        return True


def leader(store: Store) -> str:
    """Who starts the searches of this data folder, in words; "" if nobody does."""
    if not files_folder(store).exists() or not is_held(leader_lock(store)):
        return ""
    holder = holder_of(leader_lock(store))
    return "a server of another process" if holder is None else f"the server of process {holder}"


def holder_of(lock: Path) -> int | None:
    """Number of the process that holds a lock file, where the system tells (Linux)."""
    try:
        inode = lock.stat().st_ino
        lines = KERNEL_LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        # "1: FLOCK  ADVISORY  WRITE 4711 08:02:131074 0 EOF"
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].split(":")[-1] == str(inode):
            return int(fields[4]) if int(fields[4]) > 0 else None
    return None
