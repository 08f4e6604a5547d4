"""What `benchmarks.picks` measured, as picks by a rule within a budget.

Pure: no network is loaded here.
"""

import base64
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cells import Cell
from qcore.front import best_within

MODELS = ("resnet8", "resnet20", "mobilenet")
METHODS = ("uniform", "greedy", "exact", "portfolio", "random", "cmaes", "nsga2")
CHANCE = ("random", "cmaes", "nsga2")
"""Methods whose points depend on the seed."""

RULES = ("accuracy", "kl")
"""The highest accuracy on the search split, as picks once went, and the lowest divergence."""

BUDGETS = (2.2, 2.5, 2.9, 3.3, 3.8, 4.4, 5.1, 5.9, 6.9, 8.0)
"""Mean weight bits, each about 15 % more than the one before."""

Key = tuple[str, int, str]


@dataclass(frozen=True)
class Record:
    """All cells that are measured.

    Attributes:
        searches: (network, seed, method) to its weights and points.
        tests: (network, seed, digest, or "float") to which test images are named right, bool (n,).
        floats: Network to its own accuracy on the search split of the first seed, 0..1.
    """

    searches: Mapping[Key, Cell]
    tests: Mapping[Key, np.ndarray]
    floats: Mapping[str, float]

    @classmethod
    def of(cls, rows: Iterable[Cell]) -> "Record":
        """Read the cells of `benchmarks.cells`."""
        searches, tests, floats = {}, {}, {}
        for row in rows:
            name, result = row["name"], row["result"]
            if name["cell"] == "search":
                searches[name["model"], name["seed"], name["method"]] = result
            elif name["cell"] == "float":
                floats[name["model"]] = result["accuracy"]
            else:
                tests[name["model"], name["seed"], name["digest"]] = unpacked(result["right"])
        return cls(searches, tests, floats)

    def complete(self) -> "Record":
        """The networks and seeds of which every pick was tested, each beside its first seed."""

        def whole(model: str, seed: int) -> bool:
            first = seed == 0
            if first and not (model in self.floats and (model, 0, "float") in self.tests):
                return False
            for method in METHODS if first else CHANCE:
                if (model, seed, method) not in self.searches:
                    return False
                for rule, bits in itertools.product(RULES if first else RULES[1:], BUDGETS):
                    point = self.pick(model, seed, method, rule, bits)
                    if point and (model, seed, point["digest"]) not in self.tests:
                        return False
            return True

        groups = {(model, seed) for model, seed, _ in self.searches if whole(model, 0)}
        kept = {group for group in groups if whole(*group)}
        return Record(
            {key: found for key, found in self.searches.items() if key[:2] in kept},
            {key: right for key, right in self.tests.items() if key[:2] in kept},
            {model: share for model, share in self.floats.items() if (model, 0) in kept},
        )

    def pick(
        self, model: str, seed: int, method: str, rule: str, bits: float
    ) -> dict[str, Any] | None:
        """The pick of a method's run within a mean of `bits`; None where there is none."""
        found = self.searches.get((model, seed, method))
        if found is None:
            return None
        points = found["points"]
        costs = {"weight_bytes": [point["cost"] for point in points]}
        values = [point["kl"] if rule == "kl" else -point["accuracy"] for point in points]
        best = best_within(costs, values, {"weight_bytes": found["weights"] * bits / 8})
        return None if best is None else points[best]

    def right(
        self, model: str, seed: int, method: str, rule: str, bits: float
    ) -> np.ndarray | None:
        """Which test images that pick names right, bool (n,); None where it was not tested."""
        point = self.pick(model, seed, method, rule, bits)
        return None if point is None else self.tests.get((model, seed, point["digest"]))

    def front(self, model: str, method: str) -> np.ndarray:
        """The first seed's picks by KL at all budgets as members of a front, by falling cost.

        Returns:
            Loss of each member (+1 lost, -1 gained, 0 alike) against the float network on every
            test image, int8 (members, n); members that were not tested are left out.
        """
        reference = self.tests.get((model, 0, "float"))
        members: dict[str, tuple[int, np.ndarray]] = {}
        for bits in BUDGETS:
            point = self.pick(model, 0, method, "kl", bits)
            right = self.right(model, 0, method, "kl", bits)
            if point is not None and right is not None and reference is not None:
                loss = reference.astype(np.int8) - right.astype(np.int8)
                members[point["digest"]] = (point["cost"], loss)
        ordered = sorted(members.values(), key=lambda member: -member[0])
        return np.array([loss for _, loss in ordered], np.int8)


def unpacked(text: str) -> np.ndarray:
    """A row of bits as it is on file: bool (n,)."""
    return np.unpackbits(np.frombuffer(base64.b85decode(text), np.uint8)).astype(bool)
