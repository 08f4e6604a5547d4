"""Where results are kept, and how that is set."""

import os
from pathlib import Path

URL_VARIABLE = "BITDIAL_DATABASE_URL"
FOLDER_VARIABLE = "BITDIAL_DATA"
DEFAULT_FOLDER = Path("bitdial-data")


def data_folder() -> Path:
    """Folder of the database, locks and logs: $BITDIAL_DATA, or ./bitdial-data."""
    return Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER).resolve()


def database_url(location: str | Path | None = None) -> str:
    """SQLAlchemy URL of the database.

    Args:
        location: A URL, a path of a SQLite file, or None for $BITDIAL_DATABASE_URL and, where that
            is not set, bitdial.db in the data folder.
    """
    if location is None:
        location = os.environ.get(URL_VARIABLE) or data_folder() / "bitdial.db"
    text = str(location).removeprefix("sqlite:///")
    # absolute, because workers run in another folder than the server may
    return text if "://" in text else f"sqlite:///{Path(text).resolve()}"
