"""Front under energy against fronts under bytes and bit operations, at equal energy.

    python -m benchmarks.hardware.energy_front
    ... --energy eyeriss_packed16_energy_pj --weights 2 3 4 5 6 8

Weights {2, 4, 8} bits, activations {4, 8}, gradient sensitivity, exact fronts. For each energy
limit, from the cheapest to the dearest allocation, the best predicted allocation of the front under
energy is measured beside the best within the same energy of the fronts under weight_bytes and
under bit_ops; where no value is split between words also of the front under the dense energy.
Written to benchmarks/results/energy-front.json, or energy-front-packed16.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from qcore.allocation import BitAllocation
from qcore.costs import COSTS
from qcore.costs.budget import make_options
from qcore.data import load_data
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.problem import Problem, SensitivityTable
from qcore.process.memory import keep_freed_memory
from qcore.ptq.model import QuantizedModel
from qcore.ptq.settings import TuningParams
from qcore.scoring.evaluator import Evaluator
from qcore.sensitivity.measured import compute_table
from qcore.solvers.knapsack import exact_front, layer_tables

RESULTS = Path(__file__).parents[1] / "results"
WEIGHTS = (2, 4, 8)
ACTIVATIONS = (4, 8)
LEVELS = (0.15, 0.3, 0.5, 0.75)
AGAINST = ("weight_bytes", "bit_ops")
PACKED = "_packed16_"
"""In the name of an energy where no value is split between two words."""


def best_of(
    problem: Problem, table: SensitivityTable, cost: str, energy: str, limits: list[float]
) -> list[BitAllocation | None]:
    """Best predicted member of the exact front under one cost within each energy limit."""
    options, prices, scores = layer_tables(problem, table, (cost,))
    # a coarse step keeps millions of distinct sums apart no longer than it takes to tell them
    step = max(1, int(np.sum([price.max() for price in prices]) // 20_000))
    front = exact_front(prices, scores, resolution=(step,))
    layers = problem.model.layers
    joules = [
        np.array([COSTS[energy].layer_cost(layer, bits) for bits in row])
        for layer, row in zip(layers, options, strict=True)
    ]
    spent = np.sum([price[front.choices[:, at]] for at, price in enumerate(joules)], axis=0)
    chosen: list[BitAllocation | None] = []
    for limit in limits:
        inside = np.flatnonzero(spent <= limit)
        if not len(inside):
            chosen.append(None)
            continue
        row = front.choices[inside[front.scores[inside].argmin()]]
        pairs = zip(problem.model.names, options, row, strict=True)
        chosen.append(BitAllocation({name: bits[at] for name, bits, at in pairs}))
    return chosen


def compare(
    name: str, energy: str, images: int, widths: tuple[int, ...] = WEIGHTS
) -> list[dict[str, Any]]:
    """Measure one network's fronts at every level."""
    data = load_data("fashion-mnist", calibration=images, search=images)
    network = load_model(name)
    found = find_layers(network, next(data.calibration.batches(1))[0], name)
    evaluator = Evaluator(QuantizedModel(network, found), data, "cpu", TuningParams())
    model = found.spec
    problem = Problem(model, make_options(model.layers, widths, ACTIVATIONS))
    table = compute_table("gradient", evaluator, widths, ACTIVATIONS)
    price = COSTS[energy].total
    low, high = (
        price(model, BitAllocation.uniform(model.layers, w, a))
        for w, a in ((widths[0], ACTIVATIONS[0]), (widths[-1], ACTIVATIONS[-1]))
    )
    limits = [low + share * (high - low) for share in LEVELS]
    rows = []
    dense = [energy.replace(PACKED, "_")] if PACKED in energy else []
    for cost in (energy, *dense, *AGAINST):
        for limit, allocation in zip(
            limits, best_of(problem, table, cost, energy, limits), strict=True
        ):
            row: dict[str, Any] = {"model": name, "front": cost, "energy_limit_pj": round(limit)}
            if allocation is not None:
                (point,) = evaluator.score([allocation], "ptq")
                row |= {
                    "energy_pj": price(model, allocation),
                    "weight_bytes": COSTS["weight_bytes"].total(model, allocation),
                    "accuracy": point.search.headline,
                    "interval": point.search.interval,
                    "n": point.search.n,
                    "kl": point.search.kl,
                    "bits": {n: [b.weight, b.activation] for n, b in allocation.items()},
                    "mean_weight_bits": float(np.mean([b.weight for b in allocation.values()])),
                    "mean_activation_bits": float(
                        np.mean([b.activation for b in allocation.values()])
                    ),
                }
            rows.append(row)
            print(json.dumps({k: v for k, v in row.items() if k != "bits"}), flush=True)
    return rows


def main() -> None:
    """Measure all networks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["resnet8", "resnet20", "mobilenet"])
    parser.add_argument("--energy", default="eyeriss_energy_pj")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--weights", nargs="*", type=int, default=list(WEIGHTS))
    arguments = parser.parse_args()
    keep_freed_memory()
    rows = []
    file = "energy-front-packed16.json" if PACKED in arguments.energy else "energy-front.json"
    for name in arguments.models:
        rows += compare(name, arguments.energy, arguments.images, tuple(sorted(arguments.weights)))
        (RESULTS / file).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
