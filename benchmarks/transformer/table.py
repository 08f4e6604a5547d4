"""What the cells of `benchmarks.transformer` say, and the tables of it. Pure but for `write`.

Every method is compared with uniform bits at the same width, under the same rounding, in the same
draw, sample by sample.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "transformer.json"
DOCUMENT = ROOT / "docs" / "figures.md"
START, END = "<!-- transformer -->\n", "<!-- /transformer -->"
UNIFORM = "uniform"
Z95 = 1.96


def summary(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """A row for each network, rounding, method and width, over its draws.

    The interval of a change is the mean of the draws' own half widths: draws share test samples, so
    that their mean is no surer than one of them.
    """
    known = {_key(cell["name"]): cell["result"] for cell in cells if cell["result"]}
    groups: dict[tuple[str, str, str, float], list[int]] = {}
    for model, draw, rounding, method, bits in known:
        groups.setdefault((model, rounding, method, bits), []).append(draw)
    rows = []
    for (model, rounding, method, bits), draws in groups.items():
        found = [known[model, draw, rounding, method, bits] for draw in sorted(draws)]
        beside = [known.get((model, draw, rounding, UNIFORM, bits)) for draw in sorted(draws)]
        changes = [change(a, b) for a, b in zip(found, beside, strict=True) if b is not None]
        rows.append(
            {
                "model": model,
                "rounding": rounding,
                "method": method,
                "bits": bits,
                "draws": sorted(draws),
                "kl": [_short(np.mean(each["kl"])) for each in found],
                "agreement": [_short(np.mean(each["agreement"])) for each in found],
                "change": [_short(mean) for mean, _ in changes],
                "half_width": _short(np.mean([half for _, half in changes])) if changes else None,
                "n": len(found[0]["kl"]),
                "evaluations": max(each["evaluations"] for each in found),
                "tables_cpu_seconds": _short(_mean(sum(x["tables"].values()) for x in found)),
                "search_cpu_seconds": _short(_mean(x["search_cpu_seconds"] for x in found)),
                "point_cpu_seconds": _short(_mean(x["point_cpu_seconds"] for x in found)),
            }
        )
    return rows


def change(found: Mapping[str, Any], beside: Mapping[str, Any]) -> tuple[float, float]:
    """Change of the mean divergence as a share of another's, and half its 95 % interval.

    Args:
        found: A cell's result, with the divergence of each sample.
        beside: The same of what it is compared with, on the same samples.
    """
    mine, other = (np.asarray(each["kl"], float) for each in (found, beside))
    difference, base = mine - other, max(float(other.mean()), 1e-300)
    error = difference.std(ddof=1) / len(difference) ** 0.5
    return float(difference.mean()) / base, Z95 * float(error) / base


def _key(name: Mapping[str, Any]) -> tuple[str, int, str, str, float]:
    return name["model"], name["draw"], name["rounding"], name["method"], name["bits"]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _short(value: Any) -> float:
    return float(f"{float(value):.4g}")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for each network and rounding: divergence, and the change against uniform bits."""
    parts = dict.fromkeys((row["model"], row["rounding"]) for row in rows)
    return "\n".join(_table(rows, *part) for part in parts)


def _table(rows: Sequence[Mapping[str, Any]], model: str, rounding: str) -> str:
    mine = [row for row in rows if (row["model"], row["rounding"]) == (model, rounding)]
    widths = sorted({row["bits"] for row in mine})
    head = [f"{model}, rounding {rounding}", *(f"{bits:g} bits" for bits in widths)]
    lines = [[*head, "same answer", "evaluations", "CPU s"], ["---"] * (len(head) + 3)]
    for method in dict.fromkeys(row["method"] for row in mine):
        found = {row["bits"]: row for row in mine if row["method"] == method}
        cells = [_cell(found[bits]) if bits in found else "-" for bits in widths]
        alike = [f"{100 * np.mean(found[bits]['agreement']):.0f}" for bits in sorted(found)]
        tables = max(row["tables_cpu_seconds"] for row in found.values())
        search = max(row["search_cpu_seconds"] for row in found.values())
        most = max(row["evaluations"] for row in found.values())
        took = f"{tables:.0f} + {search:.0f}"
        lines.append([method, *cells, f"{' / '.join(alike)} %", str(most), took])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: Mapping[str, Any]) -> str:
    told = f"{np.mean(row['kl']):.4f}"
    if row["method"] != UNIFORM and row["change"]:
        told += f", {100 * np.mean(row['change']):+.0f} % +-{100 * row['half_width']:.0f}"
    return told + (f" ({len(row['draws'])} of 3 draws)" if len(row["draws"]) < 3 else "")


def with_tables(text: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The document's text with the tables as measured."""
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{START}{markdown(rows)}{end}{after}"


def write(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_tables(text, rows), encoding="utf-8")
