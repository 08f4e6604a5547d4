"""What a pick is worth on images that did not choose it: the rule, its promises, and chance.

    python -m benchmarks.picks

resnet8, resnet20 and mobilenet on Fashion-MNIST, weights of 2, 3, 4 or 8 bits, activations in
float, every layer counted, 1,024 images to calibrate and 1,024 others to search on. Each method
without training searches once with the settings below, along the whole front; CMA-ES, which knows
one budget at a time, once at each of five budgets, its points put together. At ten budgets a
method's pick is taken by accuracy and by KL, both on the search split, and both are scored on all
10,000 test images, image by image. Methods that depend on chance are run with three seeds, which
draw the images too.

A cell is a search or a look at the test split: a JSON line in bitdial-data/picks/MODEL.jsonl,
written as it comes; cells that are there are not computed again. About 1,600 evaluations and 400
looks at the test split: an hour and a half on one idle core. Then what follows from the networks
and seeds that are complete is written to benchmarks/results/picks.json and the README; what that
is, `benchmarks.allocation.picks_summary` says.
"""

import argparse
import base64
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.allocation import picks_table
from benchmarks.allocation.picked import BUDGETS, CHANCE, METHODS, MODELS, RULES, Record
from benchmarks.allocation.picks_summary import summary
from benchmarks.cells import Cell, compute_missing, finished
from qcore.allocation import BitAllocation
from qcore.costs import costs_of
from qcore.costs.budget import Budget, make_options
from qcore.data import load_data
from qcore.engine import drive
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.problem import Point, Problem, SensitivityTable, Window
from qcore.process.memory import keep_freed_memory
from qcore.ptq.model import QuantizedModel
from qcore.scoring.evaluator import Evaluator
from qcore.searches import SEARCHES
from qcore.sensitivity.measured import compute_table

WIDTHS = (2, 3, 4, 8)
SETTINGS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "greedy": {"points": 16},
    "exact": {"points": 16},
    "portfolio": {"points": 8, "exchanges": 4},
    "random": {"evaluations": 48},
    "cmaes": {"evaluations": 12, "population": 6},
    "nsga2": {"evaluations": 60, "population": 12},
}
AIMED = (2.5, 3.2, 4.2, 5.6, 6.8)
"""Mean weight bits that CMA-ES searches at."""

SEEDS = (0, 1, 2)


class Bench:
    """One network and seed; prepared when something has to be measured, and then once."""

    def __init__(self, name: str, seed: int) -> None:
        data = load_data("fashion-mnist", calibration=1024, search=1024, seed=seed)
        network = load_model(name)
        self.seed = seed
        self.found = find_layers(network, next(data.calibration.batches(1))[0], name)
        self.evaluator = Evaluator(QuantizedModel(network, self.found), data, "cpu")
        self.options = make_options(self.found.spec.layers, WIDTHS)
        self.tables: dict[str, SensitivityTable] = {}
        self.points: dict[str, Point] = {}

    def table(self, kind: str) -> SensitivityTable:
        """A sensitivity table."""
        if kind not in self.tables:
            self.tables[kind] = compute_table(kind, self.evaluator, WIDTHS, (32,))
        return self.tables[kind]

    def score(
        self, allocations: Sequence[BitAllocation], stage: str, images: Window | None = None
    ) -> Iterator[Point]:
        """Score on the whole search split; what two methods ask for is measured once."""
        for allocation in allocations:
            if allocation.digest not in self.points:
                self.points[allocation.digest] = next(iter(self.evaluator.score([allocation])))
            yield self.points[allocation.digest]

    def search(self, method: str) -> Cell:
        """All points of a method."""
        spec = self.found.spec
        weights = sum(layer.weights for layer in spec.layers)
        limits = [{"weight_bytes": weights * bits / 8} for bits in AIMED]
        points: dict[str, Point] = {}
        for limit in limits if method == "cmaes" else [{}]:
            problem = Problem(spec, self.options, Budget(limit), self.table)
            params = SEARCHES[method].read_params(SETTINGS[method])
            done = drive(SEARCHES[method], problem, params, self.seed, score=self.score)
            points |= {point.allocation.digest: point for point in done.points}
        return {"weights": weights, "points": [self._line(point) for point in points.values()]}

    def _line(self, point: Point) -> Cell:
        return {
            "digest": point.allocation.digest,
            "bits": point.allocation.to_json(),
            "cost": costs_of(self.found.spec, point.allocation)["weight_bytes"],
            "kl": point.search.kl,
            "accuracy": point.search.headline,
        }

    def float_network(self) -> Cell:
        """The float network's accuracy on the search split."""
        return {"accuracy": self.evaluator.float_point.search.headline}

    def test(self, point: Cell | None) -> Cell:
        """Which test images a point names right; None is the float network."""
        chosen = self.evaluator.float_point
        if point is not None:
            allocation = BitAllocation.from_json(point["bits"])
            chosen = Point(allocation, chosen.search)
        measured = self.evaluator.report(chosen)
        right = base64.b85encode(measured.test_right or b"").decode()
        return {"right": right, "kl": measured.test.kl if measured.test else None}


def measure(path: Path, model: str, seed: int) -> None:
    """Compute what is missing of one network and seed: the searches, then their picks' tests."""
    made: list[Bench] = []

    def bench() -> Bench:
        if not made:
            made.append(Bench(model, seed))
        return made[0]

    first = seed == SEEDS[0]
    methods = METHODS if first else CHANCE
    compute_missing(path, _searches(bench, model, seed, methods))
    record = Record.of(finished(path))
    rules = RULES if first else RULES[1:]
    picked = {
        point["digest"]: point
        for method in methods
        for bits in BUDGETS
        for rule in rules
        if (point := record.pick(model, seed, method, rule, bits)) is not None
    }
    points = [*picked.values()]
    compute_missing(path, _tests(bench, model, seed, [None, *points] if first else points))
    if first:
        name = {"cell": "float", "model": model}
        compute_missing(path, [(name, lambda: bench().float_network())])


def _searches(
    bench: Callable[[], Bench], model: str, seed: int, methods: Sequence[str]
) -> Iterator[tuple[Cell, Callable[[], Cell]]]:
    for method in methods:
        name = {"cell": "search", "model": model, "seed": seed, "method": method}
        yield name, lambda method=method: bench().search(method)  # type: ignore[misc]


def _tests(
    bench: Callable[[], Bench], model: str, seed: int, points: Sequence[Cell | None]
) -> Iterator[tuple[Cell, Callable[[], Cell]]]:
    for point in points:
        digest = "float" if point is None else point["digest"]
        name = {"cell": "test", "model": model, "seed": seed, "digest": digest}
        yield name, lambda point=point: bench().test(point)  # type: ignore[misc]


def main() -> None:
    """Measure what is missing, then write what follows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--folder", type=Path, default=Path("bitdial-data") / "picks")
    parser.add_argument("--only-write", action="store_true", help="measure nothing more")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for seed in () if arguments.only_write else arguments.seeds:
        for model in arguments.models:
            measure(arguments.folder / f"{model}.jsonl", model, seed)
    rows = [row for path in sorted(arguments.folder.glob("*.jsonl")) for row in finished(path)]
    found = summary(Record.of(rows).complete())
    picks_table.RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    picks_table.write(found)
    print(picks_table.markdown(found))


if __name__ == "__main__":
    main()
