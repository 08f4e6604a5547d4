"""What a page lets a process of its own do: started once, bounded, watched, cancelled.

Whatever opens a person's file on a page is such a step, and so is what takes its time: looking at
samples, measuring again, timing.

A step has a folder: `request.json` says what to do, `progress.json` how far it is, `result.json`
how it ended, plain data all three. Nothing here imports torch; what the file does, it does to that
process. A new kind of file is one more entry of `opening_worker.KINDS`, and gets its bounds there.
"""

import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qcore.errors import InvalidParams, StoreError
from store import bounds
from store.database import Store
from store.workers import children, slots
from store.workers.children import Child

REQUEST, PROGRESS, RESULT, LOG = "request.json", "progress.json", "result.json", "log"
KEEP_S = 86_400.0
CANCELLED = "cancelled"

_CHILDREN: dict[str, Child] = {}
"""The process of each step that was begun here and not told of."""

_POOLS: dict[str, "Pool"] = {}
"""Whose place each of them takes."""

State = Literal["running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Pool:
    """Steps that leave each other room.

    Attributes:
        at_once: How many may run beside each other.
        words: What messages say of those that run.
        threads: That each may compute with; 0 for as many as there are cores.
    """

    at_once: int
    words: str
    threads: int = 1


NETWORKS = Pool(2, "networks are being worked on already")


@dataclass(frozen=True, slots=True)
class Look:
    """How far a step is.

    Attributes:
        state: "running", "done", "failed" or "cancelled".
        words: What is being done, or why it failed.
        done: Steps done; 0 where there is nothing to count.
        total: All steps; 0 where there is nothing to count.
        report: What came of it, plain data.
        seconds: Since it was started.
        most_s: Seconds after which it is ended; 0 where it may take as long as it takes.
        memory_gb: Memory that its process has in hand, 10^9 bytes; 0 where it is not known.
        most_gb: What it may take beyond the program's own, 10^9 bytes; 0 for no bound.
        error: Name of the error of qcore's that it failed with; "" where it was none.
    """

    state: State
    words: str = ""
    done: int = 0
    total: int = 0
    report: Mapping[str, Any] | None = None
    seconds: float = 0.0
    most_s: float = 0.0
    memory_gb: float = 0.0
    most_gb: float = 0.0
    error: str = ""


def folder_of(store: Store) -> Path:
    """Folder of all steps of this installation."""
    return store.folder / "inspections"


def command(place: Path) -> list[str]:
    """Command line of the process that works on a step."""
    return [sys.executable, "-m", "store.jobs.opening_worker", str(place)]


def new_place(store: Store, name: str = "") -> Path:
    """A folder for a new step; old ones are removed, and what was left of this one."""
    folder = folder_of(store)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in _CHILDREN and time.time() - old.stat().st_mtime > KEEP_S:
            shutil.rmtree(old, ignore_errors=True)
    place = folder / (name or uuid.uuid4().hex[:12])
    _close(place.name)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def name_of(store: Store, kind: str, what: str) -> str:
    """The name of a step that is begun once: of one kind, on one thing, in one database."""
    digest = hashlib.sha256(f"{store.url} {what}".encode(errors="surrogateescape")).hexdigest()
    return f"{kind}{digest[:16]}"


def start(
    store: Store,
    request: Mapping[str, Any],
    place: Path | None = None,
    pool: Pool = NETWORKS,
    name: str = "",
) -> str:
    """Start a step; returns its name.

    Args:
        store: The database.
        request: What to do, plain data; its "kind" is a key of `opening_worker.KINDS`.
        place: Its folder, where it has one already.
        pool: Those that it runs beside.
        name: From `name_of`, of a step that is not begun again while it runs; "" makes one up.

    Raises:
        InvalidParams: so many run already.
        StoreError: the process could not be started.
    """
    lives = [step for step, child in list(_CHILDREN.items()) if child.process.poll() is None]
    if name in lives:
        return name
    running = sum(_POOLS.get(step) == pool for step in lives)
    if running >= pool.at_once:
        raise InvalidParams(f"{running} {pool.words}; wait for one to end, or cancel it.")
    threads = pool.threads or slots.threads_of(1)
    # by the environment, because a command line is for all to see and a URL may hold a password
    env = slots.worker_environment(slots.CPU, (), threads, store.url, store.folder)
    try:
        place = place or new_place(store, name)
        write_json(place / REQUEST, request)
        child = children.start(command(place), env, place / LOG, 0, slots.CPU)
    except OSError as error:
        raise StoreError(f"No process could be started for it: {error}.") from error
    _CHILDREN[place.name], _POOLS[place.name] = child, pool
    return place.name


def look(store: Store, step: str) -> Look:
    """How far a step is.

    Raises:
        StoreError: there is no such step, or no longer.
    """
    place = _existing(store, step)
    child = _CHILDREN.get(step)
    # first whether it lives, then what it left: it may end in between
    alive = child is not None and child.process.poll() is None
    # what the reader sees; a clock that was set back makes no time before its begin
    since = max(0.0, time.time() - (place / REQUEST).stat().st_mtime)
    result = _read(place / RESULT)
    if result is not None:
        _close(step)
        if result.get("error") == CANCELLED:
            return Look("cancelled", seconds=since)
        if "error" in result:
            kind = str(result.get("type", ""))
            return Look("failed", str(result["error"]), seconds=since, error=kind)
        return Look("done", report=result["report"], seconds=since)
    if alive and child is not None:
        told = _read(place / PROGRESS) or {}
        return Look(
            "running",
            str(told.get("words", "Starting")),
            int(told.get("done", 0)),
            int(told.get("total", 0)),
            seconds=since,
            most_s=float(told.get("most_s", 0)),
            memory_gb=bounds.resident_bytes(child.process.pid) / 1e9,
            most_gb=float(told.get("most_gb", 0)),
        )
    _close(step)
    words = children.last_words(place / LOG)
    return Look("failed", words or "Its process ended without a word.", seconds=since)


def told(store: Store, step: str) -> Look | None:
    """How far a step is that was begun here; None where none was, or its end was told.

    An end is told once, and then it can be tried again.
    """
    if step not in _CHILDREN:
        return None
    found = look(store, step)
    if found.state != "running":
        forget(store, step)
    return found


def cancel(store: Store, step: str) -> None:
    """End a step; nothing of it is kept."""
    place = _existing(store, step)
    child = _CHILDREN.get(step)
    if child is not None:
        child.kill("cancelled")
        child.process.wait()
    if _read(place / RESULT) is None:
        write_json(place / RESULT, {"error": CANCELLED})
    _close(step)


def forget(store: Store, step: str) -> None:
    """End a step where it still runs, and remove its folder."""
    cancel(store, step)
    shutil.rmtree(folder_of(store) / step, ignore_errors=True)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a file that is never seen half written."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(document), encoding="utf-8")
    fresh.replace(path)


def _existing(store: Store, step: str) -> Path:
    place = folder_of(store) / step
    if not step.isalnum() or not (place / REQUEST).is_file():
        raise StoreError("This step is no longer known; start it again.")
    return place


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}.") from error


def _close(step: str) -> None:
    child = _CHILDREN.pop(step, None)
    _POOLS.pop(step, None)
    if child is not None:
        child.close()
        child.process.wait()
