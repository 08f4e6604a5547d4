"""Ranges of budgets: what a slider spans, in which unit, and what it can be set to. Pure."""

import dataclasses
import math
from collections.abc import Iterable

from pages.shared.judged import CLASSIFIER, Words
from pages.shared.text import scale_of
from qcore.allocation import BIT_WIDTHS, BitAllocation, LayerBits, ModelSpec
from qcore.costs import COSTS
from qcore.costs.budget import make_options
from qcore.costs.formulas import UNPRICED, CostModel

BUDGETS = {"weight_bytes": ("bw", "lw"), "bit_ops": ("bc", "lc")}
"""Cost name to the URL keys of its slider and of its switch, of the budgets always offered."""

PER_WEIGHT = "microbits_per_weight"
"""The size that networks with tables of ids are told in: bits for each weight, scales included."""

LOSSES = {"points": ("bl", "ll"), "nats": ("bn", "ln")}
"""Unit to the URL keys of the slider of the loss that is accepted, and of its switch."""

_ROUND = 1e-9


def budget_keys(cost: str) -> tuple[str, str]:
    """URL keys of a cost's slider and of its switch."""
    return {**BUDGETS, **LOSSES}.get(cost, (f"b-{cost}", f"l-{cost}"))


def is_budget_key(key: str) -> bool:
    """Whether a URL key is that of some cost's slider."""
    return key.startswith("b-") or key in {slider for slider, _ in BUDGETS.values()}


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """A slider's range, in `unit`; multiply by `factor` for the cost's own unit."""

    low: float
    high: float
    start: float
    step: float
    factor: float
    unit: str
    decimals: int

    def stops(self, costs: Iterable[float]) -> list[float]:
        """The least settings that allow each of these costs, rising, each once."""
        grid = 10.0**-self.decimals
        return sorted(
            {
                round(math.ceil(cost / self.factor / grid - _ROUND) * grid, self.decimals)
                for cost in costs
            }
        )


def uniform_bits(
    model: ModelSpec, weight: int, activation: int, pin: int | None = None
) -> BitAllocation:
    """The same bits in every layer but the first and the last, where these are fixed.

    Args:
        model: Whose layers.
        weight: Weight bits.
        activation: Activation bits; 32 leaves them in float.
        pin: Bits of the first and the last layer, as in `RunSpec.pin_first_last`.
    """
    options = make_options(model.layers, [weight], [activation], pin)
    return BitAllocation({name: choices[0] for name, choices in options.items()})


def budget_range(
    cost: CostModel, model: ModelSpec, widest: int = 8, pin: int | None = None
) -> Range:
    """Range of a budget slider: from 1 bit everywhere to 8 bits everywhere.

    It begins at what 4 bits everywhere really cost, so that this point is within it. It does not
    depend on points, so that the slider stays put while they arrive.

    Args:
        cost: The cost.
        model: The model to price.
        widest: Activation bits at the upper end: 32 where activations may stay in float.
        pin: Bits that the runs fix the first and the last layer to, where they do.
    """
    ends = _looked_up_ends(cost, model) if cost.looked_up else _ends(cost, model, widest, pin)
    factor, unit = scale_of(cost, ends[2])
    low, start, high = (end / factor for end in ends)
    exponent = math.floor(math.log10(max((high - low) / 300, 1e-6)))
    step, decimals = 10.0**exponent, max(0, -exponent)
    low, start, high = (
        round(rounding(value / step) * step, decimals)
        for value, rounding in ((low, math.floor), (start, math.ceil), (high, math.ceil))
    )
    return Range(low, high, start, round(step, decimals), factor, unit, decimals)


def _ends(cost: CostModel, model: ModelSpec, widest: int, pin: int | None) -> list[int]:
    """Lowest, first and highest value of a slider, in the cost's unit."""
    low, high = (
        cost.total(model, BitAllocation.uniform(model.layers, weight, activation))
        for weight, activation in ((1, 1), (8, widest))
    )
    start = cost.total(model, uniform_bits(model, 4, widest, pin))
    return [low, start, max(high, start)]


def _looked_up_ends(cost: CostModel, model: ModelSpec) -> list[int]:
    """The same of a table, which need not know every width, nor rise with it."""
    pairs = [LayerBits(weight, activation) for weight in BIT_WIDTHS for activation in BIT_WIDTHS]
    rows = [[cost.layer_cost(layer, bits) for bits in pairs] for layer in model.layers]
    known = [[price for price in row if price < UNPRICED] for row in rows]
    low, high = (sum(end(row, default=0) for row in known) for end in (min, max))
    return [low, (low + high) // 2, max(high, low + 1)]


def budgets_of(model: ModelSpec) -> tuple[str, ...]:
    """The costs whose budgets are always offered for a network, its size first.

    The size of language models and of all others with tables of ids is told as bits for each
    weight, scales included: tables and scales of groups are much of it.
    """
    tables = any(layer.kind.endswith("embedding") for layer in model.layers)
    return (PER_WEIGHT, *list(BUDGETS)[1:]) if tables else tuple(BUDGETS)


def spans_of(model: ModelSpec, widest: int = 8, pin: int | None = None) -> dict[str, Range]:
    """Cost name to the range of its slider, of `budgets_of` a model; see `budget_range`."""
    return {name: budget_range(COSTS[name], model, widest, pin) for name in budgets_of(model)}


def loss_spans(words: Words = CLASSIFIER) -> dict[str, Range]:
    """Unit, "points" or "nats", to the range of the slider of the loss that is accepted.

    Both are against the float network: of the score, where it can be lost, and of the divergence,
    each in the unit of the judge.
    """
    lost = Range(0.0, 5.0, 0.5, 0.05, 1.0, words.lost, 2)
    far = Range(0.0, 0.5, 0.02, 0.001, 1.0, words.behind, 3)
    return {"points": lost, "nats": far} if words.has_loss else {"nats": far}
