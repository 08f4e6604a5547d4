"""Sets rows that cannot be read aside, into a file: what is left is whole, and nothing is lost.

A row may be damaged by a bad disk, a bug or a hand. It is written to the file as it is, with the
reason, and taken out of its table; what belongs to it goes with it.
"""

import json
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from qcore.errors import InvalidParams
from store.database import Store
from store.health.damage import PLACES, Bad, bad_rows


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


def repair(store: Store, file: Path) -> list[Aside]:
    """Move every row that cannot be read into a new file of JSON lines.

    All or nothing: rows leave the database once the file is on the disk.

    Returns:
        What was set aside; the file is made only where there is something.

    Raises:
        InvalidParams: the file is there already, or cannot be written.
        DatabaseUnavailable: SQLite's file itself is damaged; `salvage` reads around that.
    """
    if os.path.lexists(file):
        raise InvalidParams(f"{file} is there already; give another name.")
    with store.write() as connection:
        bad = list(bad_rows(connection))
        if not bad:
            return []
        found = [_taken(connection, each) for each in bad]
        _write(found, file)
        for each in bad:
            query = f'DELETE FROM "{each.table}" WHERE {_at(connection)}'
            connection.execute(text(query), {"place": each.place})
    return found


def _taken(connection: Connection, bad: Bad) -> Aside:
    query = f'SELECT * FROM "{bad.table}" WHERE {_at(connection)}'
    row = connection.execute(text(query), {"place": bad.place}).mappings().one()
    return Aside(bad.table, {str(name): value for name, value in row.items()}, bad.reason)


def _at(connection: Connection) -> str:
    column = PLACES[connection.dialect.name]
    return f"{column} = CAST(:place AS tid)" if column == "ctid" else f"{column} = :place"


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
