"""Where the files of a database's runs lie: locks, logs and checkpoints.

Those of the default database lie in the data folder itself. Any other database has a folder of its
own there, so that two databases in one data folder never share a lock. The cache is one for all.
"""

import hashlib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

from qcore.cache import NO_CACHE, Cache
from store.database import Store
from store.database.locations import FILE_NAME, sqlite_file
from store.settings import cache_gb

_NUMBERED = re.compile(r"run-(\d+)(?:[.-].*)?")


def files_folder(store: Store) -> Path:
    """Folder of everything below."""
    file = sqlite_file(store.url)
    if file is not None:
        return store.folder if file.name == FILE_NAME else store.folder / f"{file.name}.files"
    url = make_url(store.url)
    # who logs in does not matter: it is the same database
    place = hashlib.sha256(f"{url.host}:{url.port}/{url.database}".encode()).hexdigest()[:8]
    return store.folder / f"{url.database}-{place}.files"


def cache_folder(folder: Path) -> Path:
    """Where the cache of a data folder lies."""
    return folder / "cache"


def cache_of(store: Store) -> Cache:
    """What was worked out before of any network and samples, on this machine.

    Raises:
        InvalidParams: the setting of its size is nonsense.
    """
    most = int(cache_gb() * 1e9)
    # codes lay in a folder of their own before there was one for all
    shutil.rmtree(store.folder / "rounded", ignore_errors=True)
    return Cache(cache_folder(store.folder), most) if most else NO_CACHE


def leader_lock(store: Store) -> Path:
    """Held by the one server that starts workers here."""
    return _made(files_folder(store)) / "supervisor.lock"


def run_lock(store: Store, run_id: int) -> Path:
    """Held by the process that works on a run."""
    return _made(files_folder(store) / "locks") / f"run-{run_id}.lock"


def log_file(store: Store, run_id: int, attempt: int) -> Path:
    """What the worker of an attempt wrote to its output."""
    return _made(files_folder(store) / "logs") / f"run-{run_id}-{attempt}.log"


def log_tail(store: Store, run_id: int, attempt: int, lines: int = 200) -> str:
    """The last lines of an attempt's log on this machine; "" where there is none."""
    path = files_folder(store) / "logs" / f"run-{run_id}-{attempt}.log"
    try:
        content = path.read_bytes()[-lines * 400 :]
    except OSError:
        return ""
    return "\n".join(content.decode(errors="replace").splitlines()[-lines:])


def checkpoint_folder(store: Store, run_id: int) -> Path:
    """Folder of a run's training states; made when the first one is saved."""
    return files_folder(store) / "checkpoints" / f"run-{run_id}"


def remove_files(store: Store, run_id: int) -> None:
    """Remove everything a deleted run left; what is still in use goes at a later sweep."""
    for number, path in _found(store):
        if number == run_id:
            _remove(path)


def leftovers(store: Store) -> set[int]:
    """Numbers of the runs that have files here."""
    return {number for number, _ in _found(store)}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _found(store: Store) -> Iterator[tuple[int, Path]]:
    for kind in ("locks", "logs", "checkpoints"):
        folder = files_folder(store) / kind
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            match = _NUMBERED.fullmatch(path.name)
            if match:
                yield int(match[1]), path


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        # a file in use cannot be removed on Windows; the next server's sweep tries again
        sys.stderr.write(f"could not remove {path}: {error}\n")
