"""Do layers' bits depend on one another, and do two seeds of CMA-ES see the same dependencies?

    python -m benchmarks.allocation.dependencies

resnet8 on Fashion-MNIST as trained, weights of 2, 3, 4 or 8 bits, inputs in float, at most 2.5 bits
a weight. CMA-ES from uniform bits on the same images for three seeds; of each seed the covariance
of its longest descent, as correlations. Printed are the rank correlations of each two seeds and the
share of pairs of layers whose correlation has the sign opposite to that of their interaction by
gradients, each with the 95 % interval of chance (layers renamed at random, 999 times). Cells are
kept in benchmarks/results/dependencies.jsonl and not run again.
"""

import argparse
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cells import compute_missing, finished
from qcore.engine import drive
from qcore.models.catalog import bundled_spec
from qcore.prepare import prepare
from qcore.problem import Progress
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from qcore.solvers.dependencies import (
    interactions,
    kept_dependencies,
    rank_agreement,
    sign_agreement,
)

RESULTS = Path(__file__).parents[1] / "results" / "dependencies.jsonl"
MODEL, SEEDS, BITS = "resnet8", (0, 1, 2), 2.5


def cell(seed: int, evaluations: int, images: int) -> dict[str, Any]:
    """The longest descent of one seed: layers, correlations, and the interactions by gradients."""
    spec = RunSpec(
        MODEL, "fashion-mnist", "cmaes", calibration_images=images, search_images=images,
        device="cpu", objective="kl",
    )  # fmt: skip
    weights = sum(layer.weights for layer in prepare(spec).model.layers)
    spec = RunSpec.from_json({**spec.to_json(), "limits": {"weight_bytes": weights * BITS / 8}})
    prepared = prepare(spec)
    kept: list[Any] = []

    def note(event: Any) -> None:
        if isinstance(event, Progress):
            kept.append(event.figures)

    search = SEARCHES["cmaes"]
    params = {"evaluations": evaluations, "start": "uniform"}
    drive(
        search, prepared.problem, search.read_params(params), seed, score=prepared.score,
        on_event=note,
    )  # fmt: skip
    best = max(kept_dependencies(kept), key=lambda each: each["generations"])
    table = prepared.problem.sensitivity("gradient") if prepared.problem.sensitivity else None
    found = None if table is None else interactions(table, best["layers"], best["part"])
    return {
        "layers": best["layers"],
        "generations": best["generations"],
        "matrix": best["matrix"].tolist(),
        "interactions": None if found is None else found.tolist(),
    }


def report(rows: list[dict[str, Any]]) -> None:
    """Print every pair of seeds, and every seed against the gradients."""
    found = {row["name"]["seed"]: row["result"] for row in rows}
    for seed, result in found.items():
        print(f"seed {seed}: {result['generations']} generations, {len(result['layers'])} layers")
    for one, other in itertools.combinations(found, 2):
        agreed = rank_agreement(np.array(found[one]["matrix"]), np.array(found[other]["matrix"]))
        print(
            f"seeds {one} and {other}: rank correlation {agreed.value:+.2f} over {agreed.pairs} "
            f"pairs; chance {agreed.low:+.2f} to {agreed.high:+.2f}"
        )
    weights = {layer.name: layer.weights for layer in bundled_spec(MODEL).layers}
    for seed, result in found.items():
        sizes = np.array([weights[name] for name in result["layers"]], dtype=float)
        traded = rank_agreement(np.array(result["matrix"]), -np.outer(sizes, sizes))
        print(
            f"seed {seed} against what the budget alone trades (minus the product of two layers' "
            f"weights): {traded.value:+.2f}; chance {traded.low:+.2f} to {traded.high:+.2f}"
        )
    for seed, result in found.items():
        if result["interactions"] is None:
            continue
        signs = sign_agreement(np.array(result["matrix"]), np.array(result["interactions"]))
        print(
            f"seed {seed} against gradients: opposite signs at {100 * signs.value:.0f} % of "
            f"{signs.pairs} pairs; chance {100 * signs.low:.0f} to {100 * signs.high:.0f} %"
        )


def main() -> None:
    """Compute what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--images", type=int, default=256)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    size = {"evaluations": arguments.evaluations, "images": arguments.images}
    names = [{"seed": seed, **size} for seed in SEEDS]
    compute_missing(RESULTS, [(name, partial(cell, **name)) for name in names])
    report([row for row in finished(RESULTS) if row["name"] in names])


if __name__ == "__main__":
    main()
