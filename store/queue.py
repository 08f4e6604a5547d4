"""Runs: asked for by users, claimed by the supervisor, written by the one worker that holds them.

Each function is one transaction and returns frozen values. Whoever works on a run names the attempt
it claimed; a write whose attempt is no longer the run's is refused, so a worker that was given up
for dead cannot spoil its successor's results.
"""

import socket
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from qcore.errors import InvalidParams, RunFinished, RunNotFound, StoreError
from qcore.problem import RunSpec
from store.db import Store, now
from store.schema import EventRow, PointRow, RunRow

ACTIVE = ("queued", "running")
ENDED = ("done", "cancelled", "failed")


class Fenced(StoreError):
    """This attempt no longer holds the run; its writes are refused."""


@dataclass(frozen=True, slots=True)
class Run:
    """One search on one problem.

    Attributes:
        id: Its number.
        name: What the user calls it.
        spec: What was asked for.
        state: "queued", "running", "done", "cancelled" or "failed".
        want: "run" or "cancel".
        attempt: How often it was claimed.
        beat: Counts up while a worker is alive.
        step: Progress, of `total`; total 0 while unknown.
        total: See step.
        message: What is being done, in a few words.
        error: Why it failed, for the user.
        traceback: The same for a developer.
        created: UTC, ISO 8601; so are started and finished.
        started: When a worker first took it.
        finished: When it ended.
        evaluations: Points stored so far.
    """

    id: int
    name: str
    spec: RunSpec
    state: str
    want: str
    attempt: int
    beat: int
    step: int
    total: int
    message: str
    error: str | None
    traceback: str | None
    created: str
    started: str | None
    finished: str | None
    evaluations: int

    @property
    def cancelling(self) -> bool:
        """True between a wish to cancel and the worker's end."""
        return self.state == "running" and self.want == "cancel"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a run's history; `at` is UTC, ISO 8601."""

    at: str
    kind: str
    text: str


def _run(row: Any) -> Run:
    fields = {name: getattr(row, name) for name in Run.__slots__ if name != "spec"}
    return Run(spec=RunSpec.from_json(row.spec), **fields)


def _select() -> Any:
    count = select(func.count()).where(PointRow.run_id == RunRow.id).scalar_subquery()
    return select(*RunRow.__table__.columns, count.label("evaluations"))


def log(connection: Connection, run_id: int, kind: str, words: str) -> None:
    """Add a line to a run's history, inside the caller's transaction."""
    connection.execute(insert(EventRow).values(run_id=run_id, at=now(), kind=kind, text=words))


def create_run(
    store: Store, spec: RunSpec, name: str | None = None, *, host: str | None = None
) -> int:
    """Queue a run and return its number.

    Args:
        store: The database.
        spec: What to do.
        name: What to call it; None is the search's name.
        host: Take it at once as attempt 1 on this host, before any server can.

    Raises:
        InvalidParams: an active run already has this name.
    """
    with store.write() as connection:
        if name is not None:
            taken = select(RunRow.id).where(RunRow.name == name, RunRow.state.in_(ACTIVE))
            if connection.execute(taken).first():
                raise InvalidParams(f"A run named {name!r} is still active; choose another name.")
        values = {
            "name": name or spec.search,
            "model": spec.model,
            "spec": spec.to_json(),
            "state": "queued",
            "want": "run",
            "attempt": 0,
            "idle_attempts": 0,
            "beat": 0,
            "step": 0,
            "total": 0,
            "message": "",
            "created": now(),
        }
        run_id = int(connection.execute(insert(RunRow).values(**values)).inserted_primary_key[0])  # type: ignore[index]
        log(connection, run_id, "submitted", f"{spec.search} on {spec.model}, {spec.data}")
        if host is not None:
            take(connection, run_id, 0, host)
        return run_id


def runs(store: Store, model: str | None = None) -> list[Run]:
    """All runs, newest first; of one model where one is named."""
    query = _select().order_by(RunRow.id.desc())
    if model is not None:
        query = query.where(RunRow.model == model)
    with store.read() as connection:
        return [_run(row) for row in connection.execute(query)]


def run(store: Store, run_id: int) -> Run:
    """One run.

    Raises:
        RunNotFound: no run has this number.
    """
    with store.read() as connection:
        row = connection.execute(_select().where(RunRow.id == run_id)).first()
    if row is None:
        raise _not_found(run_id)
    return _run(row)


def events(store: Store, run_id: int) -> list[Event]:
    """A run's history, oldest first."""
    query = select(EventRow.at, EventRow.kind, EventRow.text).where(EventRow.run_id == run_id)
    with store.read() as connection:
        return [Event(*row) for row in connection.execute(query.order_by(EventRow.id))]


def request_cancel(store: Store, run_id: int) -> None:
    """Cancel a run: at once if queued, else at its worker's next evaluation.

    Raises:
        RunNotFound: no such run.
        RunFinished: it has ended already.
    """
    with store.write() as connection:
        state = connection.execute(
            select(RunRow.state).where(RunRow.id == run_id)
        ).scalar_one_or_none()
        if state is None:
            raise _not_found(run_id)
        if state in ENDED:
            raise RunFinished(f"Run {run_id} is {state} already; there is nothing to cancel.")
        values = {"want": "cancel"}
        if state == "queued":
            values |= {"state": "cancelled", "finished": now()}
        connection.execute(update(RunRow).where(RunRow.id == run_id).values(**values))
        if state == "queued":
            log(connection, run_id, "cancelled", "before it started")
        else:
            log(connection, run_id, "cancelling", "asked to stop after the evaluation in hand")


def _not_found(run_id: int) -> RunNotFound:
    return RunNotFound(f"There is no run {run_id}; `python -m store list` shows them.")


def delete_run(store: Store, run_id: int) -> None:
    """Delete an ended run with its points and history.

    Raises:
        RunNotFound: no such run.
        StoreError: it is still active.
    """
    found = run(store, run_id)
    if found.state in ACTIVE:
        raise StoreError(f"Run {run_id} is {found.state}; cancel it before deleting it.")
    with store.write() as connection:
        connection.execute(delete(RunRow).where(RunRow.id == run_id))


def claim(store: Store, host: str) -> tuple[int, int] | None:
    """Take the oldest queued run: (its number, the new attempt), or None."""
    with store.write() as connection:
        row = connection.execute(
            select(RunRow.id, RunRow.attempt)
            .where(RunRow.state == "queued", RunRow.want == "run")
            .order_by(RunRow.id)
            .limit(1)
        ).first()
        if row is None:
            return None
        return row.id, take(connection, row.id, row.attempt, host)


def host_name(store: Store) -> str:
    """Who works here: this machine and this database's folder."""
    return f"{socket.gethostname()}:{store.folder}"


def take(connection: Connection, run_id: int, seen: int, host: str) -> int:
    """Make a queued run running under the next attempt; returns that attempt."""
    first = func.coalesce(RunRow.started, now())
    taken = connection.execute(
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.attempt == seen, RunRow.state == "queued")
        .values(
            state="running",
            attempt=seen + 1,
            idle_attempts=RunRow.idle_attempts + 1,
            host=host,
            started=first,
            message="Starting",
        )
    )
    if not taken.rowcount:
        raise Fenced(f"Run {run_id} was taken by somebody else.")
    log(connection, run_id, "claimed", f"attempt {seen + 1} on {host}")
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


def beat(store: Store, run_id: int, attempt: int) -> str:
    """Say this attempt is alive; returns what the user wants, "run" or "cancel"."""
    with store.write() as connection:
        write_held(connection, run_id, attempt, beat=RunRow.beat + 1)
        return str(connection.execute(select(RunRow.want).where(RunRow.id == run_id)).scalar_one())


def progress(store: Store, run_id: int, attempt: int, step: int, total: int, message: str) -> None:
    """Store how far a run is."""
    with store.write() as connection:
        write_held(connection, run_id, attempt, step=step, total=total, message=message)


def note(store: Store, run_id: int, attempt: int, kind: str, words: str) -> None:
    """Add a line to the history of a run this attempt holds, and show it as its message."""
    with store.write() as connection:
        write_held(connection, run_id, attempt, message=words)
        log(connection, run_id, kind, words)


def finish(
    store: Store,
    run_id: int,
    attempt: int,
    state: str,
    words: str = "",
    traceback: str | None = None,
) -> None:
    """End a run as "done", "cancelled" or "failed"; words say why it failed."""
    failed = state == "failed"
    with store.write() as connection:
        write_held(
            connection,
            run_id,
            attempt,
            state=state,
            finished=now(),
            message="" if failed else words,
            error=words if failed else None,
            traceback=traceback,
        )
        log(connection, run_id, state, words)


def requeue(store: Store, run_id: int, attempt: int, words: str) -> bool:
    """Put a run whose attempt is over back into the queue; False if somebody else holds it.

    A run that was to be cancelled is cancelled instead: nobody would claim it again.
    """
    with store.write() as connection:
        held = _held(run_id, attempt)
        cancelled = connection.execute(
            update(RunRow)
            .where(held, RunRow.want == "cancel")
            .values(state="cancelled", finished=now(), message="stopped on request")
        )
        if cancelled.rowcount:
            log(connection, run_id, "cancelled", "stopped on request")
            return True
        done = connection.execute(
            update(RunRow).where(held).values(state="queued", message=words, host=None)
        )
        if done.rowcount:
            log(connection, run_id, "requeued", words)
        return bool(done.rowcount)


def idle_attempts(store: Store, run_id: int) -> int:
    """Attempts in a row that stored no point."""
    with store.read() as connection:
        query = select(RunRow.idle_attempts).where(RunRow.id == run_id)
        return int(connection.execute(query).scalar_one())


def running_here(store: Store, host: str) -> list[tuple[int, int]]:
    """(number, attempt) of the runs marked running on a host."""
    query = select(RunRow.id, RunRow.attempt).where(RunRow.state == "running", RunRow.host == host)
    with store.read() as connection:
        return [(row.id, row.attempt) for row in connection.execute(query)]
