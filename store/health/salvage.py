"""Reads around the damaged pages of a SQLite file, into a new file that takes its place.

The damaged file is read as a copy, and kept. What no page tells any more is lost; what can be read
is there. Where the very first page is damaged, which names the tables, only a backup helps.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Table

from qcore.errors import StoreError
from store.database import connect
from store.database.locations import database_url
from store.database.schema import Base
from store.database.upgrade import bring_up_to_date
from store.health.swap import alone, put_in_place

FARTHEST = 2**40
"""Numbers of rows behind a damaged page that are tried."""

HELPS = "Put back one of the backups beside it (*.bak) with `python -m store restore FILE`."

_ROW_ALONE = "NULL value in "
"""What SQLite says of a row that is whole but for what it holds: no damaged page."""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came of reading around damaged pages.

    Attributes:
        kept: Table to how many of its rows are in the new file.
        lost: Table to how many of its rows are known to be lost, where any is.
        aside: Where the damaged file is now.
    """

    kept: dict[str, int]
    lost: dict[str, int]
    aside: Path


def damaged_pages(file: Path) -> str:
    """What is wrong with a SQLite file itself; "" where nothing is, or it is not there."""
    if not file.is_file() or not file.stat().st_size:
        return ""
    try:
        with closing(sqlite3.connect(file, timeout=30)) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1000)")]
    except sqlite3.OperationalError as error:
        # locked, or unreadable for another reason than damage
        return str(error) if "malformed" in str(error) else ""
    except sqlite3.DatabaseError as error:
        return str(error)
    return "; ".join(line for line in said if line != "ok" and not line.startswith(_ROW_ALONE))[
        :300
    ]


def salvage(file: Path) -> Salvaged:
    """Put what can be read of a damaged database into a new file in its place.

    However often this is interrupted, the database is either the old file or the new one.

    Args:
        file: A database that nobody works on.

    Raises:
        DatabaseUnavailable: it is in use, or its folder cannot be written.
        StoreError: nothing can be read of it; it is as it was.
    """
    with alone(file):
        work, fresh = file.with_name(f"{file.name}.salvage"), file.with_name(f"{file.name}.fresh")
        try:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(mode=0o700)
            # with its log, where that could not be merged
            for ending in ("", "-wal"):
                if (part := file.with_name(file.name + ending)).exists():
                    shutil.copyfile(part, work / f"old{ending}")
            kept, lost = _read_around(work, work / "new")
            os.replace(work / "new", fresh)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return Salvaged(kept, lost, put_in_place(fresh, file))


def _read_around(work: Path, new: Path) -> tuple[dict[str, int], dict[str, int]]:
    url = database_url(new)
    engine = connect(url, foreign_keys=False)
    try:
        bring_up_to_date(engine, url)
    finally:
        engine.dispose()
    source = work / "old"
    if not _tables(source):
        raise StoreError(f"Its first page is damaged, so that no table can be found. {HELPS}")
    kept: dict[str, int] = {}
    lost: dict[str, int] = {}
    with closing(sqlite3.connect(new, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode=DELETE")
        target.execute("BEGIN")
        for table in Base.metadata.sorted_tables:
            kept[table.name], missing = _copy(source, target, table)
            if missing:
                lost[table.name] = missing
        _keep_numbers(source, target)
        target.execute("COMMIT")
        said = [str(row[0]) for row in target.execute("PRAGMA integrity_check(5)")]
    if not any(kept.values()) or said != ["ok"]:
        raise StoreError(f"Nothing can be read of the database any more. {HELPS}")
    return kept, lost


def _tables(file: Path) -> set[str]:
    try:
        with closing(sqlite3.connect(file)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {str(row[0]) for row in found} & set(Base.metadata.tables)
    except sqlite3.Error:
        return set()


def _copy(source: Path, target: sqlite3.Connection, table: Table) -> tuple[int, int]:
    """Copy a table's rows; how many there are, and how many are known to be lost."""
    with closing(sqlite3.connect(source)) as connection:
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        try:
            there = [row[1] for row in connection.execute(f'PRAGMA table_info("{table.name}")')]
        except sqlite3.Error:
            there = []
        columns = [column.name for column in table.columns if column.name in there]
        if not columns:
            return 0, 0
        reading = _Reading(connection, table.name, columns)
        names, places = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
        put = f'INSERT OR IGNORE INTO "{table.name}" ({names}) VALUES ({places})'
        kept = refused = 0
        for row in reading.rows():
            done = target.execute(put, row).rowcount
            kept, refused = kept + done, refused + 1 - done
    return kept, reading.lost + refused


class _Reading:
    """Reads the rows of a table in order, as far as each can be read."""

    def __init__(self, connection: sqlite3.Connection, table: str, columns: list[str]) -> None:
        names = ", ".join(f'"{name}"' for name in columns)
        self._connection = connection
        self._query = f'SELECT rowid, {names} FROM "{table}" NOT INDEXED'
        self.lost = 0

    def rows(self) -> Iterator[tuple[object, ...]]:
        """Every row that can be read, in order, going on behind each that cannot."""
        low: int | None = -1
        while low is not None:
            ended = False
            with suppress(sqlite3.Error):
                for number, *row in self._after(low):
                    if number <= low:
                        break  # pages that lead back to earlier ones
                    low = number
                    yield tuple(row)
                ended = True
            if ended:
                return
            low = self._behind(low)

    def _after(self, number: int, most: int = -1) -> sqlite3.Cursor:
        query = f"{self._query} WHERE rowid > ? ORDER BY rowid LIMIT {most}"
        return self._connection.execute(query, (number,))

    def _behind(self, low: int) -> int | None:
        """The number from behind which rows can be read again, or None where none can.

        Found by steps that double, then by halving: a page holds rows that follow each other.
        """
        bad, step = low, 1
        while not self._reads(low + step):
            bad, step = low + step, 2 * step
            if step > FARTHEST:
                self.lost += 1
                return None
        good = low + step
        while good - bad > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self._reads(middle) else (good, middle)
        first = self._after(good, 1).fetchone()
        self.lost += (good if first is None else first[0] - 1) - low
        return good

    def _reads(self, number: int) -> bool:
        try:
            self._after(number, 1).fetchone()
        except sqlite3.Error:
            return False
        return True


def _keep_numbers(source: Path, target: sqlite3.Connection) -> None:
    """Numbers of rows that were deleted, or lost now, are never given again."""
    with closing(sqlite3.connect(source)) as connection:
        try:
            found = connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
        except sqlite3.Error:
            return
    for name, last in found:
        if isinstance(last, int) and 0 <= last < 2**62:
            query = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
            if not target.execute(query, (last, name)).rowcount and name in Base.metadata.tables:
                target.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, last)
                )


def said(found: Salvaged) -> str:
    """What came of it, in words."""
    kept = ", ".join(f"{count:,} {name}" for name, count in found.kept.items())
    lost = ", ".join(f"{count:,} {name}" for name, count in found.lost.items())
    words = f"read around damaged pages: {kept} kept"
    return f"{words}; {f'about {lost} lost' if lost else 'no row is known to be lost'}"
