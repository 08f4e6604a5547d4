"""NSGA-II against random search at equal evaluations, on problems whose damage is known.

    python -m benchmarks.allocation.nsga2

Eight layers, weights {2, 3, 4, 6, 8} and activations {4, 8}, damage with interactions of 0.3, 150
evaluations, ten problems for each cost. What is compared is the area of damage and cost that the
measured points dominate. Written to benchmarks/results/nsga2.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.toy import toy_problem
from qcore.engine import drive
from qcore.front import hypervolume
from qcore.searches import SEARCHES

RESULTS = Path(__file__).parents[1] / "results" / "nsga2.json"
COSTS_TRIED = ("bit_ops", "weight_bytes", "model_bytes")
EVALUATIONS, SEEDS = 150, range(10)


def share(cost: str, seed: int) -> float:
    """Area dominated by NSGA-II as a share of that of random search."""
    toy = toy_problem(8, (2, 3, 4, 6, 8), (4, 8), interaction=0.3, seed=seed)
    asked: dict[str, dict[str, Any]] = {
        "nsga2": {"evaluations": EVALUATIONS, "population": 16, "cost": cost},
        "random": {"evaluations": EVALUATIONS},
    }
    found = []
    for name, values in asked.items():
        search = SEARCHES[name]
        done = drive(search, toy.problem, search.read_params(values), seed, score=toy.score)
        found.append([(toy.cost(p.allocation, cost), p.search.kl) for p in done.points])
    corner = np.max(np.concatenate(found), axis=0) * 1.01
    areas = [
        hypervolume([x for x, _ in points], [y for _, y in points], (corner[0], corner[1]))
        for points in found
    ]
    return areas[0] / areas[1]


def main() -> None:
    """Compare on all problems and write the shares."""
    rows = []
    for cost in COSTS_TRIED:
        found = [share(cost, seed) for seed in SEEDS]
        row = {"cost": cost, "evaluations": EVALUATIONS, "problems": len(found)}
        row |= {"median": float(np.median(found)), "least": min(found), "most": max(found)}
        print(json.dumps(row), flush=True)
        rows.append(row)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
