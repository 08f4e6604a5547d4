"""The side of a run that its worker and its supervisor write: claimed, beating, stored, given back.

Whoever works on a run names the attempt it claimed, and so does whoever gives it up for dead. A
write whose attempt is no longer the run's is refused, so a worker that was given up and wakes again
cannot spoil its successor's results. Each function is one transaction.
"""

import hashlib
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from qcore.errors import StoreError
from qcore.intact import checked, intact, read_each
from qcore.run_spec import RunSpec
from store.database import Store, now
from store.database.schema import EventRow, RunRow

DEVICE_LENGTH = 100
"""Letters of a slot that are kept to be shown: drivers give cards names of any length."""

HOST_LENGTH = 200
FIGURES = "figures"
ON_DATA = "data"
ON_CORRECTION = "correction"

AFTER = {
    "run": ("queued", "requeued"),
    "pause": ("paused", "paused"),
    "stop": ("paused", "paused"),
    "cancel": ("cancelled", "cancelled"),
}
"""What the user wants -> state of a run that its worker gives back, and the kind of the event."""


class Fenced(StoreError):
    """This attempt no longer holds the run; its writes are refused."""


@dataclass(frozen=True, slots=True)
class Open:
    """A queued or running run as supervisors see it; see `queue.Run`."""

    id: int
    state: str
    want: str
    attempt: int
    idle_attempts: int
    beat: int
    host: str | None
    pid: int | None
    device: str | None


def host_name(store: Store) -> str:
    """Who works here: this machine and this database's folder."""
    name = f"{socket.gethostname()}:{store.folder}"
    if len(name) <= HOST_LENGTH:
        return name
    return name[: HOST_LENGTH - 17] + "-" + hashlib.sha256(name.encode()).hexdigest()[:16]


def log(
    connection: Connection,
    run_id: int,
    kind: str,
    words: str,
    attempt: int | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Add a line to a run's history, inside the caller's transaction."""
    values = {"run_id": run_id, "at": now(), "kind": kind, "text": words, "attempt": attempt}
    connection.execute(insert(EventRow).values(**values, data=data))


def open_runs(store: Store) -> list[Open]:
    """Every queued or running run that can be told from others, oldest first."""
    columns = [getattr(RunRow, name) for name in Open.__slots__]
    query = select(*columns).where(RunRow.state.in_(("queued", "running"))).order_by(RunRow.id)
    with store.read() as connection:
        rows = connection.execute(query).all()
    return read_each(rows, read_open)[0]


def read_open(row: Any) -> Open:
    """A row of runs, as supervisors see it.

    Raises:
        Damaged: it is none any more.
    """
    with intact(f"Run {row.id}"):
        found = checked(Open(*(getattr(row, name) for name in Open.__slots__)))
        if found.want not in AFTER:
            raise ValueError(f"{found.want!r} is wanted of it")
    return found


def claim(
    store: Store, host: str, device: str | None = None, *, run_id: int | None = None
) -> tuple[int, int] | None:
    """Take a queued run: (its number, the new attempt), or None if there is none to take.

    Args:
        store: The database.
        host: Who takes it, from `host_name`.
        device: The slot it gets, such as "cpu" or "cuda:1"; shown to the user.
        run_id: Which run; None is the oldest.
    """
    wanted = [RunRow.state == "queued"]
    if run_id is not None:
        wanted.append(RunRow.id == run_id)
    query = select(RunRow.id, RunRow.attempt).where(*wanted).order_by(RunRow.id).limit(1)
    with store.write() as connection:
        row = connection.execute(query).first()
        if row is None:
            return None
        return row.id, take(connection, row.id, row.attempt, host, device)


def take(connection: Connection, run_id: int, seen: int, host: str, device: str | None) -> int:
    """Make a queued run running under the next attempt; returns that attempt.

    Raises:
        Fenced: it is not queued under the attempt that was seen.
    """
    taken = connection.execute(
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.attempt == seen, RunRow.state == "queued")
        .values(
            state="running",
            want="run",
            attempt=seen + 1,
            idle_attempts=RunRow.idle_attempts + 1,
            host=host,
            pid=None,
            device=None if device is None else device[:DEVICE_LENGTH],
            started=func.coalesce(RunRow.started, now()),
            message="Starting",
        )
    )
    if not taken.rowcount:
        raise Fenced(f"Run {run_id} was taken by somebody else.")
    log(connection, run_id, "claimed", f"attempt {seen + 1} on {host}", seen + 1)
    return seen + 1


def _held(run_id: int, attempt: int) -> ColumnElement[bool]:
    return and_(RunRow.id == run_id, RunRow.attempt == attempt, RunRow.state == "running")


def write_held(connection: Connection, run_id: int, attempt: int, **values: Any) -> None:
    """Update a run that this attempt holds.

    Raises:
        Fenced: it holds it no longer; the transaction is rolled back.
    """
    done = connection.execute(update(RunRow).where(_held(run_id, attempt)).values(**values))
    if not done.rowcount:
        raise Fenced(f"Attempt {attempt} of run {run_id} is over; this write is refused.")


def beat(store: Store, run_id: int, attempt: int, **values: Any) -> str:
    """Say this attempt is alive; returns what the user wants: run, pause, stop or cancel.

    Raises:
        Fenced: the attempt holds the run no longer.
    """
    with store.write() as connection:
        write_held(connection, run_id, attempt, beat=RunRow.beat + 1, **values)
        return str(connection.execute(select(RunRow.want).where(RunRow.id == run_id)).scalar_one())


def progress(
    store: Store,
    run_id: int,
    attempt: int,
    step: int,
    total: int,
    message: str,
    figures: Mapping[str, Any] | None = None,
) -> None:
    """Store how far a run is, and figures (from `plain`) worth plotting later.

    Raises:
        Fenced: the attempt holds the run no longer.
    """
    with store.write() as connection:
        write_held(connection, run_id, attempt, step=step, total=total, message=message)
        if figures:
            log(connection, run_id, FIGURES, message, attempt, figures)


def plain(value: Any) -> Any:
    """Numbers, words, lists and mappings as JSON data; what JSON cannot say (NaN) as None."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if hasattr(value, "tolist"):  # a numpy number or array
        return plain(value.tolist())
    return float(value) if math.isfinite(value) else None


def settle(store: Store, run_id: int, attempt: int, spec: RunSpec) -> None:
    """Keep what a run this attempt holds was asked, with what was left open decided.

    Raises:
        Fenced: the attempt holds the run no longer.
    """
    with store.write() as connection:
        write_held(connection, run_id, attempt, spec=spec.to_json())


def note(store: Store, run_id: int, attempt: int, kind: str, words: str) -> None:
    """Add a line to the history of a run this attempt holds, and show it as its message.

    Raises:
        Fenced: the attempt holds the run no longer.
    """
    with store.write() as connection:
        write_held(connection, run_id, attempt, message=words)
        log(connection, run_id, kind, words, attempt)


def finish(
    store: Store,
    run_id: int,
    attempt: int,
    state: str,
    words: str = "",
    traceback: str | None = None,
) -> None:
    """End a run as "done", "cancelled" or "failed"; words say why it failed.

    Raises:
        Fenced: the attempt holds the run no longer.
    """
    failed = state == "failed"
    with store.write() as connection:
        write_held(
            connection,
            run_id,
            attempt,
            state=state,
            finished=now(),
            pid=None,
            message="" if failed else words,
            error=words if failed else None,
            traceback=traceback,
        )
        log(connection, run_id, state, words, attempt)


def requeue(
    store: Store, run_id: int, attempt: int, words: str, *, blameless: bool = False
) -> bool:
    """Give back a run whose attempt is over: to the queue, or where the user wants it.

    A run that was to be paused or stopped is paused, one that was to be cancelled is cancelled.

    Args:
        store: The database.
        run_id: Its number.
        attempt: The attempt that was seen to be over.
        words: Why, for its history.
        blameless: The attempt ended for no fault of its own and does not count as an idle one.

    Returns:
        False if somebody else holds the run by now; nothing was written then.
    """
    seen = select(RunRow.want, RunRow.idle_attempts).where(_held(run_id, attempt))
    with store.write() as connection:
        row = connection.execute(seen).first()
        if row is None:
            return False
        state, kind = AFTER[row.want]
        values: dict[str, Any] = {"state": state, "message": words, "pid": None}
        if state == "queued":
            values |= {"host": None, "idle_attempts": max(0, row.idle_attempts - blameless)}
        elif state == "cancelled":
            values |= {"finished": now(), "message": "stopped on request"}
        else:
            values |= {"idle_attempts": 0, "message": "paused; it goes on from here when resumed"}
        write_held(connection, run_id, attempt, **values)
        log(connection, run_id, kind, values["message"], attempt)
        return True
