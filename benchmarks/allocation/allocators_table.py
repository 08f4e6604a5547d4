"""Writes the table of allocators in README.md from what was measured of them.

python -m benchmarks.allocation.allocators_table
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
MODELS = ("resnet20", "mobilenet")
BUDGETS = (2.2, 2.5, 3.0, 4.0, 5.0)
START, END = "<!-- rows -->\n", "<!-- /rows -->"


def results(model: str) -> list[dict[str, Any]]:
    """The rows on file of one network."""
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"allocators-{model}.json").read_text())
    return rows


def markdown(model: str, methods: list[str]) -> str:
    """The table of one network; a cell that was not measured is a dash."""
    rows = results(model)
    head = [f"{model}, float {100 * rows[0]['float_accuracy']:.2f} %"]
    head += [f"{bits:g} bits" for bits in BUDGETS]
    lines = [[*head, "evaluations", "CPU s"], ["---"] * (len(head) + 2)]
    for method in methods:
        found = {row["budget_bits"]: row for row in rows if row["method"] == method}
        cells = [_losses(found[bits]) if bits in found else "-" for bits in BUDGETS]
        most = max(row["evaluations"] for row in found.values())
        search = max(row["table_cpu_s"] + row["search_cpu_s"] for row in found.values())
        tuning = max(row["tuning_cpu_s"] for row in found.values())
        lines.append([method, *cells, str(most), f"{search:.0f} + {tuning:.0f}"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _losses(row: dict[str, Any]) -> str:
    """Points below the float network, as allocated and tuned."""
    losses = [100 * (row["float_accuracy"] - row[key]) for key in ("accuracy", "tuned_accuracy")]
    # no bits but whole ones are uniform
    taken = f" (at {row['mean_bits']:g})" if row["method"] == "uniform" else ""
    return " / ".join(f"{round(loss, 6) + 0.0:.2f}" for loss in losses) + taken


def tables() -> str:
    """Both tables, methods in the same order."""
    methods = list(dict.fromkeys(row["method"] for row in results(MODELS[0])))
    return "\n".join(markdown(model, methods) for model in MODELS)


def with_tables(text: str) -> str:
    """The README's text with the tables as measured."""
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{START}{tables()}{end}{after}"


def main() -> None:
    """Write the README."""
    README.write_text(with_tables(README.read_text()))


if __name__ == "__main__":
    main()
