"""Damage to a database of results, one cell at a time: rotten, cut short, or never ours."""

import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

TABLES = (
    "runs",
    "points",
    "models",
    "sensitivity_tables",
    "events",
    "checkpoints",
    "configurations",
)
KEYS = {
    "sensitivity_tables": "key",
    "checkpoints": "epoch",
}
"""The column that a row is known by, where it is not the number."""


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str("" if value is None else value).encode()


def _flip(value: Any, rng: random.Random) -> Any:
    found = bytearray(_bytes(value) or b"x")
    at = rng.randrange(len(found))
    found[at] ^= 1 << rng.randrange(8)
    return _like(value, bytes(found))


def _cut(value: Any, rng: random.Random) -> Any:
    found = _bytes(value)
    return _like(value, found[: rng.randrange(max(1, len(found)))])


def _like(value: Any, found: bytes) -> Any:
    return found if isinstance(value, bytes) else _Text(found)


class _Text:
    """Bytes that go into the database as text, whether or not they are in UTF-8."""

    def __init__(self, data: bytes) -> None:
        self.data = data


DAMAGE: Mapping[str, Callable[[Any, random.Random], Any]] = {
    "flip": _flip,
    "cut": _cut,
    "empty": lambda value, rng: "",
    "null": lambda value, rng: "null",
    "list": lambda value, rng: "[]",
    "digits": lambda value, rng: "9" * 5_000,
    "endless": lambda value, rng: '{"a": 1e999, "n": 1' + "0" * 400 + "}",
    "deep": lambda value, rng: "[" * 100_000,
    "number": lambda value, rng: 2**62,
    "negative": lambda value, rng: -7,
    "half": lambda value, rng: 0.5,
    "bytes": lambda value, rng: b"\xff\x00\xfe",
    "surrogate": lambda value, rng: '{"\\ud800": "\\udfff"}',
}
"""How a cell is damaged: from its value to what stands there instead."""


def cells(path: Path) -> list[tuple[str, str]]:
    """Every (table, column) of a database, but for the numbers that rows are known by."""
    with _open(path) as connection:
        return [
            (table, column[1])
            for table in TABLES
            for column in connection.execute(f"PRAGMA table_info({table})")
            if column[1] != "id"
        ]


def spoil(path: Path, table: str, column: str, row: Any, how: str, seed: int = 0) -> Any:
    """Damage one cell; returns what stood there.

    Args:
        path: The database file.
        table: Which.
        column: Which.
        row: Of what number, or of what key.
        how: A key of DAMAGE.
        seed: Where it is damaged.
    """
    with _open(path) as connection:
        key = KEYS.get(table, "id")
        query = f"SELECT {column} FROM {table} WHERE {key} = ?"
        [[before]] = connection.execute(query, (row,)).fetchall()
        put(path, table, column, row, DAMAGE[how](before, random.Random(f"{seed}{how}{column}")))
    return before


def spoil_on_server(url: str, table: str, column: str, row: Any, how: str, seed: int = 0) -> bool:
    """Damage one cell of a PostgreSQL database, past what keeps its tables in order.

    Returns:
        Whether the server took it; it refuses what is of another type.
    """
    engine = create_engine(url, poolclass=NullPool)
    where = f"{KEYS.get(table, 'id')} = :row"
    kind = {c["name"]: c["type"] for c in inspect(engine).get_columns(table)}[column]
    typed = kind.compile(dialect=engine.dialect)
    shown = column if typed == "BYTEA" else f"CAST({column} AS TEXT)"
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET session_replication_role = replica")
            query = text(f"SELECT {shown} FROM {table} WHERE {where}")
            before = connection.execute(query, {"row": row}).scalar_one()
            value = DAMAGE[how](before, random.Random(f"{seed}{how}{column}"))
            if isinstance(value, _Text):
                value = value.data.decode("utf-8", "surrogateescape")
            if not isinstance(value, bytes):
                value = str(value)
            place = (
                ":value" if isinstance(value, bytes) else f"CAST(CAST(:value AS TEXT) AS {typed})"
            )
            query = text(f"UPDATE {table} SET {column} = {place} WHERE {where}")
            connection.execute(query, {"row": row, "value": value})
    except (DBAPIError, UnicodeEncodeError):
        return False
    finally:
        engine.dispose()
    return True


def put(path: Path, table: str, column: str, row: Any, value: Any) -> None:
    """Write a value into a cell, whatever the table allows."""
    with _open(path) as connection:
        text = isinstance(value, _Text)
        place = "CAST(? AS TEXT)" if text else "?"
        connection.execute(
            f"UPDATE OR REPLACE {table} SET {column} = {place} WHERE {KEYS.get(table, 'id')} = ?",
            (value.data if text else value, row),
        )


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=30)
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    try:
        with connection:
            yield connection
    finally:
        connection.close()
