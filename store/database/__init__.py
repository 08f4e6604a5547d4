"""Opening the database: one write helper, the same promises on SQLite and PostgreSQL.

Every write holds the database's one write lock from its beginning to its end: SQLite's by BEGIN
IMMEDIATE (a transaction that reads first and writes later would otherwise fail as "locked" under
several writers, whatever the timeout), PostgreSQL's as an advisory lock. What a write reads stays
true until it has written.
"""

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from qcore.costs.user_tables import Costs, read_costs
from qcore.data_folder import data_folder
from qcore.errors import DatabaseUnavailable
from store.database.errors_explained import explained
from store.database.filesystems import mount_table, refuse_network
from store.database.json_text import dump_json, load_json
from store.database.locations import database_url, shown_url, sqlite_file
from store.database.upgrade import absent, bring_up_to_date

TIMEOUT_S = 30
IDLE_S = 10
"""A transaction left open so long, by a host that froze or vanished, is ended by the server."""

MOST_NAME = 215
"""Bytes of a database's file name."""

WRITE_LOCK = 0xB17D1A1
"""Advisory lock of PostgreSQL; known to this database only."""


@dataclass(frozen=True)
class Store:
    """An open database.

    Attributes:
        engine: SQLAlchemy engine; one a process.
        url: Its URL, with its password where it has one: never show it.
        folder: Where locks, logs and checkpoints go.
    """

    engine: Engine
    url: str = field(repr=False)
    folder: Path

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return shown_url(self.url)

    @property
    def costs(self) -> Costs:
        """Every cost there is now: bitdial's own and those of the tables in the folder "costs"."""
        return read_costs(self.folder / "costs")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short read transaction.

        Raises:
            DatabaseUnavailable: the database cannot be read.
        """
        with explained(self.url), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """The one way to write: a transaction that holds the write lock from its start.

        Raises:
            DatabaseUnavailable: read-only, full, or gone; nothing was written.
            StoreError: a value that the database cannot hold; nothing was written.
        """
        engine = self.engine.execution_options(write=True)
        with explained(self.url), engine.begin() as connection:
            yield connection


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def connect(url: str, *, foreign_keys: bool = True) -> Engine:
    """An engine that keeps the promises above; opens nothing yet.

    Args:
        url: SQLAlchemy URL.
        foreign_keys: False for migrations on SQLite, which change a table by writing it anew:
            dropping the old one would delete every row that refers to it.

    Raises:
        DatabaseUnavailable: the address is none, or its driver is missing.
    """
    path = sqlite_file(url)
    if path is None:
        return _server_engine(url)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": TIMEOUT_S},
        json_deserializer=load_json,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        # one damaged letter must not keep a page from reading all other rows
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        cursor = connection.cursor()
        record.info["alone"] = _reads_alone(path)
        if record.info["alone"]:  # said before anything is read
            cursor.execute("PRAGMA locking_mode=EXCLUSIVE")
        cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine, "checkin")
    def checkin(connection: sqlite3.Connection | None, record: Any) -> None:
        if connection is not None and record.info.get("alone"):
            record.invalidate()  # others wait for it

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _reads_alone(path: Path) -> bool:
    """Whether a full disk has no room for the index of the log, which then lies in memory.

    SQLite reads without that file only while nobody else does, so others wait.
    """
    if not path.exists():
        return False
    try:
        # one that failed cannot change its mind, so another one tries
        with closing(sqlite3.connect(path, timeout=0)) as probe:
            probe.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.Error as error:
        return "disk i/o error" in str(error).lower()
    return False


def _server_engine(url: str) -> Engine:
    """Engine of a database server; SQLite without a file has no place here."""
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
        if name == "sqlite":
            raise DatabaseUnavailable(
                "A database in memory keeps nothing; give the path of a file."
            )
        if name == "postgresql" and "@" in (parsed.host or ""):
            raise DatabaseUnavailable(
                "The database address has more than one @. Write an @ in the password as %40."
            )
        engine = create_engine(
            url,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5},
            json_serializer=dump_json,
            json_deserializer=load_json,
        )
    except (ArgumentError, ImportError, TypeError, ValueError) as error:
        # the error itself may quote the password
        reason = type(error).__name__
        if isinstance(error, ImportError):
            reason = f"{error}; pip install -r requirements-postgres.txt"
        raise DatabaseUnavailable(
            f"The database address {shown_url(url)} cannot be used ({reason}). Give a file, or an "
            "address such as postgresql+psycopg://user@host/name with its driver installed."
        ) from error
    if engine.dialect.name != "postgresql":
        raise DatabaseUnavailable(
            f"bitdial keeps results in SQLite or PostgreSQL, not in {engine.dialect.name}. "
            "Give a file, or an address such as postgresql+psycopg://user@host/name."
        )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_S}s'")
            cursor.execute(f"SET lock_timeout = '{TIMEOUT_S}s'")
        connection.commit()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("write"):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")

    return engine


def open_store(location: str | Path | None = None, *, create: bool = True) -> Store:
    """Open the database, creating and migrating it as needed.

    Args:
        location: URL, path of a SQLite file, or None for the default (see `locations`).
        create: False for whoever only reads: where there is no database, none is made.

    Raises:
        NoDatabase: there is none, and none was to be made; not even its folder was.
        DatabaseUnavailable: the location cannot be used; says why and what to do.
        DatabaseTooNew: it was written by a later bitdial.
    """
    url = database_url(location)
    path = sqlite_file(url)
    if path is not None:
        _refuse_long(path)
        refuse_network(path, mount_table())
        if not create and _is_absent(path):
            raise absent(url)
    folder = data_folder() if path is None else path.parent
    engine = connect(url)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _upgrade(url, folder, create)
    except Timeout as error:
        raise DatabaseUnavailable(
            f"Another process has been upgrading {shown_url(url)} for {TIMEOUT_S} s. Wait for it, "
            "or end it, and try again."
        ) from error
    except OSError as error:
        raise DatabaseUnavailable(
            f"The data folder {folder} cannot be written ({error.strerror or error}). Change its "
            "permissions, or choose another folder with BITDIAL_DATA."
        ) from error
    store = Store(engine, url, folder)
    # connections of a store that nobody has any more are closed, not left to the collector
    weakref.finalize(store, engine.dispose)
    return store


def _is_absent(path: Path) -> bool:
    """Whether no file is there, or an empty one; what cannot be looked at SQLite will tell of."""
    try:
        return path.is_file() and path.stat().st_size == 0 if path.exists() else True
    except OSError:
        return False


def _refuse_long(path: Path) -> None:
    size = len(os.fsencode(path.name))
    if size > MOST_NAME:
        raise DatabaseUnavailable(
            f"The name of the database, {path.name[:40]!r}..., has {size:,} bytes. Give it "
            f"{MOST_NAME} at most: backups lie beside it under longer names, and 255 is all that "
            "disks take."
        )


def _upgrade(url: str, folder: Path, create: bool) -> None:
    engine = connect(url, foreign_keys=False)
    try:
        with explained(url):
            if sqlite_file(url) is None:
                bring_up_to_date(engine, url, create=create)
                return
            with FileLock(folder / "migration.lock", timeout=TIMEOUT_S):
                _write_ahead(engine)
                bring_up_to_date(engine, url, create=create)
    finally:
        engine.dispose()


def _write_ahead(engine: Engine) -> None:
    raw = engine.raw_connection()
    try:
        raw.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr]
    finally:
        raw.close()
