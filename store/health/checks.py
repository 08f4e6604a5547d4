"""Single checks of an installation, each a finding with what to do about it."""

import glob
import itertools
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from packaging.requirements import Requirement

from qcore.cache import damaged, entries
from qcore.errors import EvaluatorFailed
from qcore.scoring.executors import Portable, open_evaluator
from store.database.filesystems import SHARED, filesystem_of, is_network, mount_table
from store.database.locations import sqlite_file
from store.health import private
from store.health.status import free_bytes
from store.settings import GPUS_VARIABLE, Env, Settings, describe_settings
from store.workers.slots import ask_driver

ROOT = Path(__file__).parents[2]
OPTIONAL = ("requirements-postgres.txt", "requirements-cluster.txt")
OK, WARNING, PROBLEM = "ok", "warning", "problem"
LITTLE_SPACE, TOO_LITTLE_SPACE = 1 << 30, 100 << 20
CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        verdict: "ok", "warning" (works, but look at it) or "problem" (does not work).
        subject: What was looked at.
        words: What is so, and what to do.
    """

    verdict: str
    subject: str
    words: str


def check_settings(env: Env) -> Iterator[Finding]:
    """Every setting can be used."""
    for row in describe_settings(env):
        if row.problem:
            yield Finding(PROBLEM, row.name, row.problem)
        else:
            yield Finding(OK, row.name, f"{row.value} ({row.source})")


def check_packages(root: Path = ROOT) -> Iterator[Finding]:
    """Every package is there in a version that this bitdial was made for."""
    yield Finding(OK, "Python", platform.python_version())
    for name in ("requirements.txt", *OPTIONAL):
        path = root / name
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            words = line.partition("#")[0].strip()
            if words and not words.startswith("-"):
                yield _package(Requirement(words), name)


def _package(wanted: Requirement, file: str) -> Finding:
    fix = f"pip install -r {file}"
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        if file in OPTIONAL:
            return Finding(OK, wanted.name, f"not installed; only needed for {file[13:-4]}: {fix}")
        return Finding(PROBLEM, wanted.name, f"is not installed: {fix}")
    if wanted.specifier.contains(found, prereleases=True):
        return Finding(OK, wanted.name, found)
    words = f"{found} is installed, {wanted.specifier} was tested: {fix}"
    return Finding(WARNING, wanted.name, words)


def check_folder(folder: Path) -> Finding:
    """The data folder can be written."""
    try:
        if not folder.exists():
            return _missing(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"bitdial")
    except OSError as error:
        words = f"{folder} cannot be written ({error.strerror}). Change its permissions, or set "
        return Finding(PROBLEM, "Folder", f"{words}BITDIAL_DATA to another folder.")
    return Finding(OK, "Folder", f"{folder} can be written")


def _missing(folder: Path) -> Finding:
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if parent.is_dir() and os.access(parent, os.W_OK):
        return Finding(OK, "Folder", f"{folder} is made at the first start")
    words = f"{folder} does not exist and {parent} cannot be written. Set BITDIAL_DATA"
    return Finding(PROBLEM, "Folder", f"{words} to a folder that can.")


def check_private(folder: Path, file: Path | None, ours: bool = True) -> Finding:
    """Nobody but the owner reads what is stored; files of an older bitdial may be open to all.

    Args:
        folder: The data folder, or that of the database's file.
        file: The database's file; None for a server's.
        ours: Whether all in the folder is bitdial's; else what lies in it may be anybody's.
    """
    if os.name != "posix" or not folder.exists():
        return Finding(OK, "Privacy", "not looked at")
    if not folder.stat().st_mode & private.OTHERS:
        return Finding(OK, "Privacy", f"only its owner can look into {folder}")
    if file is None or ours:
        found, fix = folder.rglob("*"), f"chmod 700 '{folder}'"
    else:
        found, fix = folder.glob(f"{glob.escape(file.name)}*"), f"chmod 600 '{file}'*"
    looked = itertools.islice(found, private.MOST)
    loose = sum(
        bool(path.lstat().st_mode & private.OTHERS) for path in looked if not path.is_symlink()
    )
    if not loose:
        return Finding(OK, "Privacy", f"only its owner can read the files in {folder}")
    words = f"other users of this machine may read {loose:,} files and folders in {folder}"
    return Finding(WARNING, "Privacy", f"{words}. If that is not wanted: {fix}")


def check_disk(folder: Path, free: Callable[[Path], int] = free_bytes) -> Finding:
    """There is room for results and checkpoints."""
    space = free(folder)
    words = f"{space / 1e9:.1f} GB free where {folder} is"
    if space < TOO_LITTLE_SPACE:
        return Finding(PROBLEM, "Disk", f"{words}. Free some, or set BITDIAL_DATA elsewhere.")
    if space < LITTLE_SPACE:
        return Finding(WARNING, "Disk", f"{words}: little for checkpoints. Free some.")
    return Finding(OK, "Disk", words)


def check_cache(folder: Path) -> Finding:
    """Every entry of the cache can be read; one that cannot is worked out again."""
    found = entries(folder)
    spoilt = [f"{path.name} ({reason})" for path, reason in damaged(folder)]
    if spoilt:
        words = ", ".join(spoilt[:5]) + (f" and {len(spoilt) - 5:,} more" if spoilt[5:] else "")
        return Finding(
            WARNING,
            "Cache",
            f"{len(spoilt):,} of {len(found):,} entries in {folder} cannot be read: {words}. They "
            "are worked out again when they are needed; you may delete them.",
        )
    size = sum(path.stat().st_size for path in found if path.exists())
    return Finding(OK, "Cache", f"{len(found):,} entries of {size / 1e6:.1f} MB in {folder}")


def check_file_system(
    url: str, folder: Path, table: Callable[[], str | None] = mount_table
) -> Finding:
    """A SQLite file is not on a network file system."""
    file = sqlite_file(url)
    kind = filesystem_of((file or folder).resolve(), table())
    if kind is None:
        words = "its kind is not known on this system; use a local disk, no network share"
        return Finding(OK, "File system", words)
    if is_network(kind):
        words = f"{kind}, a network file system"
        if file is None:
            return Finding(WARNING, "File system", f"{words}: locks may fail. Use a local folder.")
        words += ": SQLite cannot work there. Set BITDIAL_DATA to a local folder, or use PostgreSQL"
        return Finding(PROBLEM, "File system", f"{words}.")
    if kind in SHARED:
        words = f"{kind}, shared with the machine around this one: open the database from one side"
        return Finding(WARNING, "File system", f"{words} only, or use a local folder.")
    return Finding(OK, "File system", kind)


def check_gpus(settings: Settings, ask: Callable[[], str] = ask_driver) -> Finding:
    """The graphics cards that searches will use are there, and torch can use them."""
    cards = [line for line in ask().splitlines() if line.startswith("GPU ")]
    if settings.gpus is not None and settings.gpus > len(cards):
        words = f"{GPUS_VARIABLE} is {settings.gpus}, but nvidia-smi lists {len(cards)}"
        return Finding(PROBLEM, "GPUs", f"{words}. Lower it, or see what `nvidia-smi` says.")
    if not cards and shutil.which("nvidia-smi"):
        words = "nvidia-smi is there but lists none; searches use the processor. Run it to see why."
        return Finding(WARNING, "GPUs", words)
    if not cards or settings.gpus == 0:
        return Finding(OK, "GPUs", f"{len(cards)} found, none used: searches use the processor")
    if version("torch").endswith("+cpu"):
        words = f"{len(cards)} found, but this torch cannot use them. Install torch with CUDA."
        return Finding(WARNING, "GPUs", words)
    return Finding(OK, "GPUs", "; ".join(card.partition(" (UUID")[0] for card in cards))


def check_evaluator(address: str, timeout_s: float = CONNECT_S) -> Finding:
    """The place where candidates are scored can be reached, and has our versions."""
    if address.partition(":")[0] not in ("tcp", "tls"):
        return Finding(OK, "Evaluator", f"{address} needs nothing else")
    waits: list[str] = []
    until = time.monotonic() + timeout_s
    try:
        with open_evaluator(
            address,
            cast(Portable, None),  # nothing is scored
            on_progress=waits.append,
            should_stop=lambda: time.monotonic() > until,
        ):
            pass
    except EvaluatorFailed as error:
        return Finding(PROBLEM, "Evaluator", str(error))
    if waits:
        words = f"{waits[0]}. Start its scheduler, or check the network; searches wait until then."
        return Finding(PROBLEM, "Evaluator", words)
    return Finding(OK, "Evaluator", f"{address} answers, with the same versions as here")
