"""What the rounding of weights is worth: nearest codes against GPFQ and GPTQ, on the same images.

    python -m benchmarks.allocation.roundings --models resnet8 resnet20 mobilenet

Bits are uniform, and at 2.5 mean bits those of the exact optimum of the gradient score under each
rounding. Every point is scored untuned on the test images; differences are paired, with their 95 %
intervals, to the same bits under the nearest codes and to the float network. Writes
benchmarks/results/roundings.json.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qcore.allocation import BitAllocation
from qcore.engine import drive
from qcore.models.catalog import bundled_spec
from qcore.paired import against_float, compare
from qcore.prepare import Prepared, prepare
from qcore.problem import Point
from qcore.ptq.rounding_names import ROUNDING_FACTS
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES

RESULTS = Path(__file__).parents[1] / "results" / "roundings.json"
UNIFORM = (2, 3, 4)
BETWEEN = 2.5


def allocations(prepared: Prepared) -> dict[str, BitAllocation]:
    """What is scored, by its mean bits: uniform ones, and one found within the limit."""
    layers, search = prepared.model.layers, SEARCHES["exact"]
    chosen = {str(b): BitAllocation.uniform(layers, b) for b in UNIFORM}
    found = drive(search, prepared.problem, search.params(), 0, score=prepared.score)
    inside = [p for p in found.points if prepared.problem.admits(p.allocation)]
    chosen[str(BETWEEN)] = min(inside, key=lambda p: p.search.kl).allocation
    return chosen


def right_of(point: Point) -> np.ndarray:
    """Whether each test image is named right."""
    bits = np.unpackbits(np.frombuffer(point.test_right or b"", np.uint8))
    return bits[: point.test.n if point.test else 0].astype(bool)


def measure(model: str, roundings: list[str]) -> list[dict[str, Any]]:
    """One row for each rounding and allocation of a network."""
    rows: list[dict[str, Any]] = []
    nearest: dict[str, np.ndarray] = {}
    weights = sum(layer.weights for layer in bundled_spec(model).layers)
    spec = RunSpec(
        model, "fashion-mnist", "exact", {"points": 1, "sensitivity": "gradient"},
        {"weight_bytes": weights * BETWEEN / 8}, device="cpu",
    )  # fmt: skip
    for rounding in roundings:
        started = time.process_time()
        prepared = prepare(replace(spec, rounding=rounding))
        seconds = time.process_time() - started
        for bits, allocation in allocations(prepared).items():
            point = prepared.report(next(prepared.score([allocation])))
            right = right_of(point)
            beside = compare(nearest.setdefault(bits, right), right)
            against = against_float(point.test, prepared.float_point.test) if point.test else None
            row = {
                "model": model,
                "rounding": rounding,
                "bits": bits,
                "kl": point.test.kl if point.test else None,
                "accuracy": point.test.accuracy if point.test else None,
                "prepare_cpu_seconds": seconds,
                "below_nearest": [beside.points, *beside.interval],
                "below_float": [against.points, *against.interval] if against else None,
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def main() -> None:
    """Measure the networks that are asked for, and keep what was measured of others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet8", "resnet20", "mobilenet"])
    parser.add_argument("--roundings", nargs="+", default=list(ROUNDING_FACTS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for model in arguments.models:
        rows = measure(model, arguments.roundings)
        before = [row for row in before if row["model"] != model] + rows
        RESULTS.write_text(json.dumps(before, indent=1) + "\n")


if __name__ == "__main__":
    main()
