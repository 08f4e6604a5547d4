"""Finds every stored row that cannot be read, by what reads it for pages and commands."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Label, literal, literal_column, select

from qcore.errors import Damaged
from store.database.schema import Base
from store.runs import checkpoints, configurations, points, queue


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be read.

    Attributes:
        table: Where it stands.
        place: Where in the table, for this transaction: SQLite's rowid or PostgreSQL's ctid.
        reason: Why it cannot be read, or whose it is.
    """

    table: str
    place: Any
    reason: str


def _point(row: Any) -> None:
    points.read_stored(row)
    if row.test_right is not None:
        points.read_answers(row)


def _model(row: Any) -> None:
    points.read_model(row)
    points.read_float(row)


_READ: Mapping[str, Callable[[Any], object]] = {
    "runs": queue.read_run,
    "points": _point,
    "models": _model,
    "sensitivity_tables": points.read_table,
    "events": queue.read_event,
    "checkpoints": checkpoints.read_entry,
    "configurations": configurations.read_saved,
}

_LARGE = {"points": ("config",)}
"""Columns that are texts of any kind, and large: any text is one."""

PLACES = {"sqlite": "rowid", "postgresql": "ctid"}
"""What finds a row again whose key is damaged."""

_ALSO = {
    "runs": literal(0).label("evaluations"),
    "points": literal(value=False).label("has_config"),
}
"""What readers want that is no column."""


def bad_rows(connection: Connection) -> Iterator[Bad]:
    """Every row that cannot be read, and all that belongs to such a run or to none."""
    gone: set[Any] = set()
    known: set[Any] = set()
    place: Label[Any] = literal_column(PLACES[connection.dialect.name]).label("place")
    for table in Base.metadata.sorted_tables:
        name = table.name
        columns = [each for each in table.columns if each.name not in _LARGE.get(name, ())]
        query = select(place, *columns, *([_ALSO[name]] if name in _ALSO else []))
        owned = bool(table.foreign_keys)
        for row in connection.execute(query):
            reason = _reason(name, row)
            if name == "runs":
                known.add(row.id)
                gone |= {row.id} if reason else set()
            elif owned and row.run_id in gone:
                reason = f"It belongs to run {row.run_id}, which cannot be read."
            elif owned and row.run_id not in known:
                reason = f"It belongs to run {row.run_id!s:.20}, which is gone."
            if reason:
                yield Bad(name, row.place, reason)


def _reason(table: str, row: Any) -> str:
    """Why a row cannot be read; "" where it can."""
    try:
        _READ[table](row)
    except Damaged as error:
        return str(error)
    return ""
