"""Sets rows that cannot be read aside, into a file: what is left is whole, and nothing is lost.

A row may be damaged by a bad disk, a bug or a hand. It is written to the file as it is, with the
reason, and taken out of its table; what belongs to it goes with it.
"""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Connection, Table, delete, text

from qcore.allocation import ModelSpec
from qcore.errors import InvalidParams, QcoreError, StoreError
from qcore.problem import SensitivityTable
from qcore.run_spec import RunSpec
from store.database import Store
from store.database.json_text import load_json
from store.database.locations import sqlite_file
from store.database.schema import Base
from store.runs.points import point_from_json

_UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
    QcoreError,
)


@dataclass(frozen=True, slots=True)
class Aside:
    """A row that was set aside.

    Attributes:
        table: Where it stood.
        row: What it held, column by column.
        reason: Why it cannot be read, or whose it was.
    """

    table: str
    row: Mapping[str, Any]
    reason: str


def _list(found: Any) -> None:
    if not isinstance(found, list):
        raise TypeError("is no list")


_READ: dict[tuple[str, str], Callable[[Any], object]] = {
    ("runs", "spec"): RunSpec.from_json,
    ("models", "spec"): ModelSpec.from_json,
    ("models", "float_point"): point_from_json,
    ("sensitivity_tables", "document"): SensitivityTable.from_json,
    ("configurations", "tags"): _list,
}
"""What reads a column that holds a document; of the others it is enough that they are one."""


def repair(store: Store, file: Path) -> list[Aside]:
    """Move every row that cannot be read into a new file of JSON lines.

    All or nothing: rows leave the database once the file is on the disk.

    Returns:
        What was set aside; the file is made only where there is something.

    Raises:
        InvalidParams: the file is there already, or cannot be written.
        StoreError: SQLite's file itself is damaged; a backup helps then.
    """
    if os.path.lexists(file):
        raise InvalidParams(f"{file} is there already; give another name.")
    with store.write() as connection:
        _check_file(store, connection)
        found = list(damaged(connection))
        if not found:
            return []
        _write(found, file)
        for aside in found:
            table = Base.metadata.tables[aside.table]
            keys = [column == aside.row[column.name] for column in table.primary_key.columns]
            connection.execute(delete(table).where(*keys))
    return found


def _check_file(store: Store, connection: Connection) -> None:
    if sqlite_file(store.url) is None:
        return
    said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(5)")]
    if said != ["ok"]:
        raise StoreError(
            f"The file itself is damaged ({'; '.join(said)}), not single rows. Stop bitdial, then "
            "`python -m store restore` one of the backups beside it (*.bak)."
        )


def damaged(connection: Connection) -> Iterator[Aside]:
    """Every row that cannot be read, and all that belongs to such a run."""
    gone: set[Any] = set()
    known: set[Any] = set()
    for table in Base.metadata.sorted_tables:
        for found in connection.execute(text(f'SELECT * FROM "{table.name}"')).mappings():
            row = {str(name): value for name, value in found.items()}
            reason = _reason(table, row)
            if table.name == "runs":
                known.add(row["id"])
                gone |= {row["id"]} if reason else set()
            elif row.get("run_id") in gone:
                reason = f"belongs to run {row['run_id']}, which cannot be read"
            elif "run_id" in row and row["run_id"] not in known:
                reason = f"belongs to run {row['run_id']}, which is gone"
            if reason:
                yield Aside(table.name, row, reason)


def _reason(table: Table, row: Mapping[str, Any]) -> str:
    """Why a row cannot be read; "" where it can."""
    documents: dict[str, Any] = {}
    for column in table.columns:
        value = row.get(column.name)
        if not isinstance(column.type, JSON):
            if value is None and not column.nullable:
                return f"{column.name} is missing"
            continue
        if value is None and column.nullable:
            continue
        try:
            documents[column.name] = _document(value)
            _READ.get((table.name, column.name), lambda found: found)(documents[column.name])
        except _UNREADABLE as error:
            return f"{column.name}: {type(error).__name__}: {error}"[:300]
    if table.name == "points":
        try:
            point_from_json({**row, **documents, "test": documents.get("test")})
        except _UNREADABLE as error:
            return f"{type(error).__name__}: {error}"[:300]
    return ""


def _document(value: Any) -> Any:
    """What a column of JSON holds; a database server has read it already."""
    if not isinstance(value, str | bytes):
        value = json.dumps(value)
    json.loads(value)  # says what is wrong with it, which the next line does not
    return load_json(value if isinstance(value, str) else value.decode())


def _write(found: list[Aside], file: Path) -> None:
    try:
        with file.open("x", encoding="utf-8", errors="backslashreplace") as stream:
            for aside in found:
                row = {name: _shown(value) for name, value in aside.row.items()}
                line = {"table": aside.table, "reason": aside.reason, "row": row}
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise InvalidParams(
            f"{file} cannot be written ({error.strerror or error}); nothing was changed. Give "
            "another place."
        ) from error


def _shown(value: Any) -> Any:
    return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value
