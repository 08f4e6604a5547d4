"""Where narrower numbers make another mapping the best, on the convolutions of ResNet-8.

    pip install -r requirements-hardware.txt
    python -m benchmarks.hardware.mappings

Every layer is priced at other bits with the mapping found for 8/8 and with one searched for its
bits. Written to benchmarks/results/mappings.json, its tables into docs/costs.md.
"""

import json
from pathlib import Path
from typing import Any

from qcore.costs.accelerators.shapes import shape_of
from qcore.costs.accelerators.tables_of_zigzag import ACCELERATORS, best_mappings, with_mapping
from qcore.models.catalog import bundled_spec

ROOT = Path(__file__).parents[2]
RESULTS, DOCUMENT = ROOT / "benchmarks/results/mappings.json", ROOT / "docs/costs.md"
START, END = "<!-- mappings -->", "<!-- end of mappings -->"
PAIRS = ((8, 2), (4, 4), (2, 8), (2, 2))
LAYERS = ("layer1.0.conv1", "layer2.0.conv1", "layer2.0.conv2", "layer3.0.conv1", "layer3.0.conv2")
SHOWN = "layer3.0.conv1"
BETTER = 1e-9
"""Share of the energy by which another mapping has to be better to count as another."""


def measure() -> list[dict[str, Any]]:
    """Energy in pJ of every layer and bit pair, with both mappings."""
    layers = {layer.name: layer for layer in bundled_spec("resnet8").layers}
    rows = []
    for accelerator in ACCELERATORS:
        for name in LAYERS:
            shape = shape_of(layers[name])
            if shape is None:
                raise ValueError(f"{name} has no shape that ZigZag knows.")
            base, _ = best_mappings(accelerator, shape, 8, 8)
            for weight, activation in ((8, 8), *PAIRS):
                least, _ = best_mappings(accelerator, shape, weight, activation)
                kept = with_mapping(accelerator, shape, weight, activation, base)
                row = {"accelerator": accelerator, "layer": name, "bits": [weight, activation]}
                rows.append({**row, "kept_pj": kept.energy, "searched_pj": least.energy})
                print(rows[-1], flush=True)
    return rows


def tables(rows: list[dict[str, Any]]) -> str:
    """One layer in full, and how often another mapping won."""
    lines = ["| weight/activation bits | mapping of 8/8, µJ | mapping searched, µJ | gain |"]
    lines += ["|---|---|---|---|"]
    for row in rows:
        if row["accelerator"] == ACCELERATORS[0] and row["layer"] == SHOWN:
            kept, least = row["kept_pj"], row["searched_pj"]
            bits = "/".join(map(str, row["bits"]))
            gain = f"{100 * _gain(row):.1f} %" if row["bits"] != [8, 8] else ""
            lines += [f"| {bits} | {kept / 1e6:.2f} | {least / 1e6:.2f} | {gain} |"]
    words = []
    for accelerator in ACCELERATORS:
        tried = [r for r in rows if r["accelerator"] == accelerator and r["bits"] != [8, 8]]
        gains = [_gain(row) for row in tried]
        won = sum(gain > BETTER for gain in gains)
        words += [
            f"- `{accelerator}`: another mapping took less energy in {won} of {len(tried)} (layer, "
            f"bits), by {100 * max(gains):.2f} % at most."
        ]
    return "\n".join([*lines, "", *words])


def _gain(row: dict[str, Any]) -> float:
    return 1 - row["searched_pj"] / row["kept_pj"]


def main() -> None:
    """Measure and write."""
    rows = measure()
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(START)
    text = f"{before}{START}\n\n{tables(rows)}\n\n{END}{rest.split(END)[1]}"
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
