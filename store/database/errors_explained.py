"""What a database's own error means for the user, and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import DatabaseError as SqliteError

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from qcore.data_folder import FOLDER_VARIABLE
from qcore.errors import DatabaseUnavailable, StoreError
from store.database.locations import URL_VARIABLE, shown_url, sqlite_file

FILE = (
    (
        ("readonly", "read-only"),
        "it is read-only. Change its permissions, or choose another folder",
    ),
    (("unable to open",), "its folder cannot be written. Choose another folder"),
    (
        ("full", "disk i/o error", "no space left"),
        "the disk is full (or broken): free some space, nothing that was stored is lost. Or go on",
    ),
    (("not a database",), "the file is not a database. Move it away, or choose another file"),
    (
        ("malformed",),
        "the file is damaged. Stop bitdial and put back a backup (*.bak) by `python -m store "
        "restore`, or keep what can be read by `python -m store repair`. Or go on",
    ),
    (("locked",), "another program keeps it locked. Close that program and try again"),
)
SERVER = (
    (("authentication failed", "no password supplied"), "it refuses user or password. Correct"),
    (("does not exist",), "there is no such database, table or column. Create it, or correct"),
    (("permission denied",), "this user may not work in it. Make the user its owner, or correct"),
    (
        ("refused", "could not translate", "resolve", "timeout expired", "connection timeout",
         "no such file", "is the server running", "no route", "unreachable"),
        "no server answers there. Start it, or correct",
    ),
    (("read-only",), "it is read-only. Use the primary server: correct"),
    (("no space left", "could not extend"), "the server's disk is full. Free some, or change"),
    (("too many", "connection slots"), "no connection is left. Raise max_connections, or change"),
    (("lock timeout",), "another program keeps it locked. Close that program, or correct"),
    (
        ("closed", "terminating", "lost", "idle-in-transaction", "shutting down", "starting up",
         "reset by peer", "eof"),
        "the connection was lost; nothing half-written was kept. It is tried again when it is next "
        "needed; if it stays so, start the server or correct",
    ),
)  # fmt: skip
REFUSALS = {"42501", "42P01", "42703"}
"""SQLSTATE of a missing right, table or column: the place is wrong, not our statement."""


def advice(url: str, cause: str) -> str:
    """What to tell the user about a database's error, without its password."""
    cause = " ".join(cause.split())
    local = sqlite_file(url) is not None
    variable = FOLDER_VARIABLE if local else URL_VARIABLE
    for words, meaning in FILE if local else SERVER:
        if any(word in cause.lower() for word in words):
            joint = " with" if local else ""
            return f"Cannot use the database {shown_url(url)}: {meaning}{joint} {variable}."
    return f"Cannot use the database {shown_url(url)}: {cause.rstrip('.')}."


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn the errors of a place that cannot be used into ours; leave our own bugs alone.

    Raises:
        DatabaseUnavailable: read-only, full, gone, or refused.
        StoreError: a value that the database cannot hold.
    """
    try:
        yield
    except DataError as error:
        cause = " ".join(str(error.orig).split())
        raise StoreError(f"A value does not fit into the database: {cause}.") from error
    except DBAPIError as error:
        refused = getattr(error.orig, "sqlstate", None) in REFUSALS
        if isinstance(error, IntegrityError | ProgrammingError) and not refused:
            raise  # a bug of ours, not of the location
        raise DatabaseUnavailable(advice(url, str(error.orig or error))) from error
    except PoolTimeout as error:
        raise DatabaseUnavailable(advice(url, "too many connections in use")) from error
    except SqliteError as error:  # raised while connecting, before SQLAlchemy wraps
        raise DatabaseUnavailable(advice(url, str(error))) from error
