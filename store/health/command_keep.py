"""`python -m store backup`, `restore` and `repair`: what keeps results for years."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store.database import Store, open_store
from store.database.locations import database_url, sqlite_file
from store.health import backup, repair, salvage
from store.health.swap import stamp

Say = Callable[[str], object]
KEYS = ("id", "run_id", "key", "stage", "epoch")


def add_commands(commands: Any) -> dict[str, ArgumentParser]:
    """Add the commands to a command line; their parsers by name."""
    made = {
        "backup": commands.add_parser("backup", help="copy the database while it is used"),
        "restore": commands.add_parser("restore", help="put a backup in the database's place"),
        "repair": commands.add_parser("repair", help="read around damage, set rows aside"),
    }
    made["backup"].add_argument("file", type=Path, help="the new copy")
    made["restore"].add_argument("file", type=Path, help="a backup")
    made["repair"].add_argument(
        "--aside", type=Path, help="new file for such rows; default: beside the database"
    )
    return made


def command_backup(store: Store, arguments: Namespace, say: Say) -> int:
    """Copy, and say how much."""
    size = backup.back_up(store, arguments.file)
    say(f"{arguments.file}: {size / 1e6:.1f} MB, looked through and whole")
    return 0


def command_restore(arguments: Namespace, say: Say) -> int:
    """Put a backup back, and say where the database of before is."""
    aside = backup.restore(arguments.database, arguments.file)
    store = open_store(arguments.database)
    say(f"{store.shown} holds what {arguments.file} holds")
    if aside is not None:
        say(f"what was there before is {aside}")
    return 0


def command_repair(arguments: Namespace, say: Say) -> int:
    """Read around damaged pages where there are some, set rows aside, and say which."""
    url = database_url(arguments.database)
    file = sqlite_file(url)
    if file is not None and (wrong := salvage.damaged_pages(file)):
        say(f"{file} is damaged: {wrong}")
        done = salvage.salvage(file)
        say(salvage.said(done))
        say(f"what was there before is {done.aside}")
    store = open_store(arguments.database, create=False)
    name = f"{'bitdial' if file is None else file.name}.aside.{stamp()}.jsonl"
    target = arguments.aside or store.folder / name
    found = repair.repair(store, target)
    for aside in found:
        named = ", ".join(f"{k} {aside.row[k]!s:.60}" for k in KEYS if k in aside.row)
        say(f"{aside.table}, {named}: {aside.reason}")
    say(f"{len(found)} rows set aside in {target}" if found else "every row can be read")
    return 0
