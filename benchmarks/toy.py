"""An analytic problem: layers, sensitivities and true damage from formulas, no network at all."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.costs import costs_of
from qcore.costs.budget import Budget, make_options
from qcore.problem import Point, Problem, Scores, SensitivityTable, Window
from qcore.rules.resolve import resolve
from qcore.rules.rule import Rule
from qcore.rules.ties import holds
from qcore.solvers.decisions import nearest_allowed

IMAGES = 1000
SAMPLES = 12
FAITHFUL = ("gradient", "kl", "loss")
PERTURBED = ("hessian", "weight_mse")
PAIRED = ("gradient", "logit_gram")


@dataclass(frozen=True)
class Toy:
    """A problem whose true damage is known.

    Attributes:
        problem: The problem a search sees.
        vectors: (layer, "weight" or "activation", bits) to its per-sample change of the loss.
        interaction: Share of the cross terms between layers in the true damage: 0 is additive, 1
            is the squared length of the summed vectors.
        scored: Every allocation scored, in order.
        tables: Kind of every sensitivity table looked up, in order.
    """

    problem: Problem
    vectors: Mapping[tuple[str, str, int], np.ndarray]
    interaction: float
    scored: list[BitAllocation] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    def damage(self, allocation: BitAllocation) -> float:
        """True damage in nats, at least 0."""
        rows = [
            self.vectors[name, part, width]
            for name, bits in allocation.items()
            for part, width in (("weight", bits.weight), ("activation", bits.activation))
            if width != 32
        ]
        if not rows:
            return 0.0
        alone = sum(float(row @ row) for row in rows)
        together = float(np.square(np.sum(rows, axis=0)).sum())
        return (1 - self.interaction) * alone + self.interaction * together

    def score(
        self, allocations: Sequence[BitAllocation], stage: str, images: Window | None = None
    ) -> Iterator[Point]:
        """Score lazily, one point each, noting every allocation; every window has its own noise."""
        count = IMAGES if images is None else images[1]
        noise = 1.0 if images is None else 1 + 0.1 * math.sin(images[0])
        for allocation in allocations:
            self.scored.append(allocation)
            damage = self.damage(allocation) * noise
            share = math.exp(-damage)
            scores = Scores(n=count, kl=damage, agreement=share, accuracy=share, loss=damage + 0.2)
            yield Point(allocation, scores, stage=stage, images=images)

    def report(self, point: Point) -> Point:
        """Add test scores."""
        return Point(point.allocation, point.search, test=point.search, stage=point.stage)

    def all_allocations(self) -> list[BitAllocation]:
        """Every allocation that the options and ties allow."""
        names = self.problem.model.names
        rows = itertools.product(*(self.problem.options[name] for name in names))
        made = (BitAllocation(dict(zip(names, row, strict=True))) for row in rows)
        return [allocation for allocation in made if holds(self.problem.ties, allocation)]

    def optimum(self) -> float:
        """Smallest true damage within the budget, by trying everything."""
        fits = (a for a in self.all_allocations() if self.problem.admits(a))
        return min(self.damage(a) for a in fits)

    def cost(self, allocation: BitAllocation, name: str = "weight_bytes") -> int:
        """One cost of an allocation, in its unit."""
        return costs_of(self.problem.model, allocation)[name]


def toy_model(layers: int = 4, seed: int = 0) -> ModelSpec:
    """A chain of linear layers of various sizes."""
    rng = np.random.default_rng(seed)
    specs = tuple(
        LayerSpec(
            name=f"layer{i}",
            kind="linear",
            weights=int(rng.integers(40, 400)),
            channels=8,
            biases=8,
            macs=int(rng.integers(400, 4000)),
            inputs=int(rng.integers(20, 200)),
            outputs=8,
            producers=(f"layer{i - 1}",) if i else (),
            consumers=(f"layer{i + 1}",) if i + 1 < layers else (),
        )
        for i in range(layers)
    )
    return ModelSpec("toy", "0" * 64, specs, left_in_float={"norm": 5})


def toy_problem(
    layers: int = 4,
    weight_bits: Sequence[int] = (2, 3, 4, 8),
    activation_bits: Sequence[int] = (32,),
    *,
    limits: Mapping[str, float] | None = None,
    pin_first_last: int | None = None,
    interaction: float = 0.0,
    sensitivity: bool = True,
    seed: int = 0,
) -> Toy:
    """Build an analytic problem.

    The tables "gradient", "kl" and "loss" hold each layer's true damage alone, so that with
    `interaction=0` they predict exactly; "hessian" and "weight_mse" are perturbed. The pairs of
    "gradient" and "logit_gram" hold the true cross terms of `interaction=1`.
    """
    model = toy_model(layers, seed)
    rng = np.random.default_rng(seed + 1)
    options = make_options(model.layers, weight_bits, activation_bits, pin_first_last)
    parts = {"weight": 1.0, "activation": 0.5}
    scale = {
        (s.name, part): rng.lognormal(0, 1) * parts[part] for s in model.layers for part in parts
    }
    direction = {key: rng.normal(size=SAMPLES) / math.sqrt(SAMPLES) for key in scale}
    vectors = {
        (name, part, bits): size
        * 2.0**-bits
        * (direction[name, part] + 0.3 * rng.normal(size=SAMPLES) / math.sqrt(SAMPLES))
        for (name, part), size in scale.items()
        for bits in range(1, 9)
    }

    def table(kind: str) -> SensitivityTable:
        toy.tables.append(kind)
        noise = np.random.default_rng([*kind.encode(), seed])
        rows: dict[str, dict[str, dict[int, float]]] = {part: {} for part in parts}
        for (name, part, bits), vector in vectors.items():
            factor = noise.lognormal(0, 0.8) if kind in PERTURBED else 1.0
            rows[part].setdefault(name, {})[bits] = float(vector @ vector) * factor
        stack = np.stack(list(vectors.values()))
        return SensitivityTable(
            kind=kind,
            unit="nats",
            weight=rows["weight"],
            activation=rows["activation"],
            pairs=stack @ stack.T if kind in PAIRED else None,
            pair_index=tuple(vectors) if kind in PAIRED else (),
            n=SAMPLES,
        )

    problem = Problem(model, options, Budget(limits or {}), table if sensitivity else None)
    toy = Toy(problem, vectors, interaction)
    return toy


def with_budget(toy: Toy, share: float, cost: str = "weight_bytes") -> Toy:
    """The same toy under a budget: 0 is the cheapest allocation, 1 the dearest, linear between."""
    problem = toy.problem
    names = problem.model.names
    ends = []
    for width in (1, 32):
        wanted = dict.fromkeys(names, LayerBits(width, width))
        bits = nearest_allowed(names, problem.options, problem.ties, wanted)
        ends.append(costs_of(problem.model, BitAllocation(bits))[cost])
    limit = ends[0] + share * (ends[1] - ends[0])
    limits = {**problem.budget.limits, cost: limit}
    limited = replace(problem, budget=Budget(limits))
    return Toy(limited, toy.vectors, toy.interaction, tables=toy.tables)


def pinned(toy: Toy, name: str, bits: LayerBits) -> Toy:
    """The same toy with one layer's bits fixed."""
    problem = toy.problem
    options = {**problem.options, name: (bits,)}
    fixed = replace(problem, options=options)
    return Toy(fixed, toy.vectors, toy.interaction, tables=toy.tables)


def ruled(toy: Toy, rules: Sequence[Rule]) -> Toy:
    """The same toy with rules after the widths that its first layer has."""
    problem = toy.problem
    first = problem.options[problem.model.names[0]]
    found = resolve(
        rules,
        problem.model.layers,
        {bits.weight for bits in first},
        {bits.activation for bits in first},
    )
    limited = replace(problem, options=found.options, ties=found.ties)
    return Toy(limited, toy.vectors, toy.interaction, tables=toy.tables)
