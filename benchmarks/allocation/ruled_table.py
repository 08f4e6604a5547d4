"""The tables of what rules cost, from what `benchmarks.rules` measured. Pure but for `write`."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.allocation.ruled import MODELS, SETTINGS, Setting
from benchmarks.cells import Cell

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "rules.json"
DOCUMENT = ROOT / "docs" / "figures.md"
START, END = "<!-- rules -->\n", "<!-- /rules -->"
SHOWN = 300
"""Members of a front that are kept for its picture, spread evenly."""


def results(cells: Iterable[Cell], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What goes on file: the fronts as mean bits and predicted damage, and what was measured."""
    fronts = []
    for cell in cells:
        if cell["name"]["cell"] != "front":
            continue
        front, last = cell["result"], cell["result"]["picks"][-1]
        size = 8 * last["budget"] / last["bits"]
        bits = [8 * cost / size for cost in front["costs"]]
        # the best within each of many budgets: evenly spread, so that no front is drawn too high
        wanted = np.linspace(bits[0], bits[-1], SHOWN)
        kept = sorted({max(0, bisect_right(bits, most) - 1) for most in wanted})
        fronts.append(
            {
                **{key: cell["name"][key] for key in ("model", "setting", "rule")},
                "bits": [round(bits[at], 4) for at in kept],
                "damage": [float(f"{front['scores'][at]:.5g}") for at in kept],
            }
        )
    return {"fronts": fronts, "rows": list(rows)}


def markdown(found: Mapping[str, Any]) -> str:
    """A table for each setting."""
    return "\n".join(_table(found["rows"], setting) for setting in SETTINGS)


def with_tables(text: str, found: Mapping[str, Any]) -> str:
    """The document's text with the tables as measured."""
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{START}{markdown(found)}{end}{after}"


def write(found: Mapping[str, Any]) -> None:
    """Write the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_tables(text, found), encoding="utf-8")


def _table(rows: Sequence[Mapping[str, Any]], setting: Setting) -> str:
    mine = [row for row in rows if row["setting"] == setting.name]
    head = [f"{setting.name}", *(f"{bits:g} bits" for bits in setting.bits)]
    lines = [head, ["---"] * len(head)]
    for model in MODELS:
        for rule in dict.fromkeys(row["rule"] for row in mine if row["model"] == model):
            cells = {
                row["bits"]: row for row in mine if (row["model"], row["rule"]) == (model, rule)
            }
            lines.append([f"{model}: {rule}", *(_cell(cells.get(bits)) for bits in setting.bits)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    if row["verdict"] == "not possible":
        return "not possible"
    if row["same"]:
        return "the same"
    low, high = row["interval"]
    words = f"{_points(row['points'])} ({_points(low)} to {_points(high)})"
    return f"tie, {words}" if row["verdict"] == "tie" else f"**{words}**"


def _points(value: float) -> str:
    # no minus before what rounds to nothing
    return f"{round(value, 2) + 0.0:+.2f}"
