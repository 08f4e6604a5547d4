"""Every search at equal mean weight bits, as allocated and after label-free tuning.

    python -m benchmarks.allocation.allocators

Weights only, widths {2, 3, 4, 8}, every layer counted, 1,024 calibration images, the first 512 of
which are also the search split (no image and no label beyond them), accuracy on all 10,000 test
images. The
sensitivity table's seconds count in full for every row that uses it. Results are written to
benchmarks/results/allocators-MODEL.json as they come; rows already there are not measured again.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch

from qcore.costs import mean_weight_bits
from qcore.costs.budget import Budget, make_options
from qcore.data import load_data
from qcore.engine import drive
from qcore.errors import InfeasibleBudget
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.problem import Problem, SensitivityTable
from qcore.process.memory import keep_freed_memory
from qcore.ptq.model import QuantizedModel
from qcore.ptq.settings import TuningParams
from qcore.scoring.evaluator import Evaluator
from qcore.searches import SEARCHES
from qcore.sensitivity.measured import compute_table

RESULTS = Path(__file__).parents[1] / "results"
BUDGETS = (2.2, 2.5, 3.0, 4.0, 5.0)
WIDTHS = (2, 3, 4, 8)
SEARCHED = 512
KINDS = ("gradient", "kl", "hessian", "weight_mse")
TARGETS = {
    "allocated": {2.5: 1.5, 3.0: 0.7, 4.0: 0.2, 5.0: 0.1},
    "tuned": {2.2: 0.7, 2.5: 0.3, 3.0: 0.15},
}


def cases() -> list[tuple[str, str, dict[str, Any], tuple[str, ...]]]:
    """(row label, search, params, sensitivities it needs)."""
    rows: list[tuple[str, str, dict[str, Any], tuple[str, ...]]] = [
        ("portfolio", "portfolio", {"points": 1}, ("gradient", "kl")),
        ("uniform", "uniform", {}, ()),
    ]
    rows.append(("greedy", "greedy", {"sensitivity": "gradient", "points": 1}, ("gradient",)))
    rows += [(f"exact: {k}", "exact", {"sensitivity": k, "points": 1}, (k,)) for k in KINDS]
    rows.append(("random", "random", {"evaluations": 16}, ()))
    return rows


class Bench:
    """One network, prepared once; tables are computed once and their CPU seconds kept."""

    def __init__(self, name: str) -> None:
        # the search split is part of the calibration images: no other image is ever looked at
        data = load_data("fashion-mnist", calibration=1024, search=1024)
        data = dataclasses.replace(data, search=data.calibration.at(torch.arange(SEARCHED)))
        network = load_model(name)
        example = next(data.calibration.batches(1))[0]
        self.name = name
        self.found = find_layers(network, example, name)
        self.model = QuantizedModel(network, self.found)
        self.evaluator = Evaluator(self.model, data, "cpu", TuningParams())
        self.tables: dict[str, tuple[SensitivityTable, float]] = {}
        self.options = make_options(self.found.spec.layers, WIDTHS)

    @property
    def float_accuracy(self) -> float:
        """Accuracy of the float network on the test images, 0..1."""
        test = self.evaluator.float_point.test
        return test.headline if test else float("nan")

    def table(self, kind: str) -> SensitivityTable:
        """A sensitivity table; the first call measures its CPU seconds."""
        if kind not in self.tables:
            started = time.process_time()
            table = compute_table(kind, self.evaluator, WIDTHS, (32,))
            self.tables[kind] = (table, time.process_time() - started)
        return self.tables[kind][0]

    def row(
        self, label: str, search: str, params: dict[str, Any], needs: tuple[str, ...], bits: float
    ) -> dict[str, Any]:
        """Run one search at one budget and measure its best allocation on the test images."""
        spec = self.found.spec
        # a mean of b bits is b/8 bytes a weight, exactly
        limit = sum(layer.weights for layer in spec.layers) * bits / 8
        problem = Problem(spec, self.options, Budget({"weight_bytes": limit}), self.table)
        for kind in needs:
            self.table(kind)
        tables_s = sum(self.tables[kind][1] for kind in needs)
        started = time.process_time()
        outcome = drive(
            SEARCHES[search], problem, SEARCHES[search].read_params(params), 0,
            score=self.evaluator.score,
        )  # fmt: skip
        inside = [p for p in outcome.points if problem.admits(p.allocation)]
        if not inside:
            raise InfeasibleBudget(f"{label} found nothing within {bits} bits.")
        best = min(inside, key=problem.value)
        search_s = time.process_time() - started
        reported = self.evaluator.report(best)
        started = time.process_time()
        tuned = self.evaluator.tuned(best)
        tuning_s = time.process_time() - started
        return {
            "model": self.name,
            "method": label,
            "budget_bits": bits,
            "mean_bits": mean_weight_bits(spec, best.allocation),
            "evaluations": outcome.evaluations,
            "table_cpu_s": tables_s,
            "search_cpu_s": search_s,
            "tuning_cpu_s": tuning_s,
            "kl": best.search.kl,
            "accuracy": reported.test.headline if reported.test else None,
            "tuned_accuracy": tuned.test.headline if tuned.test else None,
            "float_accuracy": self.float_accuracy,
            "allocation": best.allocation.to_json(),
        }


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """Pass or fail of each target, for the portfolio."""
    lines = []
    for row in rows:
        if row["method"] != "portfolio":
            continue
        for column, key in (("allocated", "accuracy"), ("tuned", "tuned_accuracy")):
            limit = TARGETS[column].get(row["budget_bits"])
            if limit is None:
                continue
            # accuracies are whole images of 10,000; their difference must not miss by a rounding
            loss = round(100 * (row["float_accuracy"] - row[key]), 6)
            verdict = "pass" if loss <= limit else "FAIL"
            lines.append(
                f"{verdict}  {row['model']} {row['budget_bits']} bits, {column}: "
                f"{loss:.2f} points below float (limit {limit})"
            )
    return lines


def main() -> None:
    """Measure what is missing, print the table and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["resnet20", "mobilenet"])
    parser.add_argument("--budgets", type=float, nargs="*", default=list(BUDGETS))
    parser.add_argument("--only", nargs="*", help="methods to measure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    RESULTS.mkdir(exist_ok=True)
    for name in arguments.models:
        path = RESULTS / f"allocators-{name}.json"
        rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        bench: Bench | None = None
        for label, search, params, needs in cases():
            for bits in arguments.budgets:
                done = any((r["method"], r["budget_bits"]) == (label, bits) for r in rows)
                if done or (arguments.only and label not in arguments.only):
                    continue
                bench = bench or Bench(name)
                rows.append(bench.row(label, search, params, needs, bits))
                path.write_text(json.dumps(rows, indent=1) + "\n")
                print(line(rows[-1]), flush=True)
        for verdict in verdicts(rows):
            print(verdict)


def line(row: dict[str, Any]) -> str:
    """One row as the terminal shows it."""
    return (
        f"{row['model']:10} {row['budget_bits']:4} {row['method']:18} {row['mean_bits']:.3f} bits  "
        f"{100 * row['accuracy']:.2f} %  tuned {100 * row['tuned_accuracy']:.2f} %  "
        f"{row['evaluations']} evaluations  "
        f"{row['table_cpu_s'] + row['search_cpu_s']:.0f} + {row['tuning_cpu_s']:.0f} s"
    )


if __name__ == "__main__":
    main()
