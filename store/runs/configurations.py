"""Configurations the user keeps: files with a name, tags, and what measuring them again found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from qcore.errors import InvalidParams, StoreError
from qcore.intact import checked, intact, read_each
from store.database import Store, now
from store.database.json_text import all_json
from store.database.schema import ConfigurationRow

NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class SavedConfig:
    """A configuration the user kept.

    Attributes:
        id: Its number.
        name: What the user calls it.
        note: The user's own words.
        text: The file.
        at: When it was kept: UTC, ISO 8601.
        tags: The user's labels.
        source: Where it comes from: {"run": 3, "point": 57} or {"file": "name"}; may be empty.
        check: What its last re-measurement found: {"at", "passed", "wanted", "got", "n"}, the
            accuracies 0..1; None while it was never measured again.
    """

    id: int
    name: str
    note: str
    text: str
    at: str
    tags: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    check: Mapping[str, Any] | None = None


def save_config(
    store: Store,
    name: str,
    text: str,
    note: str = "",
    tags: Sequence[str] = (),
    source: Mapping[str, Any] | None = None,
) -> int:
    """Keep a configuration file under a name; returns its number.

    Raises:
        InvalidParams: the name is empty or too long.
    """
    values = {
        "name": _name(name),
        "text": text,
        "note": note,
        "tags": list(tags),
        "source": dict(source or {}),
        "at": now(),
    }
    with store.write() as connection:
        done = connection.execute(insert(ConfigurationRow).values(**values))
        return int(done.inserted_primary_key[0])  # type: ignore[index]


def update_config(
    store: Store,
    config_id: int,
    *,
    name: str | None = None,
    note: str | None = None,
    tags: Sequence[str] | None = None,
    check: Mapping[str, Any] | None = None,
) -> None:
    """Change what is said about a kept configuration; None leaves a field as it is.

    Raises:
        InvalidParams: the name is empty or too long.
        StoreError: there is none of this number.
    """
    given = {
        "name": None if name is None else _name(name),
        "note": note,
        "tags": None if tags is None else list(tags),
        "verdict": None if check is None else dict(check),
    }
    values = {key: value for key, value in given.items() if value is not None}
    if not values:
        return
    with store.write() as connection:
        where = ConfigurationRow.id == config_id
        if not connection.execute(update(ConfigurationRow).where(where).values(**values)).rowcount:
            raise StoreError(f"There is no saved configuration {config_id}.")


def _name(name: str) -> str:
    if not name.strip():
        raise InvalidParams("Give the configuration a name.")
    if len(name) > NAME_LENGTH:
        raise InvalidParams(f"A name has at most {NAME_LENGTH} characters, this has {len(name)}.")
    return name.strip()


def configs(store: Store) -> list[SavedConfig]:
    """Every kept configuration that can be read, newest first."""
    return read_each(_rows(store), read_saved)[0]


def damaged_configs(store: Store) -> list[str]:
    """Why each kept configuration that cannot be read cannot, newest first."""
    return list(map(str, read_each(_rows(store), read_saved)[1]))


def _rows(store: Store) -> Sequence[Any]:
    row = ConfigurationRow
    query = select(
        row.id, row.name, row.note, row.text, row.at, row.tags, row.source, row.verdict
    ).order_by(row.id.desc())
    with store.read() as connection:
        return connection.execute(query).all()


def read_saved(row: Any) -> SavedConfig:
    """A row of configurations.

    Raises:
        Damaged: it is none any more.
    """
    with intact(f"Configuration {row.id}"):
        all_json(row)
        if not isinstance(row.tags, list):
            raise TypeError("its tags are no list")
        found = checked(
            SavedConfig(
                row.id,
                row.name,
                row.note,
                row.text,
                row.at,
                tuple(row.tags),
                row.source,
                row.verdict,
            )
        )
        datetime.fromisoformat(found.at)
        if found.check is not None:
            _read_check(found.check)
    return found


def _read_check(check: Mapping[str, Any]) -> None:
    """Raise unless a verdict is one."""
    datetime.fromisoformat(check["at"])
    shown = (check["wanted"], check["got"])
    if not isinstance(check["passed"], bool) or not isinstance(check["n"], int):
        raise TypeError("its verdict is none")
    if not check.get("error") and not all(isinstance(value, int | float) for value in shown):
        raise TypeError("its verdict is none")


def delete_config(store: Store, config_id: int) -> None:
    """Delete a kept configuration.

    Raises:
        StoreError: there is none of this number.
    """
    with store.write() as connection:
        where = ConfigurationRow.id == config_id
        if not connection.execute(delete(ConfigurationRow).where(where)).rowcount:
            raise StoreError(f"There is no saved configuration {config_id}.")
