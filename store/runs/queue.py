"""Runs as users see them: asked for, looked at, paused, resumed, stopped, cancelled, deleted.

Each function is one transaction and returns frozen values. What workers write is in `lease`, whose
names are found here too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, true, update

from qcore.errors import Damaged, InvalidParams, RunFinished, RunNotFound, StoreError
from qcore.intact import checked, intact, read_each
from qcore.judges import CLASSES, read_judge
from qcore.models.catalog import judge_of
from qcore.run_spec import RunSpec
from store.database import Store, now
from store.database.json_text import all_json
from store.database.schema import EventRow, PointRow, RunRow
from store.runs.files import remove_files
from store.runs.lease import (
    FIGURES,
    Fenced,
    beat,
    claim,
    finish,
    host_name,
    log,
    note,
    open_runs,
    progress,
    read_open,
    requeue,
    settle,
    take,
    write_held,
)

__all__ = [
    "ACTIVE",
    "ENDED",
    "Event",
    "Fenced",
    "Run",
    "beat",
    "claim",
    "create_run",
    "damaged_events",
    "damaged_runs",
    "delete_run",
    "events",
    "finish",
    "host_name",
    "note",
    "open_runs",
    "progress",
    "request",
    "request_cancel",
    "request_pause",
    "requeue",
    "resume",
    "run",
    "run_ids",
    "settle",
    "all_runs",
    "stop_now",
    "write_held",
]

ACTIVE = ("queued", "running")
"""States in which a run changes by itself."""

ENDED = ("done", "cancelled", "failed")
"""States that are the end, unless the user tries a failed run again."""

STATES = (*ACTIVE, "paused", *ENDED)

NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Run:
    """One search on one problem.

    Attributes:
        id: Its number.
        name: What the user calls it.
        spec: What was asked for.
        state: "queued", "running", "paused", "done", "cancelled" or "failed".
        want: "run", or "pause", "stop" or "cancel" until the worker has obeyed.
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
        host: Machine and folder of the server that works on it, or did last.
        pid: Process that works on it, on that host.
        device: The slot it has or had there: "cpu", "cuda:0", ...
        origin: "" where its points were measured in this database, else "recorded on DATE with
            VERSION".
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
    host: str | None = None
    pid: int | None = None
    device: str | None = None
    origin: str = ""

    @property
    def cancelling(self) -> bool:
        """True between a wish to cancel and the worker's end."""
        return self.state == "running" and self.want == "cancel"

    @property
    def pausing(self) -> bool:
        """True between a wish to pause or to stop now and the worker's end."""
        return self.state == "running" and self.want in ("pause", "stop")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a run's history.

    Attributes:
        at: UTC, ISO 8601.
        kind: What happened, in one word.
        text: The same for the user.
        data: Numbers of a line of kind "figures"; None elsewhere.
        attempt: Whose line it is; None where no attempt was involved.
    """

    at: str
    kind: str
    text: str
    data: Mapping[str, Any] | None = None
    attempt: int | None = None


def read_run(row: Any) -> Run:
    """A row of runs, with how many points it has.

    Raises:
        Damaged: it is none any more.
    """
    with intact(f"Run {row.id}"):
        if not isinstance(row.spec, Mapping) or not row.spec:
            raise ValueError("what was asked for is no JSON any more")
        fields = {name: getattr(row, name) for name in Run.__slots__ if name != "spec"}
        found = checked(Run(spec=RunSpec.from_json(row.spec), **fields))
        read_judge(found.spec.judge)
        if found.state not in STATES or found.want not in ("run", *WISHES):
            raise ValueError(f"its state is {found.state!r}, and {found.want!r} is wanted of it")
        if row.model != found.spec.model:
            raise ValueError("it is listed under another network than it asks for")
        check_moments(found.created, found.started, found.finished)
        if found.state in ACTIVE:
            read_open(row)  # nobody would work on it else
    return found


def check_moments(*moments: str | None) -> None:
    """Raise unless each is a moment with its zone, ISO 8601, or None.

    Raises:
        ValueError: one is not.
    """
    for moment in moments:
        if moment is not None and datetime.fromisoformat(moment).tzinfo is None:
            raise ValueError(f"{moment!r} has no time zone")


def _select() -> Any:
    count = select(func.count()).where(PointRow.run_id == RunRow.id).scalar_subquery()
    return select(*RunRow.__table__.columns, count.label("evaluations"))


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
        InvalidParams: the name is too long, or a run that has not ended has it.
    """
    if name is not None and len(name) > NAME_LENGTH:
        raise InvalidParams(f"A name has at most {NAME_LENGTH} characters, this has {len(name)}.")
    with store.write() as connection:
        if name is not None:
            _check_free(connection, name)
        values = {
            "name": name or spec.search,
            "model": spec.model,
            "spec": _judged(spec).to_json(),
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
            take(connection, run_id, 0, host, None)
        return run_id


def _judged(spec: RunSpec) -> RunSpec:
    """The spec with its network's judge written out: what was measured stays what it was called."""
    judge = judge_of(spec.model)
    return (
        spec if spec.judge is not None or judge == CLASSES else replace(spec, judge=judge.to_json())
    )


def _check_free(connection: Connection, name: str) -> None:
    taken = select(RunRow.id).where(RunRow.name == name, RunRow.state.not_in(ENDED))
    if connection.execute(taken).first():
        raise InvalidParams(f"A run named {name!r} has not ended yet; choose another name.")


def all_runs(store: Store, model: str | None = None) -> list[Run]:
    """All runs, newest first; of one model where one is named."""
    query = _select().order_by(RunRow.id.desc())
    if model is not None:
        query = query.where(RunRow.model == model)
    with store.read() as connection:
        rows = connection.execute(query).all()
    return read_each(rows, read_run)[0]


def damaged_runs(store: Store) -> dict[int, str]:
    """Number of each run that cannot be read, and is not among `all_runs`, to why; newest first."""
    with store.read() as connection:
        rows = connection.execute(_select().order_by(RunRow.id.desc())).all()
    found: dict[int, str] = {}
    for row in rows:
        try:
            read_run(row)
        except Damaged as error:
            found[row.id] = str(error)
    return found


def run_ids(store: Store) -> set[int]:
    """Numbers of all runs."""
    with store.read() as connection:
        return set(connection.scalars(select(RunRow.id)))


def run(store: Store, run_id: int) -> Run:
    """One run.

    Raises:
        RunNotFound: no run has this number.
        Damaged: it cannot be read.
    """
    with store.read() as connection:
        row = connection.execute(_select().where(RunRow.id == run_id)).first()
    if row is None:
        raise _not_found(run_id)
    return read_run(row)


def events(store: Store, run_id: int, kinds: Collection[str] | None = None) -> list[Event]:
    """A run's history, oldest first.

    Args:
        store: The database.
        run_id: Whose.
        kinds: Which kinds of lines; None is what there is to read, all but "figures".
    """
    row = EventRow
    wanted = row.kind != FIGURES if kinds is None else row.kind.in_(list(kinds))
    return read_each(_event_rows(store, run_id, wanted), read_event)[0]


def damaged_events(store: Store, run_id: int) -> list[str]:
    """Why each line of a run's history that cannot be read cannot."""
    return list(map(str, read_each(_event_rows(store, run_id, true()), read_event)[1]))


def _event_rows(store: Store, run_id: int, wanted: ColumnElement[bool]) -> Sequence[Any]:
    row = EventRow
    columns = [getattr(row, name) for name in Event.__slots__]
    query = select(row.run_id, *columns).where(row.run_id == run_id, wanted)
    with store.read() as connection:
        return connection.execute(query.order_by(row.id)).all()


def read_event(row: Any) -> Event:
    """A row of events.

    Raises:
        Damaged: it is none any more.
    """
    with intact(f"A line in the history of run {row.run_id}"):
        all_json(row)
        found = checked(Event(*(getattr(row, name) for name in Event.__slots__)))
        check_moments(found.at)
    return found


WISHES = {
    "pause": ("pausing", "pauses when the batch in hand is measured"),
    "stop": ("stopping", "stops now; what is in hand is measured again when resumed"),
    "cancel": ("cancelling", "asked to stop after the evaluation in hand"),
}
"""What may be wanted of a run that has not ended: what its history calls that, and says of it."""


def request(store: Store, run_id: int, want: str) -> None:
    """Have a run paused, stopped or cancelled: at once unless it runs, else by its worker.

    The worker obeys "pause" when it is through with the batch in hand, and "cancel" at its next
    evaluation. At "stop" it is killed, and what it has in hand is lost.

    Args:
        store: The database.
        run_id: Whose.
        want: A key of WISHES.

    Raises:
        RunNotFound: no such run.
        RunFinished: it has ended already.
        StoreError: it is being cancelled, and something else is wanted.
    """
    doing, words = WISHES[want]
    cancel = want == "cancel"
    with store.write() as connection:
        found = _seen(connection, run_id)
        if found.state in ENDED:
            raise RunFinished(f"Run {run_id} is {found.state} already; there is nothing to {want}.")
        if found.want == "cancel" and not cancel:
            raise StoreError(f"Run {run_id} is being cancelled; submit it again instead.")
        if found.want == want or (found.state == "paused" and not cancel):
            return
        if found.state == "running":
            values: dict[str, Any] = {"want": want}
            log(connection, run_id, doing, words)
        else:
            state = "cancelled" if cancel else "paused"
            values = {"want": want, "state": state, "finished": now() if cancel else None}
            before = "before it started" if found.started is None else "on request"
            log(connection, run_id, state, before)
        connection.execute(update(RunRow).where(RunRow.id == run_id).values(**values))


def request_pause(store: Store, run_id: int) -> None:
    """`request` of "pause"."""
    request(store, run_id, "pause")


def stop_now(store: Store, run_id: int) -> None:
    """`request` of "stop": pause a run without waiting for its worker."""
    request(store, run_id, "stop")


def request_cancel(store: Store, run_id: int) -> None:
    """`request` of "cancel"."""
    request(store, run_id, "cancel")


def resume(store: Store, run_id: int) -> None:
    """Queue a paused run again, or try a failed one again; it goes on from what it has stored.

    A run that is pausing goes on instead; one that is queued or running is left alone.

    Raises:
        RunNotFound: no such run.
        RunFinished: it is done or cancelled.
        InvalidParams: it failed, and another run has its name by now.
        StoreError: it is being cancelled.
    """
    with store.write() as connection:
        found = _seen(connection, run_id)
        if found.state in ("done", "cancelled"):
            raise RunFinished(f"Run {run_id} is {found.state}; submit it again to repeat it.")
        if found.state in ACTIVE and found.want == "run":
            return
        if found.state in ACTIVE and found.want == "cancel":
            raise StoreError(f"Run {run_id} is being cancelled; submit it again instead.")
        values: dict[str, Any] = {"want": "run"}
        if found.state not in ACTIVE:
            if found.state == "failed" and found.name != _search(found.spec):
                _check_free(connection, found.name)
            again = {"error": None, "traceback": None, "finished": None, "message": ""}
            values |= {"state": "queued", "idle_attempts": 0, **again}
        connection.execute(update(RunRow).where(RunRow.id == run_id).values(**values))
        log(connection, run_id, "resumed", f"it was {found.state}")


def _search(spec: Any) -> Any:
    return spec.get("search") if isinstance(spec, Mapping) else None


def _seen(connection: Connection, run_id: int) -> Any:
    row = RunRow
    query = select(row.state, row.want, row.name, row.spec, row.started).where(row.id == run_id)
    found = connection.execute(query).first()
    if found is None:
        raise _not_found(run_id)
    return found


def _not_found(run_id: int) -> RunNotFound:
    return RunNotFound(f"There is no run {run_id}; `python -m store list` shows them.")


def delete_run(store: Store, run_id: int) -> None:
    """Delete a run with its points, history, logs and checkpoints.

    Raises:
        RunNotFound: no such run.
        StoreError: it is queued or running.
    """
    with store.write() as connection:
        state = _seen(connection, run_id).state
        if state in ACTIVE:
            raise StoreError(f"Run {run_id} is {state}; cancel it before deleting it.")
        connection.execute(delete(RunRow).where(RunRow.id == run_id))
    remove_files(store, run_id)
