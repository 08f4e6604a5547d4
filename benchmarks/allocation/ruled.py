"""Fronts with and without a rule: what is compared, and what the measured cells say.

Pure: no network is loaded here.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.allocation.picked import unpacked
from benchmarks.cells import Cell
from qcore.allocation import FLOAT_BITS, ModelSpec
from qcore.graded import Graded
from qcore.paired import LEVEL, Paired, compare, holm
from qcore.rules.pattern import facts_of
from qcore.rules.proposals import proposals
from qcore.rules.rule import Rule

MODELS = ("resnet8", "resnet20", "mobilenet", "bearing")
FREE = "no rule"
"""The optimum that all others are compared with."""

TITLES = {
    "Layers that read one tensor": "shared inputs tied",
    "Layers that read what additions join": "residual sums tied",
}
"""Title of a proposal to what its rule is called here."""


@dataclass(frozen=True)
class Setting:
    """Widths that may be chosen, and the cost that has the budgets.

    Attributes:
        name: What is chosen, "weights" or "activations".
        cost: Key of COSTS.
        weights: Widths of weights where no rule says otherwise.
        activations: The same of inputs.
        bits: Budgets, as a mean of bits.
    """

    name: str
    cost: str
    weights: tuple[int, ...]
    activations: tuple[int, ...]
    bits: tuple[float, ...]

    def budgets(self, model: ModelSpec) -> list[int]:
        """The budgets in bytes: means of bits over what the cost counts of the whole network."""
        sizes = [x.weights if self.name == "weights" else x.inputs for x in model.layers]
        return [int(sum(sizes) * bits / 8) for bits in self.bits]

    def rules(self, model: ModelSpec) -> dict[str, tuple[Rule, ...]]:
        """Name to rules, without any first; those that a network's wiring has no place for lack."""
        weights = self.name == "weights"
        even = Rule("*", weights=(4, 8)) if weights else Rule("*", activations=(4, 8))
        found: dict[str, tuple[Rule, ...]] = {
            FREE: (),
            "only 4 and 8": (even,),
            "first and last at 8": (
                Rule("role:first, role:last", lock=(8, None) if weights else (None, 8)),
            ),
        }
        stages = [facts.stage for facts in facts_of(model.layers)]
        found["one width a stage"] = tuple(
            Rule(f"stage:{stage}", tie=self.name)
            for stage in sorted(set(stages))
            if stages.count(stage) > 1
        )
        if not weights:
            found |= {TITLES[_kind(p.title)]: p.rules for p in proposals(model) if _known(p.title)}
        return found


SETTINGS = (
    Setting("weights", "weight_bytes", (2, 3, 4, 8), (FLOAT_BITS,), (2.3, 2.7, 3.2, 4, 5, 6.5)),
    Setting(
        "activations", "activation_bytes_sum", (8,), (3, 4, 6, 8), (3.3, 3.7, 4, 4.6, 5.4, 6.5)
    ),
)


@dataclass(frozen=True)
class Seen:
    """What an allocation does on each test sample.

    Attributes:
        each: Bool (n,), which are named right; or float32 (n,), the score of each.
        score: Name of the score.
        factor: What a score is multiplied with to be written in points.
    """

    each: np.ndarray
    score: str = "accuracy"
    factor: float = 100.0

    @classmethod
    def of(cls, result: Cell) -> "Seen":
        """Read a cell of the test split."""
        if "right" in result:
            return cls(unpacked(result["right"]))
        each = np.frombuffer(base64.b85decode(result["scores"]), "<f4")
        return cls(each, result["score"], result["factor"])


def _kind(title: str) -> str:
    return title.partition(" (")[0]


def _known(title: str) -> bool:
    return _kind(title) in TITLES


def summary(rows: Iterable[Cell]) -> list[dict[str, Any]]:
    """What each rule costs at each budget, for what is measured.

    Returns:
        One row for each network, setting, rule and budget, the free optimum left out: "model",
        "setting", "rule", "bits" (the budget), "predicted" (both scores), "bytes" (both), "points"
        (score lost against the free optimum, percent points), "score" (what is lost, "accuracy" or
        the judge's), "n" (samples), "interval" (95 %, for this comparison alone), "p" (corrected by
        Holm for all comparisons of the network and setting), "same" (the very same allocation) and
        "verdict": "costs", "gains", "tie", or "not possible" where no allocation keeps rule and
        budget.
    """
    rows = list(rows)
    seen = {
        (row["name"]["model"], row["name"]["setting"], row["name"]["digest"]): Seen.of(
            row["result"]
        )
        for row in rows
        if row["name"]["cell"] == "test"
    }
    fronts = {
        (row["name"]["model"], row["name"]["setting"], row["name"]["rule"]): row["result"]
        for row in rows
        if row["name"]["cell"] == "front"
    }
    found: list[dict[str, Any]] = []
    for (model, setting), named in _grouped(fronts).items():
        tests = {digest: r for (m, s, digest), r in seen.items() if (m, s) == (model, setting)}
        if FREE in named:
            found += _network(model, setting, named, tests)
    return found


def _grouped(fronts: Mapping[tuple[str, str, str], Any]) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for (model, setting, rule), front in fronts.items():
        found.setdefault((model, setting), {})[rule] = front
    return found


def _network(
    model: str, setting: str, fronts: Mapping[str, Any], tests: Mapping[str, Seen]
) -> list[dict[str, Any]]:
    found = []
    for rule, front in fronts.items():
        if rule == FREE:
            continue
        for ours, free in zip(front["picks"], fronts[FREE]["picks"], strict=True):
            row: dict[str, Any] = {
                "model": model,
                "setting": setting,
                "rule": rule,
                "bits": free["bits"],
            }
            if ours["digest"] is None or free["digest"] is None:
                found.append({**row, "verdict": "not possible"})
            elif ours["digest"] in tests and free["digest"] in tests:
                theirs, mine = tests[free["digest"]], tests[ours["digest"]]
                paired = compare(theirs.each, mine.each, mine.factor)
                found.append({**row, **_compared(ours, free, paired), "score": mine.score})
    _judge([row for row in found if "p" in row])
    return found


def _compared(ours: Cell, free: Cell, paired: Paired | Graded) -> dict[str, Any]:
    return {
        "predicted": [free["score"], ours["score"]],
        "bytes": [free["cost"], ours["cost"]],
        "n": paired.n,
        "points": paired.points,
        "interval": list(paired.interval),
        "p": paired.p_value,
        "same": ours["digest"] == free["digest"],
    }


def _judge(rows: Sequence[dict[str, Any]]) -> None:
    """Correct for all that were compared, and say which differ; rows are changed in place."""
    others = [row for row in rows if not row["same"]]
    for row, p in zip(others, holm([row["p"] for row in others]), strict=True):
        row["p"] = p
    for row in rows:
        told = not row["same"] and row["p"] <= 1 - LEVEL
        row["verdict"] = ("costs" if row["points"] > 0 else "gains") if told else "tie"
