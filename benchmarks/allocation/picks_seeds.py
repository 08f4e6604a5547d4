"""How often two runs of one method are told apart that differ in the seed alone. Pure.

Asked in two ways: do the two networks differ, which the images answer, and is one of two methods
better, which takes the spread of seeds too (`qcore.seeds`). The spread is never estimated from the
pair it judges, nor from any run of its method: the two runs stand as methods of one seed each
beside the other methods with all of theirs.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.allocation.picked import BUDGETS, CHANCE, MODELS, Record
from qcore.paired import LEVEL, compare, holm, mcnemar
from qcore.seeds import compare_methods, seed_spread

COINS = 20
"""Throws for each comparison of two seeds."""

SEEDS = range(3)

EVERY = "all"


def seeds(record: Record) -> dict[str, Any]:
    """How often two runs of one method with different seeds are told apart on test images.

    Returns:
        For each network, and "all": comparisons; told apart by the exact McNemar test at 5 %, each
        alone, and of these, in how many the side that loses less has the lower search KL as well;
        corrected (Holm) for the comparisons of its network and budget, and for all of its network;
        in how many the two would be called different methods, and of how many for which other
        methods tell the spread; the same of different methods, each with all of its seeds; how
        many there would be were both sides equally good: for each image on which they differ a
        coin is thrown; and the median difference in points.
    """
    found: dict[str, Any] = {}
    rng = np.random.default_rng(3)
    for model in MODELS:
        pairs = _pairs(record, model)
        if not pairs:
            continue
        values = [pair.p_value for pair in pairs]
        coins = [_coin(pair.differ, rng) for pair in pairs for _ in range(COINS)]
        found[model] = {
            "comparisons": len(pairs),
            "alone": _below(values),
            "as KL says": sum(pair.foretold for pair in pairs if _below([pair.p_value])),
            "by budget": sum(
                _below(holm([pair.p_value for pair in pairs if pair.bits == bits]))
                for bits in BUDGETS
            ),
            "by network": _below(holm(values)),
            "as methods": _below(
                [pair.of_methods for pair in pairs if pair.of_methods is not None]
            ),
            "with a spread": sum(pair.of_methods is not None for pair in pairs),
            "different": _below(different := _different(record, model)),
            "differing": len(different),
            "coins": _below(coins) / COINS,
            "median points": float(np.median([abs(pair.points) for pair in pairs])),
            "alone by budget": {
                f"{bits:g}": _below([pair.p_value for pair in pairs if pair.bits == bits])
                for bits in BUDGETS
            },
            "alone by method": {
                method: _below([pair.p_value for pair in pairs if pair.method == method])
                for method in CHANCE
            },
        }
    if found:
        keys = ["comparisons", "alone", "as KL says", "by budget", "by network", "coins"]
        keys += ["as methods", "with a spread", "different", "differing"]
        found[EVERY] = {key: sum(row[key] for row in found.values()) for key in keys}
    return found


@dataclass(frozen=True)
class _Pair:
    """Two seeds of one method within one budget."""

    method: str
    bits: float
    p_value: float
    points: float
    differ: int
    foretold: bool
    of_methods: float | None


def _pairs(record: Record, model: str) -> list[_Pair]:
    found = []
    for bits, method in itertools.product(BUDGETS, CHANCE):
        known = []
        for seed in SEEDS:
            point = record.pick(model, seed, method, "kl", bits)
            right = record.right(model, seed, method, "kl", bits)
            if point is not None and right is not None:
                known.append((point["kl"], right))
        spread = seed_spread([_rights(record, model, m, bits) for m in CHANCE if m != method])
        for (one, a), (other, b) in itertools.combinations(known, 2):
            pair = compare(a, b)
            foretold = (other - one) * pair.points > 0
            differ = int((a != b).sum())
            apart = None if spread is None else compare_methods([a], [b], spread).p_value
            found.append(_Pair(method, bits, pair.p_value, pair.points, differ, foretold, apart))
    return found


def _rights(record: Record, model: str, method: str, bits: float) -> list[np.ndarray]:
    """What the picks of a method's seeds name right."""
    found = [record.right(model, seed, method, "kl", bits) for seed in SEEDS]
    return [right for right in found if right is not None]


def _different(record: Record, model: str) -> list[float]:
    """p-values of different methods, all seeds of each, within every budget."""
    values = []
    for bits in BUDGETS:
        sides = [_rights(record, model, method, bits) for method in CHANCE]
        spread = seed_spread(sides)
        for a, b in itertools.combinations([side for side in sides if side], 2):
            if spread is not None:
                values.append(compare_methods(a, b, spread).p_value)
    return values


def _coin(differ: int, rng: np.random.Generator) -> float:
    """p-value of a comparison whose images that differ fall to either side by chance."""
    lost = int(rng.binomial(differ, 0.5))
    return mcnemar(lost, differ - lost)


def _below(values: Sequence[float]) -> int:
    return sum(value <= 1 - LEVEL for value in values)
