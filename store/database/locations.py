"""Where results are kept: the folder, the database's address, and addresses fit to be shown.

A path is a path, whatever it holds; an address spells what is special in one as %XX. What this
hands on are addresses, so that a folder called "100% #1?" is the same one in every process.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from qcore.data_folder import data_folder

URL_VARIABLE = "BITDIAL_DATABASE_URL"
FILE_NAME = "bitdial.db"
SQLITE = "sqlite:///"
MEMORY = "sqlite://"

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+._-]+://")


def database_url(location: str | Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """SQLAlchemy URL of the database.

    Args:
        location: A URL, a path of a SQLite file (a Path always is one), or None for
            $BITDIAL_DATABASE_URL and, where that is not set, bitdial.db in the data folder.
        env: Environment variables; None is this process's.
    """
    if location is None:
        set_to = (os.environ if env is None else env).get(URL_VARIABLE)
        location = set_to or data_folder(env) / FILE_NAME
    if isinstance(location, Path):
        return _file_url(location)
    if location == f"{SQLITE}:memory:":
        return MEMORY
    if location.startswith(SQLITE):
        return _file_url(unquote(location.removeprefix(SQLITE), errors="surrogateescape"))
    return location if _ADDRESS.match(location) else _file_url(location)


def _file_url(path: str | Path) -> str:
    # absolute, because workers run in another folder than the server may; "~" of nobody is a name
    absolute = str(Path(os.path.expanduser(path)).resolve())
    return SQLITE + quote(absolute, safe=" +/", errors="surrogateescape")


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for a database server's."""
    if not url.startswith(SQLITE):
        return None
    return Path(unquote(url.removeprefix(SQLITE), errors="surrogateescape"))


def shown_url(url: str) -> str:
    """The URL without its password: what messages, logs and pages may show; a file as its path is.

    Of a URL that cannot be read only its beginning: any part of it may be the password.
    """
    file = sqlite_file(url)
    if file is not None:
        return SQLITE + os.fsencode(file).decode("utf-8", "backslashreplace")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return f"{url.partition('://')[0]}://..."
    secrets = [name for name in parsed.query if "password" in name.lower()]
    return parsed.difference_update_query(secrets).render_as_string(hide_password=True)
