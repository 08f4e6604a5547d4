"""Where results are kept: the folder, the database's address, and addresses fit to be shown."""

import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from qcore.data_folder import data_folder

URL_VARIABLE = "BITDIAL_DATABASE_URL"
FILE_NAME = "bitdial.db"
SQLITE = "sqlite:///"


def database_url(location: str | Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """SQLAlchemy URL of the database.

    Args:
        location: A URL, a path of a SQLite file, or None for $BITDIAL_DATABASE_URL and, where that
            is not set, bitdial.db in the data folder.
        env: Environment variables; None is this process's.
    """
    if location is None:
        set_to = (os.environ if env is None else env).get(URL_VARIABLE)
        location = set_to or data_folder(env) / FILE_NAME
    text = str(location).removeprefix(SQLITE)
    # absolute, because workers run in another folder than the server may
    return text if "://" in text else f"{SQLITE}{Path(text).expanduser().resolve()}"


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for a database server's."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def shown_url(url: str) -> str:
    """The URL without its password: what messages, logs and pages may show.

    Of a URL that cannot be read only its beginning: any part of it may be the password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return f"{url.partition('://')[0]}://..."
    secrets = [name for name in parsed.query if "password" in name.lower()]
    return parsed.difference_update_query(secrets).render_as_string(hide_password=True)
