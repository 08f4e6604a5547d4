"""One draw of a transformer under one rounding: its tables, its allocations, and what they damage.

Tables and codes are kept as they are made; a bench that is stopped finds them again.
"""

import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cells import Cell
from benchmarks.transformer import hand, shapley
from benchmarks.transformer.subjects import Subject
from qcore.allocation import (
    FLOAT_BITS,
    BitAllocation,
    LayerBits,
    LayerSpec,
    in_order,
    is_float_width,
    stored_bits,
)
from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.costs.formulas import CostModel
from qcore.engine import drive
from qcore.network.layers import find_layers
from qcore.problem import Point, Problem, SensitivityTable, Window
from qcore.ptq.model import QuantizedModel
from qcore.rounding.table import Rounded
from qcore.rules.proposals import TABLE_WIDTHS
from qcore.scoring.evaluator import Evaluator, batch_size_for, to_batches
from qcore.searches import SEARCHES
from qcore.sensitivity.measured import compute_table
from qcore.solvers.quadratic import SHRUNK, best_pairs, pair_matrix
from qcore.solvers.space import Space, space_of
from qcore.trees import Tree
from qcore.widths import groups_of

WIDTHS = (2, 3, 4, 5, 6, 8)


def _price(layer: LayerSpec, bits: LayerBits) -> int:
    if is_float_width(bits.weight):
        return layer.weights * stored_bits(bits.weight) // 8
    codes = -(-layer.weights * stored_bits(bits.weight) // 8)
    return codes + 2 * layer.channels * groups_of(bits.weight, layer.row)


COST = CostModel("half_scale_bytes", "Codes and scales of 16 bits", "B", _price)
"""Bytes of codes and of all scales, those of channels in 16 bits too, as those of groups are."""

EXCHANGES = 40
ORDERS, ORDER_SAMPLES = 8, 64
"""Orders of the Shapley estimate, and the samples that each step of one is measured on."""

PAIRWISE = {"gradient_pairs": "gradient", "logit_gram_pairs": "logit_gram"}
NARROWER = {2.5: (2, 4), 3.0: (2, 4), 3.5: (2, 4), 4.0: (3, 5)}
"""The two widths of the Shapley estimate at each mean width."""


class Bench:
    """Prepared once.

    Args:
        subject: Network, samples and judge.
        rounding: Key of ROUNDINGS.
        folder: Where tables and codes are kept.
        tables: Whether layers that look ids up take part; else they stay in float.
    """

    def __init__(self, subject: Subject, rounding: str, folder: Path, tables: bool = False) -> None:
        self.subject, self.rounding, self.folder = subject, rounding, folder
        folder.mkdir(parents=True, exist_ok=True)
        data = subject.data
        example = next(data.calibration.batches(1))[0]
        self.found = find_layers(subject.network, example, subject.name, data.inputs)
        self.spec = self.found.spec
        self.free = [x for x in self.spec.layers if tables or not x.looks_up]
        self.widths = in_order((*WIDTHS, *TABLE_WIDTHS)) if tables else WIDTHS
        self.evaluator = Evaluator(
            QuantizedModel(subject.network, self.found), data, "cpu",
            judge=subject.judge, rounding=rounding, known=self._known_codes(),
        )  # fmt: skip
        if self.evaluator.rounded is not None:
            self._round()
        self._test: tuple[list[tuple[Tree, Any]], list[Any]] | None = None
        self._seconds: dict[str, float] = {}
        self._made_seconds = 0.0

    def _known_codes(self) -> dict[tuple[str, int], Rounded]:
        path = self.folder / f"codes-{self.rounding}.npz"
        if not path.exists():
            return {}
        known: dict[tuple[str, int], Rounded] = {}
        with np.load(path) as file:
            for key in file.files:
                if key.startswith("codes/"):
                    _, bits, name = key.split("/", 2)
                    known[name, int(bits)] = (file[key], file[f"steps/{bits}/{name}"])
        return known

    def _round(self) -> None:
        rounded = self.evaluator.rounded
        if rounded is None or not rounded.missing(WIDTHS):
            return
        started = time.process_time()
        rounded.make(WIDTHS)
        seconds = time.process_time() - started
        arrays = {}
        for (name, bits), (codes, steps) in rounded.entries.items():
            arrays[f"codes/{bits}/{name}"], arrays[f"steps/{bits}/{name}"] = codes, steps
        np.savez(self.folder / f"codes-{self.rounding}.npz", **arrays)  # type: ignore[arg-type]
        print(f"rounded by {self.rounding}: {seconds:.0f} CPU s", flush=True)

    def _problem(self, widths: Sequence[int], bits: float) -> Problem:
        """What may be allocated at a mean of so many bits over the weights that take part."""
        free = {layer.name for layer in self.free}
        rows = tuple(LayerBits(width) for width in widths)
        options = {
            layer.name: rows if layer.name in free else (LayerBits(FLOAT_BITS),)
            for layer in self.spec.layers
        }
        for layer in self.free:
            if layer.looks_up and set(widths) == set(WIDTHS):
                options[layer.name] = tuple(map(LayerBits, TABLE_WIDTHS))
        budget = Budget({COST.name: self.limit(bits)}, {**COSTS, COST.name: COST})
        return Problem(self.spec, options, budget, self.table)

    def limit(self, bits: float) -> float:
        """Bytes of all weights where those that take part have so many bits, scales on top."""
        free = {layer.name for layer in self.free}
        taking = sum(layer.weights for layer in self.free)
        rest = sum(layer.weights for layer in self.spec.layers if layer.name not in free)
        scales = 2 * sum(layer.channels for layer in self.free)
        return rest * FLOAT_BITS / 8 + taking * bits / 8 + scales

    @property
    def scale_bits(self) -> float:
        """Bits a weight that scales of 16 bits take, one for each channel."""
        weights = sum(layer.weights for layer in self.free)
        return 16 * sum(layer.channels for layer in self.free) / weights

    def mean_bits(self, allocation: BitAllocation) -> float:
        """Mean bits of the weights that take part, beyond a scale for each channel."""
        weights = sum(layer.weights for layer in self.free)
        taken = sum(_price(x, allocation[x.name]) - 2 * x.channels for x in self.free)
        return 8 * taken / weights

    def table(self, kind: str) -> SensitivityTable:
        """A sensitivity table; kept with the CPU seconds it took."""
        more = "" if self.widths == WIDTHS else "-tables"
        path = self.folder / f"{kind}-{self.rounding}{more}.json"
        if path.exists():
            found = json.loads(path.read_text())
            self._seconds[kind] = found["cpu_seconds"]
            return SensitivityTable.from_json(found["table"])
        started = time.process_time()
        if kind.startswith("shapley"):
            table = self._shapley(*map(int, kind.split("-")[1:]))
        else:
            table = compute_table(kind, self.evaluator, self.widths, (FLOAT_BITS,))
        table = dataclasses.replace(table, ranges={})
        seconds = self._seconds[kind] = time.process_time() - started
        self._made_seconds += seconds
        path.write_text(json.dumps({"cpu_seconds": seconds, "table": table.to_json()}))
        print(f"{kind}: {seconds:.0f} CPU s", flush=True)
        return table

    def _shapley(self, narrow: int, wide: int) -> SensitivityTable:
        names = [layer.name for layer in self.free]
        model, judge = self.evaluator.model, self.subject.judge
        batches = [x for x, _ in self.evaluator.unseen(ORDER_SAMPLES)]
        model.set_allocation(self._uniform(FLOAT_BITS))
        with torch.inference_mode():
            wanted = [judge.read(model(x), x) for x in batches]

        @torch.inference_mode()
        def damage(down: frozenset[int]) -> float:
            widths = {name: narrow if at in down else wide for at, name in enumerate(names)}
            model.set_allocation(self._allocation(widths))
            self.evaluator.correction.apply()
            found = [
                judge.divergence(judge.read(model(x), x), aims)
                for x, aims in zip(batches, wanted, strict=True)
            ]
            return float(torch.cat(found).mean())

        orders = shapley.orders_of(len(names), ORDERS, np.random.default_rng(0))
        form = shapley.interactions(shapley.contributions(damage, orders), orders)
        self.evaluator.forget()
        return shapley.table_of(form, names, narrow, wide, judge.unit, ORDER_SAMPLES)

    def _allocation(self, widths: dict[str, int]) -> BitAllocation:
        return BitAllocation(
            {x.name: LayerBits(widths.get(x.name, FLOAT_BITS)) for x in self.spec.layers}
        )

    def _uniform(self, bits: int) -> BitAllocation:
        return self._allocation({layer.name: bits for layer in self.free})

    def halves(self, bits: float, seed: int) -> BitAllocation:
        """Uniform bits; between two widths random layers get the wider one while they fit."""
        low = int(bits)
        widths = {layer.name: low for layer in self.free}
        room = (bits - low) * sum(layer.weights for layer in self.free)
        for at in np.random.default_rng(seed).permutation(len(self.free)).tolist():
            if self.free[at].weights <= room:
                widths[self.free[at].name] += 1
                room -= self.free[at].weights
        return self._allocation(widths)

    def _level(self, space: Space) -> np.ndarray:
        return space.levels(1)[0]

    def _pairs(self, kind: str, bits: float) -> BitAllocation | None:
        table = self.table(kind)
        widths = in_order(width for row in table.weight.values() for width in row)
        space = space_of(self._problem(widths, bits))
        level = self._level(space)
        start = next(space.optima(space.scores(table), [level]))
        if start is None:
            return None
        form = pair_matrix(space, table, 1.0 if kind.startswith("shapley") else SHRUNK)
        found = best_pairs(space, form, level, [start], np.random.default_rng(0))
        return None if found is None else space.allocation(found)

    def _score(
        self, allocations: Sequence[BitAllocation], stage: str, images: Window | None = None
    ) -> Iterator[Point]:
        return self.evaluator.score(allocations, stage, images)

    def _searched(self, bits: float) -> tuple[BitAllocation, int]:
        problem = self._problem(WIDTHS, bits)
        search = SEARCHES["portfolio"]
        params = search.read_params({"points": 1, "exchanges": EXCHANGES})
        done = drive(search, problem, params, 0, score=self._score)
        inside = [point for point in done.points if problem.admits(point.allocation)]
        return min(inside, key=problem.value).allocation, done.evaluations

    def allocate(self, method: str, bits: float, seed: int) -> tuple[BitAllocation | None, Cell]:
        """The allocation of a method at a mean width, and what it took: tables, and the rest."""
        self._seconds, self._made_seconds = {}, 0.0
        started, evaluations = time.process_time(), 0
        allocation: BitAllocation | None
        if method == "uniform":
            allocation = self.halves(bits, seed)
        elif method == "hand rule":
            widths = hand.widths(self.free, bits)
            allocation = None if widths is None else self._allocation(widths)
        elif method == "portfolio":
            allocation, evaluations = self._searched(bits)
        elif method == "shapley":
            allocation = self._pairs("shapley-{}-{}".format(*NARROWER[bits]), bits)
        elif method in PAIRWISE:
            allocation = self._pairs(PAIRWISE[method], bits)
        else:
            space = space_of(self._problem(WIDTHS, bits))
            scores = space.scores(self.table(method))
            choice = next(space.optima(scores, [self._level(space)]))
            allocation = None if choice is None else space.allocation(choice)
        search = time.process_time() - started - self._made_seconds
        took = {"evaluations": evaluations, "tables": self._seconds, "search_cpu_seconds": search}
        return allocation, took

    def measure(self, allocation: BitAllocation) -> Cell:
        """Divergence and agreement sample by sample on the test split, and on the search split."""
        started = time.process_time()
        search = next(iter(self.evaluator.score([allocation]))).search
        model, judge = self.evaluator.model, self.subject.judge
        found, alike = [], []
        with torch.inference_mode():
            for (x, _), wanted in zip(*self._tested(), strict=True):
                seen = judge.read(model(x), x)
                found.append(judge.divergence(seen, wanted))
                alike.append(judge.matches(seen, wanted))
        likeness = judge.matched(torch.cat(alike)).float()
        return {
            "mean_bits": self.mean_bits(allocation),
            "scale_bits": self.scale_bits,
            "allocation": allocation.to_json(),
            "search_kl": search.kl,
            "kl": [float(f"{value:.5g}") for value in torch.cat(found).tolist()],
            "agreement": [float(f"{value:.5g}") for value in likeness.tolist()],
            "point_cpu_seconds": time.process_time() - started,
        }

    def _tested(self) -> tuple[list[tuple[Tree, Any]], list[Any]]:
        if self._test is None:
            data, model, judge = self.subject.data, self.evaluator.model, self.subject.judge
            size = batch_size_for(data.input_shape, "cpu", data.ids)
            batches = to_batches(data.test, size, "cpu", judge)
            model.set_allocation(self._allocation({}))
            with torch.inference_mode():
                answers = [judge.read(model(x), x) for x, _ in batches]
            self.evaluator.forget()
            self._test = batches, answers
        return self._test

    def point(self, method: str, bits: float, seed: int) -> Cell:
        """A cell: what a method allocates and what that damages; empty where it says nothing."""
        self._tested()
        allocation, took = self.allocate(method, bits, seed)
        if allocation is None:
            return {}
        if self.mean_bits(allocation) > bits + 1e-9:
            raise ValueError(f"{method} is over {bits} bits.")
        return {**took, **self.measure(allocation)}
