"""`python -m store planes RUN`: the network of a run as a file that may be cut off."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qcore.planes.reading import parse_planes
from store.database import Store
from store.jobs import planes
from store.jobs.arguments import row_number, write_file


def add_command(commands: Any) -> argparse.ArgumentParser:
    """The command among the others."""
    command: argparse.ArgumentParser = commands.add_parser(
        "planes", help="a network of nested codes as bit planes, which may be cut off"
    )
    command.add_argument("run", type=row_number)
    command.add_argument("--out", type=Path, help="default: runRUN.planes.safetensors")
    command.add_argument(
        "--switch", default="", help='such as "4/4": only the beginning that holds it'
    )
    return command


def command_planes(store: Store, arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Write the file, or its beginning, and say what it holds."""
    whole = planes.compute(store, arguments.run)
    content = planes.kept(whole, arguments.switch)
    path = arguments.out or Path(f"run{arguments.run}.planes.safetensors")
    write_file(path, content)
    say(str(path))
    for line in planes.told(parse_planes(content)):
        say(line)
    return 0
