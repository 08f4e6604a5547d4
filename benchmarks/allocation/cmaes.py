"""CMA-ES against the other searches at equal evaluations, on good and on poor measurements.

    python -m benchmarks.allocation.cmaes

resnet8 on Fashion-MNIST as trained, weights and activations, widths {2, 3, 4, 8} each, every layer
counted, limits on weight_bytes and bit_ops at a mean of 2.5 and of 3 bits. What is known of the
data, for ranges, sensitivities and scores alike, is one of

    clean   512 images; KL from the float network
    labels  512 images; cross-entropy, after 30 % of the labels were replaced by wrong ones
    tiny    64 images; KL from the float network

Every search may measure the same number of allocations, 300 or 1,000; those that know when they
are done measure fewer, which the table shows. The best by its own measurements is then scored on
all 10,000 test images. Three draws of the images, which also seed the search. One line per cell
in benchmarks/results/cmaes.jsonl; cells already there are not run again.
"""

import argparse
import dataclasses
import itertools
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from qcore.allocation import BitAllocation
from qcore.costs.budget import Budget, make_options
from qcore.data import Data, load_data
from qcore.engine import drive
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.problem import Point, Problem, SensitivityTable, Window
from qcore.ptq.model import QuantizedModel
from qcore.scoring.evaluator import Evaluator
from qcore.searches import SEARCHES
from qcore.sensitivity.measured import compute_table

RESULTS = Path(__file__).parents[1] / "results" / "cmaes.jsonl"
MODEL = "resnet8"
WIDTHS = (2, 3, 4, 8)
CONDITIONS = {"clean": (512, "kl"), "labels": (512, "loss"), "tiny": (64, "kl")}
WRONG_LABELS = 0.3
KEY = ("condition", "seed", "bits", "allowed", "method")


def methods(allowed: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Row label to (search, params) for a number of evaluations."""
    return {
        "cmaes": ("cmaes", {"evaluations": allowed}),
        "cmaes, from uniform": ("cmaes", {"evaluations": allowed, "start": "uniform"}),
        "portfolio": ("portfolio", {"points": 1, "exchanges": min(allowed, 1000)}),
        "exact": ("exact", {"points": min(allowed, 500)}),
        "greedy": ("greedy", {"points": min(allowed, 500)}),
        "random": ("random", {"evaluations": allowed}),
    }


def draw(condition: str, seed: int) -> Data:
    """The images a condition allows to look at, in the calibration and the search role."""
    count, _ = CONDITIONS[condition]
    data = load_data("fashion-mnist", calibration=count, search=count, seed=seed)
    images = data.calibration
    if condition == "labels" and images.labels is not None:
        generator = torch.Generator().manual_seed(seed)
        wrong = torch.rand(count, generator=generator) < WRONG_LABELS
        shift = torch.randint(1, 10, (count,), generator=generator)
        labels = torch.where(wrong, (images.labels + shift) % 10, images.labels)
        images = dataclasses.replace(images, labels=labels)
    return dataclasses.replace(data, calibration=images, search=images)


class Bench:
    """One condition and draw, prepared once; what was measured is not measured again."""

    def __init__(self, condition: str, seed: int) -> None:
        data = draw(condition, seed)
        network = load_model(MODEL)
        self.condition, self.seed = condition, seed
        self.found = find_layers(network, next(data.calibration.batches(1))[0], MODEL)
        self.evaluator = Evaluator(QuantizedModel(network, self.found), data, "cpu")
        self.options = make_options(self.found.spec.layers, WIDTHS, WIDTHS)
        self.tables: dict[str, SensitivityTable] = {}
        self.points: dict[str, Point] = {}

    def table(self, kind: str) -> SensitivityTable:
        """A sensitivity table from the images of this condition."""
        if kind not in self.tables:
            self.tables[kind] = compute_table(kind, self.evaluator, WIDTHS, WIDTHS)
        return self.tables[kind]

    def score(
        self, allocations: Sequence[BitAllocation], stage: str, images: Window | None = None
    ) -> Iterator[Point]:
        """Score on the whole split; the searches compared measure many allocations in common."""
        for allocation in allocations:
            if allocation.digest not in self.points:
                self.points[allocation.digest] = next(iter(self.evaluator.score([allocation])))
            yield self.points[allocation.digest]

    def cell(self, bits: float, allowed: int, method: str) -> dict[str, Any]:
        """Run one search and score what it chose on the test images."""
        spec = self.found.spec
        # a mean of b bits is b/8 bytes a weight and b * b bit operations a multiplication
        limits = {
            "weight_bytes": sum(layer.weights for layer in spec.layers) * bits / 8,
            "bit_ops": sum(layer.macs for layer in spec.layers) * bits * bits,
        }
        count, objective = CONDITIONS[self.condition]
        problem = Problem(spec, self.options, Budget(limits), self.table, objective)
        name, params = methods(allowed)[method]
        started, measured = time.perf_counter(), len(self.points)
        outcome = drive(
            SEARCHES[name], problem, SEARCHES[name].read_params(params), self.seed,
            score=self.score, max_evaluations=allowed,
        )  # fmt: skip
        best = min((p for p in outcome.points if problem.admits(p.allocation)), key=problem.value)
        seconds = time.perf_counter() - started
        test = self.evaluator.report(best).test
        reference = self.evaluator.float_point.test
        return {
            "condition": self.condition,
            "seed": self.seed,
            "bits": bits,
            "allowed": allowed,
            "method": method,
            "images": count,
            "evaluations": outcome.evaluations,
            "newly_measured": len(self.points) - measured,
            "seconds": round(seconds, 1),
            "value": problem.value(best),
            "test_kl": test.kl if test else None,
            "test_accuracy": test.headline if test else None,
            "float_accuracy": reference.headline if reference else None,
            "allocation": best.allocation.to_json(),
        }


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Means over draws, and in each cell who wins: the lowest KL on the test images."""
    lines = []
    cells = sorted({(r["condition"], r["bits"], r["allowed"]) for r in rows})
    for cell in cells:
        inside = [r for r in rows if (r["condition"], r["bits"], r["allowed"]) == cell]
        kls, shown = {}, []
        for method in methods(cell[2]):
            found = [r for r in inside if r["method"] == method]
            if not found:
                continue
            kls[method] = statistics.mean(r["test_kl"] for r in found)
            accuracies = [100 * r["test_accuracy"] for r in found]
            spread = max(accuracies) - min(accuracies)
            shown.append(
                f"  {method:20} test KL {kls[method]:.4f}  accuracy "
                f"{statistics.mean(accuracies):.2f} % (range {spread:.2f})  "
                f"{statistics.mean(r['evaluations'] for r in found):.0f} evaluations  "
                f"{len(found)} draws"
            )
        winners = " and ".join(m for m in kls if kls[m] <= min(kls.values()) * (1 + 1e-9))
        lines.append(f"{cell[0]}, mean {cell[1]} bits, {cell[2]} evaluations: best is {winners}")
        lines += shown
        if "cmaes" in kls:
            for other in kls.keys() - {"cmaes"}:
                if kls[other] < kls["cmaes"]:
                    lost = kls["cmaes"] / kls[other] - 1
                    lines.append(f"  cmaes LOSES to {other}: {100 * lost:.1f} % more KL")
    return lines


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--conditions", nargs="*", default=list(CONDITIONS), choices=CONDITIONS)
    parser.add_argument("--bits", type=float, nargs="*", default=[2.5, 3.0])
    parser.add_argument("--evaluations", type=int, nargs="*", default=[300, 1000])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", help="methods to run")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.results.parent.mkdir(exist_ok=True)
    rows = []
    if arguments.results.exists():
        rows = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    done = {tuple(row[name] for name in KEY) for row in rows}
    for seed, condition in itertools.product(arguments.seeds, arguments.conditions):
        bench: Bench | None = None
        for bits, allowed in itertools.product(arguments.bits, arguments.evaluations):
            for method in arguments.only or methods(allowed):
                if (condition, seed, bits, allowed, method) in done:
                    continue
                bench = bench or Bench(condition, seed)
                row = bench.cell(bits, allowed, method)
                rows.append(row)
                with arguments.results.open("a") as log:
                    log.write(json.dumps(row) + "\n")
                print(
                    f"{condition} {bits} bits, {allowed}, seed {seed}: {method}: "
                    f"test {100 * row['test_accuracy']:.2f} %, KL {row['test_kl']:.4f}, "
                    f"{row['newly_measured']} measured in {row['seconds']} s",
                    flush=True,
                )
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
