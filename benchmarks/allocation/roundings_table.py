"""The table of what roundings are worth, from their benchmark's cells. Pure but for `write`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell
from qcore.paired import Paired, compare

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "roundings.json"
DOCUMENT = ROOT / "docs" / "figures.md"
START, END = "<!-- roundings -->\n", "<!-- /roundings -->"
NEAREST = "nearest"


def summary(cells: Iterable[Cell], right_of: Callable[[Cell], np.ndarray]) -> list[dict[str, Any]]:
    """A row for each network, width and rounding.

    Args:
        cells: As they were written.
        right_of: A result to which test images it names right.
    """
    known = {
        (c["name"]["model"], c["name"]["bits"], c["name"]["rounding"]): c["result"] for c in cells
    }
    rows = []
    for (model, bits, rounding), result in known.items():
        if rounding == "float":
            continue
        right = right_of(result)
        above = known.get((model, "32", "float"))
        beside = known.get((model, bits, NEAREST))
        rows.append(
            {
                "model": model,
                "bits": bits,
                "rounding": rounding,
                "mean_bits": round(result["mean_bits"], 4),
                "correction": result["correction"],
                "kl": float(f"{result['kl']:.4g}"),
                "accuracy": float(right.mean()),
                "below_float": _lost(above, right, right_of),
                "below_nearest": _lost(beside, right, right_of),
                "prepare_cpu_seconds": round(result["prepare_cpu_seconds"], 1),
            }
        )
    return rows


def _lost(
    other: Cell | None, right: np.ndarray, right_of: Callable[[Cell], np.ndarray]
) -> list[float] | None:
    """Points lost against another on the same images, and the ends of the 95 % interval."""
    if other is None:
        return None
    found = compare(right_of(other), right)
    if not isinstance(found, Paired):
        return None
    return [round(value, 3) for value in (found.points, *found.interval)]


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Points lost against float, by network and width, a column for each rounding."""
    roundings = list(dict.fromkeys(row["rounding"] for row in rows))
    lines = [["network", "mean bits", *roundings], ["---"] * (len(roundings) + 2)]
    for model, bits in dict.fromkeys((row["model"], row["bits"]) for row in rows):
        found = {r["rounding"]: r for r in rows if (r["model"], r["bits"]) == (model, bits)}
        cells = [_cell(found[name]) if name in found else "-" for name in roundings]
        lines.append([model, bits, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: Mapping[str, Any]) -> str:
    told = f"{row['below_float'][0]:.2f}" if row["below_float"] else "-"
    if row["rounding"] != NEAREST and row["below_nearest"]:
        points, low, high = row["below_nearest"]
        told += f" ({-points:+.2f}, {-high:+.2f} to {-low:+.2f})"
    return told


def with_table(text: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The document's text with the table as measured."""
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{START}{markdown(rows)}{end}{after}"


def write(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_table(text, rows), encoding="utf-8")
