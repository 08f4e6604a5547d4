"""Opening the database: SQLite in write-ahead mode, one write helper, migrations at start.

Every write takes SQLite's write lock when it begins (BEGIN IMMEDIATE): a transaction that reads
first and writes later would otherwise fail as "locked" under several writers, whatever the timeout.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, ProgrammingError

from qcore.errors import DatabaseTooNew, DatabaseUnavailable
from store.locations import data_folder, database_url

TIMEOUT_S = 30


@dataclass(frozen=True)
class Store:
    """An open database.

    Attributes:
        engine: SQLAlchemy engine; one a process.
        url: Its URL.
        folder: Where locks and logs go.
    """

    engine: Engine
    url: str
    folder: Path

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short read transaction.

        Raises:
            DatabaseUnavailable: the database cannot be read.
        """
        with _explained(self.url), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """The one way to write: a transaction that holds the write lock from its start.

        Raises:
            DatabaseUnavailable: read-only, full, or gone; nothing was written.
        """
        engine = self.engine.execution_options(write=True)
        with _explained(self.url), engine.begin() as connection:
            yield connection


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        if isinstance(error, IntegrityError | ProgrammingError):
            raise  # a bug of ours, not of the location
        cause = str(error.orig or error)
        raise DatabaseUnavailable(_advice(url, cause)) from error
    except sqlite3.DatabaseError as error:  # raised while connecting, before SQLAlchemy wraps
        raise DatabaseUnavailable(_advice(url, str(error))) from error


def _advice(url: str, cause: str) -> str:
    known = {
        "readonly": "it is read-only. Change its permissions, or choose another folder",
        "read-only": "it is read-only. Change its permissions, or choose another folder",
        "unable to open": "its folder cannot be written. Choose another folder",
        "full": "the disk is full. Free some space; nothing that was stored is lost",
        "not a database": "the file is not a database. Move it away, or choose another file",
        "locked": "another program keeps it locked. Close that program and try again",
    }
    for word, meaning in known.items():
        if word in cause:
            return f"Cannot use the database {url}: {meaning} with BITDIAL_DATA."
    return f"Cannot use the database {url}: {cause}."


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def open_store(location: str | Path | None = None) -> Store:
    """Open the database, creating and migrating it as needed.

    Args:
        location: URL, path of a SQLite file, or None for the default (see `locations`).

    Raises:
        DatabaseUnavailable: the location cannot be used; says why and what to do.
        DatabaseTooNew: it was written by a later bitdial.
    """
    url = database_url(location)
    if not url.startswith("sqlite:///"):
        folder = data_folder()
        engine = _server_engine(url)
    else:
        path = Path(url.removeprefix("sqlite:///"))
        folder = path.parent
        engine = create_engine(url, connect_args={"timeout": TIMEOUT_S})
        _prepare_sqlite(engine)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "migration.lock", timeout=TIMEOUT_S)
        with lock:
            _migrate(engine, url)
    except OSError as error:
        engine.dispose()
        raise DatabaseUnavailable(_advice(url, f"unable to open: {error}")) from error
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, url, folder)


def _server_engine(url: str) -> Engine:
    """Engine of a database server; SQLite without a file has no place here."""
    try:
        engine = create_engine(url, pool_pre_ping=True)
    except (ArgumentError, ImportError) as error:
        raise DatabaseUnavailable(
            f"The database address cannot be used: {error}. Give a file, or an address such as "
            "postgresql+psycopg://user@host/name with its driver installed."
        ) from error
    if engine.dialect.name == "sqlite":
        raise DatabaseUnavailable("A database in memory keeps nothing; give the path of a file.")
    return engine


def _scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _migrate(engine: Engine, url: str) -> None:
    config = _scripts()
    scripts = ScriptDirectory.from_config(config)
    with _explained(url):
        if engine.dialect.name == "sqlite":
            _write_ahead(engine)
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            tables = inspect(connection).get_table_names()
        if current is None and tables:
            raise DatabaseUnavailable(
                f"{url} belongs to another program (it has tables such as {tables[0]!r}). Choose "
                "another file with BITDIAL_DATA."
            )
        known = {script.revision for script in scripts.walk_revisions()}
        if current is not None and current not in known:
            raise DatabaseTooNew(
                f"The database {url} has schema {current}, which this bitdial does not know. "
                "Update bitdial, or choose another folder with BITDIAL_DATA."
            )
        if current == scripts.get_current_head():
            return
        if current is not None and engine.dialect.name == "sqlite":
            _copy(engine, current)
        with engine.execution_options(write=True).begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _write_ahead(engine: Engine) -> None:
    raw = engine.raw_connection()
    try:
        raw.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr]
    finally:
        raw.close()


def _copy(engine: Engine, revision: str) -> None:
    """Keep a copy of the user's results before changing their tables."""
    target = f"{engine.url.database}.{revision}.{time.strftime('%Y%m%d%H%M%S')}.bak"
    raw = engine.raw_connection()
    try:
        raw.driver_connection.execute("VACUUM INTO ?", (target,))  # type: ignore[union-attr]
    finally:
        raw.close()
