"""Training states of a run as files, so that a killed worker repeats one epoch at most.

A file is complete before its name appears and before the database knows it; its size and digest are
checked when it is read. The two newest of each stage are kept, in case the newest is damaged.
"""

import hashlib
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select

from qcore import __version__
from qcore.errors import Damaged, DatabaseUnavailable, QcoreError
from qcore.intact import checked, intact, reason
from store.database import Store, now
from store.database.json_text import all_json
from store.database.schema import CheckpointRow
from store.runs import files, lease

KEPT = 2

NOBODY = 0
"""An attempt that holds no run: it may look at one, and write nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the database knows of a file with a training state.

    Attributes:
        run_id: Whose it is.
        stage: Of its training.
        epoch: Epochs done.
        path: Name of the file, in the run's folder.
        bytes: Its size.
        sha256: Its digest, in hexadecimal.
    """

    run_id: int
    stage: str
    epoch: int
    path: str
    bytes: int
    sha256: str


def read_entry(row: Any) -> Entry:
    """A row of checkpoints.

    Raises:
        Damaged: it is none any more; the file of another stage, epoch or folder is none of its.
    """
    name = f"Checkpoint {row.epoch!s:.20} of {row.stage!s:.100} of run {row.run_id!s:.20}"
    with intact(name):
        all_json(row)
        found = checked(Entry(*(getattr(row, column) for column in Entry.__slots__)))
        wanted = re.escape(f"{stage_name(found.stage)}-{found.epoch:06}-")
        if not re.fullmatch(rf"{wanted}\d+\.pt", found.path):
            raise ValueError("its file has the name of another one")
        if not re.fullmatch(r"[0-9a-f]{64}", found.sha256) or found.bytes < 0:
            raise ValueError("what is known of its file is damaged")
    return found


class FileCheckpoints:
    """`qcore.qat.checkpoints.Checkpoints` of one attempt of a run.

    Args:
        store: The open database.
        run_id: The run.
        attempt: The attempt that holds it.
    """

    def __init__(self, store: Store, run_id: int, attempt: int) -> None:
        self._store, self._run_id, self._attempt = store, run_id, attempt
        self._folder = files.checkpoint_folder(store, run_id)

    def load(self, stage: str) -> tuple[int, bytes] | None:
        """Newest undamaged state of a stage as (epochs done, bytes), or None."""
        for row in self._rows(stage):
            try:
                return row.epoch, self._read(row)
            except Damaged as error:
                self._note(str(error))
        return None

    def has(self, stage: str) -> bool:
        """Whether the newest state of a stage is on this machine, whole by its size."""
        for row in self._rows(stage)[:1]:
            try:
                return self._whole(read_entry(row))
            except (Damaged, OSError):
                return False
        return False

    def _read(self, row: Any) -> bytes:
        """What the file of a row holds.

        Raises:
            Damaged: the row or its file is.
        """
        entry = read_entry(row)
        name = f"Checkpoint of {entry.stage}, epoch {entry.epoch}"
        try:
            if not self._whole(entry):
                raise Damaged(f"{name}: its file is damaged.")
            data = (self._folder / entry.path).read_bytes()
        except OSError as error:
            raise Damaged(f"{name}: its file cannot be read: {reason(error)}") from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise Damaged(f"{name}: its file is damaged.")
        return data

    def _whole(self, entry: Entry) -> bool:
        path = self._folder / entry.path
        return path.stat().st_size == entry.bytes and path.is_file()

    def save(self, stage: str, epoch: int, data: bytes) -> None:
        """Keep the state after `epoch` epochs of a stage, and of older ones the newest.

        Raises:
            DatabaseUnavailable: the file or its entry cannot be written; nothing has changed.
            Fenced: the attempt holds the run no longer; nothing has changed.
        """
        path = self._folder / self._name(stage, epoch)
        try:
            write_whole(path, data)
        except OSError as error:
            raise DatabaseUnavailable(
                f"Cannot write the checkpoint {path} of {len(data):,} bytes: "
                f"{error.strerror or error}. Free some space or change its permissions; what was "
                "stored before is kept."
            ) from error
        try:
            self._record(stage, epoch, path.name, data)
        except QcoreError:
            path.unlink(missing_ok=True)
            raise
        self._clear(stage)

    def _record(self, stage: str, epoch: int, name: str, data: bytes) -> None:
        row = CheckpointRow
        mine = (row.run_id == self._run_id) & (row.stage == stage)
        values = {
            "run_id": self._run_id,
            "stage": stage,
            "epoch": epoch,
            "attempt": self._attempt,
            "path": name,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "versions": versions(),
            "at": now(),
        }
        with self._store.write() as connection:
            lease.write_held(connection, self._run_id, self._attempt, idle_attempts=0)
            # later ones than this are of a state that could not be read again
            connection.execute(delete(row).where(mine, row.epoch >= epoch))
            connection.execute(insert(row).values(**values))
            epochs = connection.scalars(
                select(row.epoch).where(mine).order_by(row.epoch.desc())
            ).all()
            if len(epochs) > KEPT:
                connection.execute(delete(row).where(mine, row.epoch < epochs[KEPT - 1]))

    def _rows(self, stage: str) -> list[Any]:
        row = CheckpointRow
        query = select(*(getattr(row, name) for name in Entry.__slots__)).where(
            row.run_id == self._run_id, row.stage == stage
        )
        with self._store.read() as connection:
            return list(connection.execute(query.order_by(row.epoch.desc())))

    def _clear(self, stage: str) -> None:
        """Remove files of a stage that no entry names."""
        kept = {row.path for row in self._rows(stage)}
        for path in self._folder.glob(f"{stage_name(stage)}-*"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _name(self, stage: str, epoch: int) -> str:
        # with the attempt: one that was given up must not overwrite its successor's file
        return f"{stage_name(stage)}-{epoch:06}-{self._attempt}.pt"

    def _note(self, words: str) -> None:
        words = f"{words} It goes on from the one before, or begins the stage anew."
        lease.note(self._store, self._run_id, self._attempt, "checkpoint", words)


def trained_stage(store: Store, run_id: int, stage: str) -> bytes | None:
    """What a run's training left of a stage, or None: it is not here, or a file is damaged."""
    try:
        found = FileCheckpoints(store, run_id, NOBODY).load(stage)
    except lease.Fenced:  # a file is damaged, and what another run has is not ours to judge
        return None
    return None if found is None else found[1]


def has_stage(store: Store, run_id: int, stage: str) -> bool:
    """Whether the newest file of a run's stage is on this machine, whole by its size."""
    return FileCheckpoints(store, run_id, NOBODY).has(stage)


def stage_name(stage: str) -> str:
    """A stage's name as part of a file's: readable, and different for different stages."""
    readable = re.sub(r"[^A-Za-z0-9_.]+", "_", stage)[:60]
    return f"{readable}-{hashlib.sha256(stage.encode()).hexdigest()[:8]}"


def versions() -> dict[str, str]:
    """What wrote a checkpoint, for whoever must find out why it does not load."""
    torch = sys.modules.get("torch")
    return {
        "bitdial": __version__,
        "torch": str(getattr(torch, "__version__", "")),
        "python": platform.python_version(),
    }


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, even if the power fails.

    Raises:
        OSError: it could not be written; nothing has changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):
        # the new name itself must reach the disk; Windows has no such call
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
