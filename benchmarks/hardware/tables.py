"""Makes the tables of accelerators: what the bundled networks' layers take on two accelerators.

    pip install -r requirements-hardware.txt
    nice -n 15 python -m benchmarks.hardware.tables

Every (shape, weight bits, activation bits) is searched once, about a second each, and kept as soon
as it is known; started again, it goes on with what is missing.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from qcore.costs.accelerators.shapes import Shape, shape_of
from qcore.costs.accelerators.tables_of_zigzag import ACCELERATORS, LOOPS, best_mappings
from qcore.models.catalog import BUNDLED_NAMES, bundled_spec

FOLDER = Path(__file__).parents[2] / "qcore" / "costs" / "accelerators" / "tables"
PAIRS = tuple(
    (weight, activation)
    for weights, activations in (
        ((16, 8, 4, 2), (16, 8, 4)),
        ((16, 8, 4, 2), (2,)),
        ((3, 6, 5), (16, 8, 4, 2)),
        ((16, 8, 4, 2, 3, 6, 5), (6, 5, 3)),
    )
    for activation in activations
    for weight in weights
)
"""(weight bits, activation bits) to search, the most wanted first; 16 stands for float."""


def bundled_shapes() -> list[Shape]:
    """Shapes of all layers of the bundled networks, each once."""
    shapes = (shape_of(layer) for name in BUNDLED_NAMES for layer in bundled_spec(name).layers)
    return list(dict.fromkeys(shape for shape in shapes if shape is not None))


def main() -> None:
    """Fill the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerators", nargs="*", default=list(ACCELERATORS))
    arguments = parser.parse_args()
    for weight, activation in PAIRS:
        for accelerator in arguments.accelerators:
            fill(accelerator, weight, activation)


def fill(accelerator: str, weight: int, activation: int) -> None:
    """Search what one accelerator's table still lacks at these bits."""
    path = FOLDER / f"{accelerator}.json"
    table: dict[str, Any] = {
        "engine": f"zigzag-dse {version('zigzag-dse')}",
        "loops": LOOPS,
        "shapes": {},
    }
    if path.is_file():
        table = json.loads(path.read_text(encoding="utf-8"))
    for shape in bundled_shapes():
        entries = table["shapes"].setdefault(shape.key, {})
        key = f"{weight},{activation}"
        if key in entries:
            continue
        begun = time.process_time()
        least, fastest = best_mappings(accelerator, shape, weight, activation)
        entries[key] = [round(least.energy), round(fastest.cycles)]
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(table, indent=0) + "\n", encoding="utf-8")
        aside.replace(path)
        took = time.process_time() - begun
        print(f"{accelerator} {shape.key} {key}: {entries[key]} ({took:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
