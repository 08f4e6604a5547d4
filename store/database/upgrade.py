"""Bringing a database to the schema of this bitdial: whole or not at all, one process at a time.

Alembic is loaded only where there is something to migrate: it takes a fifth of a worker's start.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect

from qcore.data_folder import FOLDER_VARIABLE
from qcore.errors import DatabaseTooNew, DatabaseUnavailable, NoDatabase, StoreError
from store.database.locations import URL_VARIABLE, shown_url, sqlite_file

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = Path(__file__).parent / "migrations"

Upgrade = Callable[["Config", str], None]


def _scripts() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


def newest_revision() -> str:
    """Schema revision that this bitdial works with: its migrations' names begin with theirs."""
    return max(known_revisions())


def known_revisions() -> set[str]:
    """Every schema revision that this bitdial can use or bring up to date."""
    return {path.name.partition("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*.py")}


def revision_of(connection: Connection) -> str | None:
    """Schema revision a database has; None before its first migration."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def run_migrations(config: "Config", revision: str) -> None:
    """Run the migrations up to a revision on the connection found in the configuration."""
    from alembic import command

    command.upgrade(config, revision)


def absent(url: str) -> NoDatabase:
    """What whoever only reads is told: no database is there, and none is made."""
    return NoDatabase(
        f"There is no database of bitdial at {shown_url(url)}, and reading makes none. Check the "
        "name; a search (`python -m store run`) or the dashboard makes a new one."
    )


def bring_up_to_date(
    engine: Engine, url: str, upgrade: Upgrade = run_migrations, *, create: bool = True
) -> None:
    """Create or upgrade the tables in one transaction; a copy of a SQLite file is kept before.

    Args:
        engine: Of the database, on SQLite without foreign keys (see `store.database.connect`) and
            under the folder's migration lock.
        url: Its URL, for messages.
        upgrade: What runs the migrations; tests hand over one that fails.
        create: Whether an empty database gets tables.

    Raises:
        DatabaseTooNew: the schema is one this bitdial does not know.
        NoDatabase: it is empty, and is to stay so.
        DatabaseUnavailable: another program's tables are there, or a migration failed.
    """
    with engine.begin() as connection:
        before = revision_of(connection)
        empty = before is None and not inspect(connection).get_table_names()
    if before == newest_revision():
        return
    if empty and not create:
        raise absent(url)
    _refuse_unknown(before, url)
    copy = _copy(engine, before) if before and sqlite_file(url) else None
    with engine.execution_options(write=True).begin() as connection:
        # looked at again under the write lock: another host may have been faster
        current = revision_of(connection)
        _refuse_unknown(current, url)
        tables = inspect(connection).get_table_names()
        if current is None and tables:
            variable = FOLDER_VARIABLE if sqlite_file(url) else URL_VARIABLE
            raise DatabaseUnavailable(
                f"{shown_url(url)} belongs to another program (it has tables such as "
                f"{tables[0]!r}). Choose another database with {variable}."
            )
        config = _scripts()
        config.attributes["connection"] = connection
        try:
            upgrade(config, "head")
            _check_references(connection)
        except Exception as error:
            kept = f" A copy from before is {copy}." if copy else ""
            raise DatabaseUnavailable(
                f"Upgrading the database {shown_url(url)} from schema {current} to "
                f"{newest_revision()} failed: {' '.join(str(error).split())}. Nothing was changed."
                f"{kept} Go on with the bitdial that wrote it, and report this error."
            ) from error


def _refuse_unknown(revision: str | None, url: str) -> None:
    if revision is None or revision in known_revisions():
        return
    raise DatabaseTooNew(
        f"The database {shown_url(url)} has schema {revision}, which this bitdial does not know. "
        f"Update bitdial, or choose another database with {FOLDER_VARIABLE} or {URL_VARIABLE}."
    )


def _check_references(connection: Connection) -> None:
    """Rows must still refer to rows that exist; SQLite does not look while tables are rewritten."""
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise StoreError(f"{len(broken)} rows of {broken[0][0]} would belong to nothing")


def _copy(engine: Engine, revision: str) -> Path:
    """Keep a copy of the user's results before changing their tables."""
    target = Path(f"{engine.url.database}.{revision}.{time.strftime('%Y%m%d%H%M%S')}.bak")
    target.unlink(missing_ok=True)  # of a try within this second; VACUUM writes new files only
    raw = engine.raw_connection()
    try:
        raw.driver_connection.execute("VACUUM INTO ?", (str(target),))  # type: ignore[union-attr]
    finally:
        raw.close()
    return target
