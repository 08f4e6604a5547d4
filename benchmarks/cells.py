"""Cells of a long benchmark, a JSON line each: computed once, kept as they come, never again."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from qcore.errors import Diverged

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


def current(rows: Iterable[Cell]) -> list[Cell]:
    """The last cell of each name: what was measured again stands in place of what was before."""
    return list({json.dumps(row["name"], sort_keys=True): row for row in rows}.values())


def is_there(rows: Iterable[Cell], name: Cell, code: str | None = None) -> bool:
    """Whether a cell of this name is among some; with a digest, measured by that code."""
    return any(
        row["name"] == name and (code is None or row.get("code") == code) for row in current(rows)
    )


def keep(path: Path, row: Cell) -> None:
    """Add a finished cell."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def compute_missing(
    path: Path,
    cells: Iterable[tuple[Cell, Callable[[], Cell]]],
    code: Callable[[Cell], str] | None = None,
    again: bool = False,
) -> None:
    """Compute and keep the cells that are not on file, with their CPU seconds.

    Args:
        path: A file of JSON lines.
        cells: Names, and what computes them; a training that diverges is a result.
        code: Digest of the code that a cell measures, which is kept with it.
        again: Whether cells that other code measured are computed again.
    """
    for name, compute in cells:
        digest = None if code is None else code(name)
        if is_there(finished(path), name, digest if again else None):
            continue
        started = time.process_time()
        try:
            found = compute()
        except Diverged as error:
            found = {"accuracy": 0.1, "diverged": str(error)}
        row = {"name": name, "result": found, "cpu_seconds": time.process_time() - started}
        row |= {} if digest is None else {"code": digest}
        keep(path, row)
        print(json.dumps(name), f"{row['cpu_seconds']:.0f} CPU-s", flush=True)
