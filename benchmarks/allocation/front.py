"""Seconds of the exact front at real sizes: ResNet-50, widths 2..8, weights and activations.

python -m benchmarks.allocation.front
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qcore.allocation import LayerBits
from qcore.costs import COSTS
from qcore.models.zoo import build_model
from qcore.network.layers import find_layers
from qcore.solvers.knapsack import exact_front
from qcore.solvers.lagrangian import exact_best

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    """Print and store the timings; scores are random, falling fourfold with each bit."""
    torch.set_num_threads(1)
    found = find_layers(build_model("resnet50"), torch.zeros(1, 3, 224, 224), "resnet50")
    rng = np.random.default_rng(0)
    options = [LayerBits(w, a) for w in range(2, 9) for a in range(2, 9)]
    scores = []
    for _ in found.spec.layers:
        own, other = rng.lognormal(0, 1.5, 2)
        scores.append(
            np.array([own * 4.0**-o.weight + other * 4.0**-o.activation for o in options])
        )
    rows: list[dict[str, Any]] = []
    names: tuple[str, ...]
    for names in (("weight_bytes",), ("bit_ops",)):
        prices = [
            np.array([[COSTS[n].layer_cost(layer, o) for n in names] for o in options])
            for layer in found.spec.layers
        ]
        started = time.perf_counter()
        front = exact_front(prices, scores)
        seconds = time.perf_counter() - started
        rows.append({"costs": names, "what": "whole front", "s": seconds, "n": len(front.scores)})
    names = ("weight_bytes", "bit_ops")
    prices = [
        np.array([[COSTS[n].layer_cost(layer, o) for n in names] for o in options])
        for layer in found.spec.layers
    ]
    least = sum(p.min(0) for p in prices)
    limits = [float(v) for v in least * np.array([1.8, 3.0])]
    started = time.perf_counter()
    exact_best(prices, scores, limits)
    seconds = time.perf_counter() - started
    rows.append({"costs": names, "what": "optimum at two budgets", "s": seconds, "n": 1})
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "front.json").write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        costs = " and ".join(row["costs"])
        print(f"{costs:26} {row['what']:24} {row['s']:.2f} s, {row['n']} solutions")


if __name__ == "__main__":
    main()
