"""What a person writes on the command line, as values; what cannot be is refused in words."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qcore.errors import InvalidParams, StoreError
from store.runs.checkpoints import write_whole

MOST_NUMBER = 2**63 - 1
"""The largest number that a database gives to a run or a point."""


def add_database(top: argparse.ArgumentParser, commands: Iterable[argparse.ArgumentParser]) -> None:
    """Take --database before a command's name as well as after it; where both are, the latter."""
    words = "URL or file; default: as the dashboard"
    top.add_argument("--database", help=words)
    for command in commands:
        # left alone where it is not said again
        command.add_argument("--database", default=argparse.SUPPRESS, help=words)


def row_number(word: str) -> int:
    """The number of a run, a point or a configuration.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if word.isascii() and word.isdecimal() and len(word) < 20 and int(word) <= MOST_NUMBER:
        return int(word)
    raise argparse.ArgumentTypeError(f"{word[:40]!r} is no number of a run or point")


def pair(item: str) -> tuple[str, Any]:
    """`name=value` as both; the value is read as JSON where it is any, else it is a word.

    Raises:
        InvalidParams: there is no "=", or the value is nested too deeply.
    """
    key, equals, value = item.partition("=")
    if not equals:
        raise InvalidParams(f"Write name=value; got {item[:80]!r}.")
    try:
        return key, json.loads(value)
    except RecursionError:
        raise InvalidParams(f"{key[:80]} is nested too deeply; give a plain value.") from None
    except ValueError:
        return key, value


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        InvalidParams: it lies in no folder, or is one.
        StoreError: it cannot be written.
    """
    try:
        if not path.parent.is_dir():
            raise InvalidParams(f"There is no folder {path.parent}; make it, or give another.")
        if path.is_dir() or not path.name:
            raise InvalidParams(f"{path} is a folder; give the name of a file.")
        if path.exists() and not path.is_file():  # a pipe or a device is written as it is
            path.write_bytes(content)
        else:
            write_whole(path, content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
