"""How far each search is from the true optimum, on problems small enough to try everything.

    python -m benchmarks.allocation.exhaustive

1. resnet8, weights only, widths {2, 3, 4, 8}: all 4^10 = 1,048,576 allocations under the additive
   gradient score, against the exact front of `qcore.solvers.knapsack`.
2. resnet8, widths {2, 4}: all 1,024 allocations truly measured (256 calibration and 256 search
   images); each search then runs on the same problem and its regret is printed: the KL of what it
   found minus the KL of the best allocation within the budget, nats, and how many it measured.

The measured study is kept in benchmarks/results/exhaustive.jsonl as it goes and is resumed.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import costs_of
from qcore.costs.budget import Budget, make_options
from qcore.engine import drive
from qcore.prepare import prepare
from qcore.problem import Point, Problem, Scores
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from qcore.solvers.knapsack import exact_front, layer_tables

RESULTS = Path(__file__).parents[1] / "results"
MEASURED = RESULTS / "exhaustive.jsonl"
SMALL = (2, 4)


def additive(prepared: Any) -> dict[str, Any]:
    """Compare the exact front with plain enumeration of all 4^10 allocations."""
    spec = prepared.model
    problem = Problem(spec, make_options(spec.layers, (2, 3, 4, 8)))
    table = prepared.problem.sensitivity("gradient")
    _, prices, scores = layer_tables(problem, table, ("weight_bytes",))
    costs, totals = np.zeros(1, np.int64), np.zeros(1)
    for price, score in zip(prices, scores, strict=True):
        costs = (costs[:, None] + price[:, 0][None]).ravel()
        totals = (totals[:, None] + score[None]).ravel()
    order = np.lexsort((totals, costs))
    best = np.minimum.accumulate(totals[order])
    keep = np.r_[True, best[1:] < best[:-1]]
    front = exact_front(prices, scores)
    same = np.array_equal(front.costs[:, 0], costs[order][keep]) and np.allclose(
        front.scores, totals[order][keep], rtol=1e-12
    )
    return {"allocations": len(totals), "front": len(front.scores), "equal": bool(same)}


def measure_all(prepared: Any) -> dict[str, float]:
    """KL of every allocation of the small grid, by digest; resumed from the file."""
    done = {}
    if MEASURED.exists():
        done = {r["digest"]: r["kl"] for r in map(json.loads, MEASURED.read_text().splitlines())}
    names = prepared.model.names
    with MEASURED.open("a") as log:
        for bits in itertools.product(SMALL, repeat=len(names)):
            pairs = zip(names, bits, strict=True)
            allocation = BitAllocation({name: LayerBits(b) for name, b in pairs})
            if allocation.digest in done:
                continue
            point = next(prepared.score([allocation]))
            done[allocation.digest] = point.search.kl
            log.write(json.dumps({"digest": allocation.digest, "kl": point.search.kl}) + "\n")
            log.flush()
    return done


def regrets(prepared: Any, kls: dict[str, float]) -> list[dict[str, Any]]:
    """Regret of each search at five budgets of the small grid."""
    spec, options = prepared.model, prepared.problem.options
    everything = [
        BitAllocation({n: LayerBits(b) for n, b in zip(spec.names, bits, strict=True)})
        for bits in itertools.product(SMALL, repeat=len(spec.names))
    ]
    weights = sum(layer.weights for layer in spec.layers)
    rows = []

    def look_up(allocations: Any, stage: str, images: Any = None) -> Any:
        for allocation in allocations:
            kl = kls[allocation.digest]
            yield Point(allocation, Scores(256, kl, 1.0), stage=stage)

    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("uniform", "uniform", {}),
        ("random, 64", "random", {"evaluations": 64}),
        ("greedy: gradient", "greedy", {"sensitivity": "gradient", "points": 4}),
        ("exact: gradient", "exact", {"sensitivity": "gradient", "points": 1}),
        ("exact: kl", "exact", {"sensitivity": "kl", "points": 1}),
        ("exact: weight_mse", "exact", {"sensitivity": "weight_mse", "points": 1}),
        ("portfolio", "portfolio", {"points": 1}),
    ]
    for mean_bits in (2.2, 2.4, 2.6, 3.0, 3.5):
        limit = weights * mean_bits / 8
        problem = Problem(
            spec, options, Budget({"weight_bytes": limit}), prepared.problem.sensitivity
        )
        inside = [a for a in everything if costs_of(spec, a)["weight_bytes"] <= limit]
        optimum = min(kls[a.digest] for a in inside)
        for label, name, params in cases:
            search = SEARCHES[name]
            outcome = drive(search, problem, search.read_params(params), 0, score=look_up)
            found = [p.search.kl for p in outcome.points if problem.admits(p.allocation)]
            rows.append(
                {
                    "mean_bits": mean_bits,
                    "search": label,
                    "optimum_kl": optimum,
                    "regret_kl": min(found) - optimum if found else None,
                    "evaluations": outcome.evaluations,
                    "better": sum(kls[a.digest] < min(found, default=9e9) for a in inside),
                    "allocations": len(inside),
                }
            )
    return rows


def main() -> None:
    """Run both studies and print them."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    spec = RunSpec(
        "resnet8", "fashion-mnist", "exact",
        weight_bits=(2, 3, 4, 8), calibration_images=256, search_images=256,
    )  # fmt: skip
    prepared = prepare(spec)
    first = additive(prepared)
    print(f"{'pass' if first['equal'] else 'FAIL'}  exact front equals enumeration: {first}")
    small = Problem(
        prepared.model, make_options(prepared.model.layers, SMALL),
        sensitivity=prepared.problem.sensitivity,
    )  # fmt: skip
    object.__setattr__(prepared, "problem", small)
    rows = regrets(prepared, measure_all(prepared))
    (RESULTS / "exhaustive.json").write_text(json.dumps([first, *rows], indent=1) + "\n")
    for row in rows:
        print(
            f"{row['mean_bits']:4} bits  {row['search']:18} regret {row['regret_kl']:.5f} nats of "
            f"{row['optimum_kl']:.5f}; {row['better']} of {row['allocations']} better; "
            f"{row['evaluations']} evaluations"
        )


if __name__ == "__main__":
    main()
