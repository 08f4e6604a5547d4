"""Cells of a long benchmark, a JSON line each: computed once, kept as they come, never again."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def finished(path: Path) -> list[Cell]:
    """The cells on file; a line cut short by a stop is left out."""
    rows: list[Cell] = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return rows


def keep(path: Path, row: Cell) -> None:
    """Add a finished cell."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def compute_missing(path: Path, cells: Iterable[tuple[Cell, Callable[[], Cell]]]) -> None:
    """Compute and keep the cells that are not on file, with their CPU seconds."""
    for name, compute in cells:
        if any(row["name"] == name for row in finished(path)):
            continue
        started = time.process_time()
        row = {"name": name, "result": compute(), "cpu_seconds": time.process_time() - started}
        keep(path, row)
        print(json.dumps(name), f"{row['cpu_seconds']:.0f} CPU-s", flush=True)
