"""What the rounding of weights is worth: nearest codes against GPFQ and GPTQ, on the same images.

    python -m benchmarks.allocation.roundings
    python -m benchmarks.allocation.roundings resnet20 --roundings nearest gptq

Bits are uniform, or those of the exact optimum of the gradient score under each rounding: at 2 mean
bits with 1 bit allowed, and at 2.5. Every point is scored untuned on the test images; differences
are paired, with their 95 % intervals, to the same bits under the nearest codes and to the float
network.

A cell is a network, a rounding and a width: a JSON line in bitdial-data/roundings/MODEL.jsonl,
written as it comes; cells that are there are not computed again. Then
benchmarks/results/roundings.json and the table of docs/figures.md are written.
"""

import argparse
import base64
import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.allocation import roundings_table
from benchmarks.cells import Cell, compute_missing, finished
from qcore.allocation import BitAllocation
from qcore.engine import drive
from qcore.models.catalog import bundled_spec
from qcore.prepare import Prepared, prepare
from qcore.process.memory import keep_freed_memory
from qcore.ptq.rounding_names import ROUNDING_FACTS
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES

MODELS = ("resnet8", "resnet20", "mobilenet")
UNIFORM = {"2": 2, "3": 3, "4": 4}
MIXED: dict[str, tuple[float, tuple[int, ...]]] = {
    "2 mixed": (2.0, (1, 2, 3, 4, 8)),
    "2.5 mixed": (2.5, (2, 3, 4, 8)),
}
"""Mean bits, and the widths that layers may have."""


class Bench:
    """One network under one rounding; prepared for each set of widths when it is needed."""

    def __init__(self, model: str, rounding: str) -> None:
        self.model, self.rounding = model, rounding
        self.weights = sum(layer.weights for layer in bundled_spec(model).layers)
        self._prepared: dict[tuple[int, ...], tuple[Prepared, float]] = {}

    def prepared(self, widths: tuple[int, ...], bits: float) -> tuple[Prepared, float]:
        """The network with a budget of so many mean bits, and the CPU seconds that it took."""
        if widths not in self._prepared:
            self._prepared.clear()
            spec = RunSpec(
                self.model, "fashion-mnist", "exact", {"points": 1, "sensitivity": "gradient"},
                {"weight_bytes": self.weights * bits / 8}, weight_bits=widths, device="cpu",
                rounding=self.rounding,
            )  # fmt: skip
            started = time.process_time()
            ready = prepare(spec)
            self._prepared[widths] = ready, time.process_time() - started
        return self._prepared[widths]

    def point(self, bits: str) -> Cell:
        """Which test images are named right at these bits."""
        mean, widths = MIXED.get(bits, MIXED["2.5 mixed"])
        ready, seconds = self.prepared(widths, mean)
        if bits in UNIFORM:
            allocation = BitAllocation.uniform(ready.model.layers, UNIFORM[bits])
        else:
            allocation = self._optimum(ready)
        point = ready.report(next(ready.score([allocation])))
        weight = {layer.name: layer.weights for layer in ready.model.layers}
        taken = sum(weight[name] * each.weight for name, each in allocation.items())
        return {
            "mean_bits": taken / self.weights,
            "allocation": allocation.to_json(),
            "correction": ready.correction,
            "kl": point.test.kl if point.test else None,
            "right": base64.b85encode(point.test_right or b"").decode(),
            "prepare_cpu_seconds": seconds,
        }

    @staticmethod
    def _optimum(ready: Prepared) -> BitAllocation:
        search = SEARCHES["exact"]
        params = search.read_params({"points": 1, "sensitivity": "gradient"})
        found = drive(search, ready.problem, params, 0, score=ready.score)
        inside = [p for p in found.points if ready.problem.admits(p.allocation)]
        return min(inside, key=ready.problem.value).allocation

    def float_network(self) -> Cell:
        """The same of the float network."""
        ready, _ = self.prepared((2, 3, 4, 8), 2.5)
        point = ready.report(ready.float_point)
        return {"kl": 0.0, "right": base64.b85encode(point.test_right or b"").decode()}


def cells(model: str, roundings: Sequence[str]) -> Iterator[tuple[Cell, Any]]:
    """Every cell of a network by its name, and how it is computed."""
    for rounding in roundings:
        bench = Bench(model, rounding)
        if rounding == roundings[0]:
            yield {"model": model, "rounding": "float", "bits": "32"}, bench.float_network
        for bits in ("2.5 mixed", *UNIFORM, "2 mixed"):
            name = {"model": model, "rounding": rounding, "bits": bits}
            yield name, partial(bench.point, bits)


def right_of(result: Cell, n: int = 10_000) -> np.ndarray:
    """Whether each test image is named right, bool (n,)."""
    return np.unpackbits(np.frombuffer(base64.b85decode(result["right"]), np.uint8))[:n] == 1


def main() -> None:
    """Measure what is missing, then write what follows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--roundings", nargs="+", default=list(ROUNDING_FACTS))
    parser.add_argument("--folder", type=Path, default=Path("bitdial-data") / "roundings")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for model in arguments.models:
        compute_missing(arguments.folder / f"{model}.jsonl", cells(model, arguments.roundings))
    rows = [row for path in sorted(arguments.folder.glob("*.jsonl")) for row in finished(path)]
    found = roundings_table.summary(rows, right_of)
    roundings_table.RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    roundings_table.write(found)
    print(roundings_table.markdown(found))


if __name__ == "__main__":
    main()
