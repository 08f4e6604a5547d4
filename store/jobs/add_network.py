"""Work on a network that is being added, in a process of its own: started, watched, cancelled.

A step has a folder: `request.json` says what to do, `progress.json` how far it is, `result.json`
how it ended. Nothing here imports torch; what the user's file does, it does to that process.
"""

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
from qcore.judges import Judge
from qcore.models.new_network import NewNetwork
from store.database import Store
from store.settings import open_seconds
from store.workers import children, slots
from store.workers.children import Child

REQUEST, PROGRESS, RESULT, LOG = "request.json", "progress.json", "result.json", "log"
AT_ONCE = 2
KEEP_S = 86_400.0
CANCELLED = "cancelled"
BOUNDED = ("add", "judge")
"""Kinds of steps that open a person's file; the others take as long as they take."""

_CHILDREN: dict[str, Child] = {}

State = Literal["running", "done", "failed", "cancelled"]


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
    """

    state: State
    words: str = ""
    done: int = 0
    total: int = 0
    report: Mapping[str, Any] | None = None
    seconds: float = 0.0
    most_s: float = 0.0


def folder_of(store: Store) -> Path:
    """Folder of all steps of this installation."""
    return store.folder / "inspections"


def command(place: Path) -> list[str]:
    """Command line of the process that works on a step."""
    return [sys.executable, "-m", "store.jobs.add_network_worker", str(place)]


def start_adding(store: Store, new: NewNetwork, upload: tuple[str, bytes] | None = None) -> str:
    """Start loading a network; returns the step's name.

    Args:
        store: The database.
        new: What the user said; its weights are replaced by the upload, where there is one.
        upload: Name and content of a file that came through the browser.

    Raises:
        InvalidParams, DataUnavailable: what was said cannot be; nothing was started.
    """
    if upload is None:
        new.check()
        return _start(store, {"kind": "add", "new": new.to_json()})
    place = _place(store)
    # only the ending is taken from a name somebody else chose
    path = place / f"upload{Path(upload[0]).suffix.lower()[:12]}"
    path.write_bytes(upload[1])
    request = {**new.to_json(), "weights": str(path)}
    try:
        NewNetwork.from_json(request).check()
    except Exception:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return _start(store, {"kind": "add", "new": request}, place)


def start_judging(store: Store, model: str, judge: Judge) -> str:
    """Start trying another judge on a network of the user's; returns the step's name."""
    return _start(store, {"kind": "judge", "model": model, "judge": judge.to_json()})


def start_check(store: Store, model: str, data: str, calibration: int, search: int) -> str:
    """Start measuring a float network on data; returns the step's name."""
    return _start(
        store,
        {
            "kind": "check",
            "model": model,
            "data": data,
            "calibration": calibration,
            "search": search,
        },
    )


def start_sensitivity(
    store: Store,
    model: str,
    data: str,
    sensitivity: str,
    weight_bits: tuple[int, ...],
    activation_bits: tuple[int, ...],
    calibration: int,
    search: int,
) -> str:
    """Start computing a sensitivity table; returns the step's name."""
    return _start(
        store,
        {
            "kind": "sensitivity",
            "model": model,
            "data": data,
            "sensitivity": sensitivity,
            "weight_bits": list(weight_bits),
            "activation_bits": list(activation_bits),
            "calibration": calibration,
            "search": search,
        },
    )


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
            return Look("failed", str(result["error"]), seconds=since)
        return Look("done", report=result["report"], seconds=since)
    if alive:
        told = _read(place / PROGRESS) or {}
        return Look(
            "running",
            str(told.get("words", "Starting")),
            int(told.get("done", 0)),
            int(told.get("total", 0)),
            seconds=since,
            most_s=open_seconds() if (_read(place / REQUEST) or {}).get("kind") in BOUNDED else 0.0,
        )
    _close(step)
    words = children.last_words(place / LOG)
    return Look("failed", words or "Its process ended without a word.", seconds=since)


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


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a file that is never seen half written."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(document), encoding="utf-8")
    fresh.replace(path)


def _place(store: Store) -> Path:
    folder = folder_of(store)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in _CHILDREN and time.time() - old.stat().st_mtime > KEEP_S:
            shutil.rmtree(old, ignore_errors=True)
    place = folder / uuid.uuid4().hex[:12]
    place.mkdir()
    return place


def _start(store: Store, request: Mapping[str, Any], place: Path | None = None) -> str:
    running = sum(child.process.poll() is None for child in list(_CHILDREN.values()))
    if running >= AT_ONCE:
        raise InvalidParams(
            f"{running} networks are being worked on already; wait for one to end, or cancel it."
        )
    place = place or _place(store)
    write_json(place / REQUEST, request)
    env = slots.worker_environment(slots.CPU, (), 1, store.url, store.folder)
    try:
        child = children.start(command(place), env, place / LOG, 0, slots.CPU)
    except OSError as error:
        raise StoreError(f"No process could be started to load the network: {error}.") from error
    _CHILDREN[place.name] = child
    return place.name


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
    if child is not None:
        child.close()
        child.process.wait()
