"""What a search sees and says: Problem, Point, Ask, Progress, and what it asks of a trainer.

Torch-free. A search is a generator that yields `Ask` (a batch of allocations to be scored, and is
sent back their `Point`s in the same order) and `Progress`; see `engine`.
"""

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from qcore.allocation import (
    FLOAT_BITS,
    BitAllocation,
    LayerBits,
    ModelSpec,
    in_order,
    parse_width,
    stored_bits,
    width_json,
    width_words,
)
from qcore.costs import costs_of
from qcore.costs.budget import Budget
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidAllocation, InvalidParams
from qcore.rules.ties import Tie

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Scores:
    """What an allocation does on n samples, as the run's judge sees it.

    For the judge "classes" a sample is right or wrong; other judges give each sample a number, and
    their figures have errors of their own.

    Attributes:
        n: Samples behind these figures.
        kl: Mean divergence from the float network's outputs to the quantized ones, in the judge's
            unit; nats of KL divergence for classes.
        agreement: Mean likeness to the float network, the judge's `match`: for classes the share of
            samples (0..1) on which both networks name the same one.
        accuracy: Mean of the judge's `score`: for classes top-1 accuracy, 0..1; None where the
            samples have no labels.
        loss: Mean training loss on the labels, nats of cross-entropy for classes; None without.
        lost: Samples that the float network names right and the quantized one wrong; where they
            have no labels, that the two name differently. None where it was not counted, and for
            judges that do not count.
        gained: The other way round; 0 where the samples have no labels.
        kl_error: Standard error of `kl`.
        score_error: Standard error of `headline`; None where samples are right or wrong.
        change: Mean of the float network's score less this one's, sample by sample; None where
            samples are right or wrong, or where they have no labels and likeness has no end.
        change_error: Standard error of `change`.
    """

    n: int
    kl: float
    agreement: float
    accuracy: float | None = None
    loss: float | None = None
    lost: int | None = None
    gained: int | None = None
    kl_error: float | None = None
    score_error: float | None = None
    change: float | None = None
    change_error: float | None = None

    @property
    def headline(self) -> float:
        """Accuracy, or agreement with the float network where there are no labels."""
        return self.agreement if self.accuracy is None else self.accuracy

    def value(self, objective: str) -> float:
        """What is minimised, nats: `kl`, or for "loss" the cross-entropy where there are labels."""
        return self.kl if objective != "loss" or self.loss is None else self.loss

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `headline`.

        Wilson's score interval (Wilson 1927) where samples are right or wrong, both ends in 0..1;
        else the mean and 1.96 standard errors of it.
        """
        if self.score_error is None:
            return wilson_interval(self.headline, self.n)
        half = Z95 * self.score_error
        return self.headline - half, self.headline + half


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share (0..1) seen on n samples."""
    if n <= 0:
        return 0.0, 1.0
    z2 = Z95 * Z95 / n
    centre = (share + z2 / 2) / (1 + z2)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n)) / (1 + z2)
    return max(0.0, centre - half), min(1.0, centre + half)


PTQ, TUNED = "ptq", "ptq+tuned"
"""Weights stages of post-training quantization: as the network came, and tuned without labels."""

Window = tuple[int, int]
"""(start, count): images of the search split from `start` on, wrapping around at its end."""

PointKey = tuple[str, str, str]
"""(weights stage, window of images, allocation digest)."""


def window_key(images: Window | None) -> str:
    """A window as text, "start+count"; "" for the whole split."""
    return "" if images is None else f"{images[0]}+{images[1]}"


def window_of(key: str) -> Window | None:
    """Read what `window_key` wrote."""
    if not key:
        return None
    start, count = key.split("+")
    return int(start), int(count)


@dataclass(frozen=True, slots=True)
class Point:
    """One scored allocation.

    Attributes:
        allocation: The bits.
        search: Scores on the search split, which searches may look at.
        test: Scores on the test split, for reported points only; never used to choose.
        stage: Which weights were scored: PTQ (as trained), TUNED, or the name of a training stage.
        device: Where it was measured: "cpu", "cuda", "mps".
        seconds: Wall-clock seconds this evaluation took.
        images: The window of the search split it was scored on; None is the whole split.
        test_right: Which test samples it got right, one bit each in their order
            (`numpy.packbits`); where they have no labels, on which it agrees with the float
            network. For judges that give numbers, one little-endian float32 a sample. Reported
            points only. Two such rows pair points sample by sample.
    """

    allocation: BitAllocation
    search: Scores
    test: Scores | None = None
    stage: str = PTQ
    device: str = "cpu"
    seconds: float = 0.0
    images: Window | None = None
    test_right: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> "PointKey":
        """What makes two points the same: weights, images and allocation."""
        return self.stage, window_key(self.images), self.allocation.digest


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is: `step` of `total`, and a few words for the user.

    Attributes:
        step: Steps done, of `total`.
        total: Steps in all; 0 while unknown.
        message: What is being done.
        figures: Numbers worth plotting later, such as {"generation": 3, "sigma": 0.8}; JSON data.
    """

    step: int
    total: int
    message: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """A batch of allocations to be scored with the weights of `stage`.

    Attributes:
        allocations: What to score.
        stage: With which weights.
        images: On which window of the search split; None is all of it. Scores on a window are for
            the search alone: they enter no front and no report.
        results: Whether these are what the search comes to, which must be within the budget.
    """

    allocations: tuple[BitAllocation, ...]
    stage: str = PTQ
    images: Window | None = None
    results: bool = False


Proposals = Generator[Ask | Progress, list[Point] | None, None]

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Request(Generic[Result]):
    """What a search asks of its trainer: a subclass for each way to train (`qcore.qat.requests`).

    What training comes to is of type `Result`.

    Attributes:
        stage: Name the weights are known by afterwards, in asks and to later requests.
    """

    stage: str


class Trainer(Protocol):
    """Trains the weights of a network on request (`qcore.qat.trainer`)."""

    def train(self, request: Request[Result]) -> Generator[Progress, None, Result]:
        """Train a stage as its request says, with progress after every epoch."""
        ...

    def steps(self, plan: Mapping[str, Any]) -> int:
        """Optimiser steps of one epoch, of a plan as requests hold it."""
        ...


@dataclass(frozen=True)
class InputRange:
    """What the float network feeds one layer, and what its activation quantizer covers.

    Attributes:
        smallest: Least value seen on the calibration images.
        largest: Greatest value seen.
        counts: Values seen in each of equally wide bins from `smallest` to `largest`.
        grids: Bits to (lowest level, highest level, step, share of the values outside, 0..1).
    """

    smallest: float
    largest: float
    counts: tuple[int, ...]
    grids: Mapping[int, tuple[float, float, float, float]]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `InputRange.from_json` reads it back."""
        return {
            "smallest": self.smallest,
            "largest": self.largest,
            "counts": list(self.counts),
            "grids": {str(bits): list(grid) for bits, grid in self.grids.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "InputRange":
        """Read what `to_json` wrote."""
        grids = {}
        for bits, (low, high, step, outside) in data["grids"].items():
            grids[int(bits)] = (float(low), float(high), float(step), float(outside))
        counts = tuple(int(count) for count in data["counts"])
        return cls(float(data["smallest"]), float(data["largest"]), counts, grids)


def _numbers(bits: LayerBits) -> str:
    return f"{width_json(bits.weight)}/{width_json(bits.activation)}"


def _named(row: Mapping[int, float]) -> dict[str, float]:
    """Scores by width, the widths as JSON has them."""
    return {str(width_json(bits)): score for bits, score in row.items()}


@dataclass(frozen=True)
class SensitivityTable:
    """Predicted damage of quantizing each layer, one layer at a time.

    Attributes:
        kind: Key of SENSITIVITIES.
        unit: Unit of the scores; "nats" where they predict a loss increase.
        weight: Layer name to {bits: score} for its weights.
        activation: Same for its input activation; empty where activations stay in float.
        error: Layer name to standard error of the score at the fewest bits, where estimated.
        pairs: For kinds that know them: one row per (layer, bits) of `pair_index`, and the Gram
            matrix of their per-sample first-order changes, so that ||sum of rows||^2 holds all
            pairwise interactions; the scores are its diagonal. None elsewhere.
        pair_index: (layer name, "weight" or "activation", bits) of each row of `pairs`.
        n: Images behind the scores.
        seconds: Wall-clock seconds the table took.
        ranges: Layer name to what reaches its input; empty in tables of earlier releases.
        derived: Widths of weights whose scores were not taken but follow from a narrower one's.
        zeros: Layer name to {bits: share of its weights rounded to zero}; empty in tables of
            earlier releases.
    """

    kind: str
    unit: str
    weight: Mapping[str, Mapping[int, float]]
    activation: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    error: Mapping[str, float] = field(default_factory=dict)
    pairs: "np.ndarray | None" = None
    pair_index: tuple[tuple[str, str, int], ...] = ()
    n: int = 0
    seconds: float = 0.0
    ranges: Mapping[str, InputRange] = field(default_factory=dict)
    derived: tuple[int, ...] = ()
    zeros: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    def score(self, name: str, bits: LayerBits) -> float:
        """Predicted damage of giving one layer these bits; 32 bits adds nothing.

        Raises:
            InvalidAllocation: the table has no such layer or bit-width.
        """
        total = 0.0
        for table, width in ((self.weight, bits.weight), (self.activation, bits.activation)):
            if width == FLOAT_BITS:
                continue
            try:
                total += table[name][width]
            except KeyError:
                raise InvalidAllocation(
                    f"The {self.kind} sensitivity table has no entry for layer {name!r} at "
                    f"{width_words(width)}; compute it for these bit-widths."
                ) from None
        return total

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `SensitivityTable.from_json` reads it back."""
        return {
            "version": 3,
            "kind": self.kind,
            "unit": self.unit,
            "weight": {n: _named(row) for n, row in self.weight.items()},
            "activation": {n: _named(row) for n, row in self.activation.items()},
            "error": dict(self.error),
            "pairs": None if self.pairs is None else self.pairs.tolist(),
            "pair_index": [[n, part, width_json(bits)] for n, part, bits in self.pair_index],
            "n": self.n,
            "seconds": self.seconds,
            "ranges": {name: seen.to_json() for name, seen in self.ranges.items()},
            "derived": [width_json(bits) for bits in self.derived],
            "zeros": {n: _named(row) for n, row in self.zeros.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SensitivityTable":
        """Read what `to_json` wrote.

        Version 1 had the elementwise scores under the name "gradient". Beside their pairs, whose
        diagonal is what now has that name, they are read as that; without, under their own.
        Version 2 did not say which widths of "kl" are derived: those wider than 4 bits may be.
        """

        def rows(table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[int, float]]:
            return {n: {parse_width(b): s for b, s in row.items()} for n, row in table.items()}

        table = cls(
            kind=data["kind"],
            unit=data["unit"],
            weight=rows(data["weight"]),
            activation=rows(data["activation"]),
            error=dict(data["error"]),
            pairs=None if data["pairs"] is None else np.asarray(data["pairs"]),
            pair_index=tuple((n, part, parse_width(b)) for n, part, b in data["pair_index"]),
            n=data["n"],
            seconds=data["seconds"],
            ranges={n: InputRange.from_json(d) for n, d in data.get("ranges", {}).items()},
            derived=tuple(map(parse_width, data.get("derived", ()))),
            zeros=rows(data.get("zeros", {})),
        )
        if data.get("version", 1) == 2 and table.kind == "kl":
            wide = {b for row in table.weight.values() for b in row if stored_bits(b) > 4}
            return replace(table, derived=tuple(in_order(wide)))
        if data.get("version", 1) > 1 or table.kind != "gradient":
            return table
        if table.pairs is None:
            return replace(table, kind="gradient_elementwise")
        scores: dict[str, dict[str, dict[int, float]]] = {"weight": {}, "activation": {}}
        for (name, part, bits), score in zip(
            table.pair_index, np.diagonal(table.pairs).tolist(), strict=True
        ):
            scores[part].setdefault(name, {})[bits] = score
        return replace(table, weight=scores["weight"], activation=scores["activation"])


@dataclass(frozen=True)
class Problem:
    """Everything a search may see.

    Attributes:
        model: The facts about the model.
        options: Allowed bits per layer; a pinned layer has one option.
        budget: Limits on costs.
        sensitivity: kind -> table, computed on first use and cached by whoever built the problem.
        objective: What is minimised on the search split, "kl" or "loss".
        trainer: What a search that trains trains with; None elsewhere.
        ties: Layers whose weights, or activations, share one bit-width: one decision each.
    """

    model: ModelSpec
    options: Mapping[str, tuple[LayerBits, ...]]
    budget: Budget = field(default_factory=Budget)
    sensitivity: Callable[[str], SensitivityTable] | None = None
    objective: str = "kl"
    trainer: Trainer | None = None
    ties: tuple[Tie, ...] = ()

    def needed_trainer(self) -> Trainer:
        """The trainer, for a search that cannot do without.

        Raises:
            InvalidParams: there is none.
        """
        if self.trainer is None:
            raise InvalidParams("The search trains, and this problem offers nothing to train with.")
        return self.trainer

    @property
    def costs(self) -> Mapping[str, CostModel]:
        """Every cost that a limit may name, a user's own among them."""
        return self.budget.costs

    def value(self, point: Point) -> float:
        """What searches minimise: KL or cross-entropy on the search split, nats."""
        return point.search.value(self.objective)

    def admits(self, allocation: BitAllocation) -> bool:
        """True when the allocation is within the budget."""
        return self.budget.admits(costs_of(self.model, allocation, self.costs))

    def check(self, allocation: BitAllocation) -> None:
        """Raise unless every layer has one of its allowed options, and tied ones the same.

        Raises:
            InvalidAllocation: names differ, a layer has bits it may not have, or tied layers
                differ.
        """
        allocation.check_names(self.model.layers)
        for name, bits in allocation.items():
            if bits not in self.options[name]:
                allowed = ", ".join(_numbers(option) for option in self.options[name])
                raise InvalidAllocation(
                    f"Layer {name!r} has bits {_numbers(bits)}; allowed here: {allowed}."
                )
        for tie in self.ties:
            tie.check(allocation)
