"""The price of a constraint: exact fronts with and without a rule, measured on the test split.

    python -m benchmarks.rules

resnet8, resnet20 and mobilenet on Fashion-MNIST and bearing on its vibrations, 512 samples to
calibrate and 512 others to measure the `kl` sensitivity on. Two settings: weights of 2, 3, 4 or 8
bits with inputs in float, budgets on weight_bytes; inputs of 3, 4, 6 or 8 bits with weights at 8,
budgets on activation_bytes_sum. In each the exact front is computed without a rule and under every
rule of `benchmarks.allocation.ruled`, and the optima within six budgets are looked at on all test
samples, one by one: whether an image is named right, or the part of a sample in the area under the
ROC curve (DeLong). A tensor that tied layers read is counted once.

A cell is a front or a look at the test split: a JSON line in bitdial-data/rules/MODEL.jsonl,
written as it comes; cells that are there are not computed again. Fewer than 200 looks, as many
optima are the same: about 15 CPU minutes on an idle core. Then what is measured goes to
benchmarks/results/rules.json, the tables of docs/figures.md, and two pictures in docs/.
"""

import argparse
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.allocation import ruled_figure, ruled_table
from benchmarks.allocation.ruled import MODELS, SETTINGS, Setting, summary
from benchmarks.cells import Cell, compute_missing, finished
from qcore.allocation import BitAllocation
from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.data import load_data
from qcore.models.catalog import default_data, judge_of
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.problem import Point, Problem, SensitivityTable
from qcore.process.memory import keep_freed_memory
from qcore.ptq.model import QuantizedModel
from qcore.rules.resolve import resolve
from qcore.rules.rule import Rule
from qcore.scoring.evaluator import Evaluator
from qcore.sensitivity.measured import compute_table
from qcore.solvers.space import best_on, space_of

IMAGES = 512


class Bench:
    """One network, prepared."""

    def __init__(self, name: str) -> None:
        data = load_data(default_data(name), calibration=IMAGES, search=IMAGES)
        network = load_model(name)
        self.found = find_layers(network, next(data.calibration.batches(1))[0], name)
        quantized = QuantizedModel(network, self.found)
        self.evaluator = Evaluator(quantized, data, "cpu", judge=judge_of(name))
        self.tables: dict[str, SensitivityTable] = {}

    def table(self, setting: Setting) -> SensitivityTable:
        """The sensitivities to a setting's widths."""
        if setting.name not in self.tables:
            self.tables[setting.name] = compute_table(
                "kl", self.evaluator, setting.weights, setting.activations
            )
        return self.tables[setting.name]

    def front(self, setting: Setting, rules: tuple[Rule, ...]) -> Cell:
        """The exact front under rules, and its optimum within each budget."""
        spec, budgets = self.found.spec, setting.budgets(self.found.spec)
        allowed = resolve(rules, spec.layers, setting.weights, setting.activations)
        shared = [tie.layers for tie in allowed.ties if tie.part == "activation"]
        model, cost = spec.sharing(shared), COSTS[setting.cost]
        dearest = BitAllocation.uniform(spec.layers, 8, setting.activations[-1])
        budget = Budget({setting.cost: cost.total(model, dearest)})
        problem = Problem(model, allowed.options, budget, ties=allowed.ties)
        table = self.table(setting)
        space = space_of(problem, [table], most=None)
        front = space.front(space.scores(table))
        picks = []
        for bits, most in zip(setting.bits, budgets, strict=True):
            choice = best_on(front, np.array([most - space.fixed[0]]))
            picked: Cell = {"bits": bits, "budget": most, "digest": None}
            if choice is not None:
                allocation = space.allocation(choice)
                picked |= {
                    "digest": allocation.digest,
                    "allocation": allocation.to_json(),
                    "cost": cost.total(model, allocation),
                    "score": sum(table.score(n, b) for n, b in allocation.items()),
                }
            picks.append(picked)
        return {
            "costs": (front.costs[:, 0] + space.fixed[0]).tolist(),
            "scores": front.scores.tolist(),
            "picks": picks,
        }

    def test(self, allocation: dict[str, Any]) -> Cell:
        """Which test images an allocation names right, or each sample's score."""
        point = Point(BitAllocation.from_json(allocation), self.evaluator.float_point.search)
        measured = self.evaluator.report(point)
        each = base64.b85encode(measured.test_right or b"").decode()
        kl = measured.test.kl if measured.test else None
        judge = self.evaluator.judge
        if judge.hits:
            return {"right": each, "kl": kl}
        score = judge.score
        return {"scores": each, "score": score.name, "factor": score.factor, "kl": kl}


def measure(path: Path, name: str) -> None:
    """Compute what is missing of one network: the fronts, then their optima's tests."""
    made: list[Bench] = []

    def bench() -> Bench:
        if not made:
            made.append(Bench(name))
        return made[0]

    compute_missing(path, _fronts(bench, name))
    fronts = [row for row in finished(path) if row["name"]["cell"] == "front"]
    picks = {
        (row["name"]["setting"], pick["digest"]): pick["allocation"]
        for row in fronts
        for pick in row["result"]["picks"]
        if pick["digest"] is not None
    }
    print(f"{name}: {len(picks)} looks at the test split", flush=True)
    compute_missing(path, _tests(bench, name, picks))


def _fronts(bench: Callable[[], Bench], model: str) -> Iterator[tuple[Cell, Callable[[], Cell]]]:
    for setting in SETTINGS:
        for rule, rules in setting.rules(bench().found.spec).items():
            name = {"cell": "front", "model": model, "setting": setting.name, "rule": rule}
            yield name, lambda s=setting, r=rules: bench().front(s, r)  # type: ignore[misc]


def _tests(
    bench: Callable[[], Bench], model: str, picks: dict[tuple[str, str], Any]
) -> Iterator[tuple[Cell, Callable[[], Cell]]]:
    for (setting, digest), allocation in picks.items():
        name = {"cell": "test", "model": model, "setting": setting, "digest": digest}
        yield name, lambda chosen=allocation: bench().test(chosen)  # type: ignore[misc]


def main() -> None:
    """Measure what is missing, then write what follows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--folder", type=Path, default=Path("bitdial-data") / "rules")
    parser.add_argument("--only-write", action="store_true", help="measure nothing more")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for model in () if arguments.only_write else arguments.models:
        measure(arguments.folder / f"{model}.jsonl", model)
    cells = [row for path in sorted(arguments.folder.glob("*.jsonl")) for row in finished(path)]
    found = ruled_table.results(cells, summary(cells))
    ruled_table.RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    ruled_table.write(found)
    ruled_figure.write(found)


if __name__ == "__main__":
    main()
