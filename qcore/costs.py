"""What an allocation costs. Torch-free, exact integers, derived whenever asked and never stored.

Each cost model is one pure function of (layer, bits) and how layers combine, sum or maximum. That
separability keeps the exact solver of `front` exact. Add one by adding an entry to COSTS. Costs
that are looked up in a table (`hardware`, `cost_tables`) hold for the models they cover;
`applicable` says which those are.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import Literal

import numpy as np

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.hardware import ACCELERATOR_COSTS, price_on, refusal_on
from qcore.packed_words import WORDS, price_in_words
from qcore.price_table import price_table

UNPRICED = 10**15
"""Price of bits that a table has no row for: more than any limit, and never shown as a cost."""

SCALE_BYTES = 4
BIAS_BYTES = 4
FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class CostModel:
    """One price of an allocation.

    Attributes:
        name: Key in COSTS; carries the unit.
        title: What axes and sliders call it.
        unit: Unit of its values: "B", "bit-ops", "pJ", "cycles", or the "ns" of a user's table.
        layer_cost: Price of one layer at given bits, a whole number in the unit; never negative.
            Formulas never fall when a bit-width rises within 1..8 (float weights need no scales,
            so 32 bits of a tiny layer may cost less on disk than 8). What a user measured may:
            no solver relies on it. UNPRICED where a table cannot tell.
        reduce: How layers combine.
        per_float_parameter: What each parameter left in float adds, in the unit.
        formula: The formula, in ASCII, with its source.
        refuses: Why a model has no such cost, or None where it has.
        looked_up: True where values come from a table that may be measured anew.
    """

    name: str
    title: str
    unit: str
    layer_cost: Callable[[LayerSpec, LayerBits], int]
    reduce: Literal["sum", "max"] = "sum"
    per_float_parameter: int = 0
    formula: str = ""
    refuses: Callable[[ModelSpec], str | None] = lambda model: None
    looked_up: bool = False

    def total(self, model: ModelSpec, allocation: Mapping[str, LayerBits]) -> int:
        """Price an allocation of this model, in `unit`."""
        prices = [self.layer_cost(layer, allocation[layer.name]) for layer in model.layers]
        combined = max(prices, default=0) if self.reduce == "max" else sum(prices)
        return combined + self.fixed(model)

    def fixed(self, model: ModelSpec) -> int:
        """The part no bit-width changes, in `unit`."""
        return self.per_float_parameter * sum(model.left_in_float.values())


def _bytes(elements: int, bits: int) -> int:
    return -(-elements * bits // 8)


def _weight_bytes(layer: LayerSpec, bits: LayerBits) -> int:
    return _bytes(layer.weights, bits.weight)


def _model_bytes(layer: LayerSpec, bits: LayerBits) -> int:
    scales = 0 if bits.weight == FLOAT_BITS else layer.channels * SCALE_BYTES
    # a quantized activation carries one scale and one zero point
    activation = 0 if bits.activation == FLOAT_BITS else 2 * SCALE_BYTES
    return _weight_bytes(layer, bits) + scales + layer.biases * BIAS_BYTES + activation


def _bit_ops(layer: LayerSpec, bits: LayerBits) -> int:
    return layer.macs * bits.weight * bits.activation


def _activation_bytes(layer: LayerSpec, bits: LayerBits) -> int:
    return _bytes(layer.inputs, bits.activation)


COSTS: dict[str, CostModel] = {
    model.name: model
    for model in (
        CostModel(
            "weight_bytes",
            "Weights",
            "B",
            _weight_bytes,
            formula="sum over layers of ceil(weights * weight_bits / 8): codes only, the figure "
            "of HAWQ (Yao et al. 2021) and of Uhlich et al. 2020, eq. 8a without biases",
        ),
        CostModel(
            "model_bytes",
            "Model on disk",
            "B",
            _model_bytes,
            per_float_parameter=FLOAT_BYTES,
            formula="weight_bytes + 4 per channel scale + 4 per bias + 8 per quantized activation "
            "(scale, zero point) + 4 per parameter left in float",
        ),
        CostModel(
            "bit_ops",
            "Compute",
            "bit-ops",
            _bit_ops,
            formula="sum over layers of macs * weight_bits * activation_bits, for one sample; "
            "HAWQ's convention (Yao et al. 2021): ResNet-18 at W8A8 is 116 G",
        ),
        CostModel(
            "activation_bytes_sum",
            "Activations, total",
            "B",
            _activation_bytes,
            formula="sum over layers of ceil(inputs * activation_bits / 8), for one sample; "
            "Uhlich et al. 2020, eq. 8b, on layer inputs",
        ),
        CostModel(
            "activation_bytes_max",
            "Activations, largest",
            "B",
            _activation_bytes,
            reduce="max",
            formula="max over layers of ceil(inputs * activation_bits / 8), for one sample; "
            "Uhlich et al. 2020, eq. 8c, on layer inputs",
        ),
        *(
            CostModel(
                f"packed{word}_bytes",
                f"Weights in {word}-bit words",
                "B",
                partial(price_in_words, word),
                formula=f"sum over layers of ceil(weights / floor({word} / weight_bits)) words of "
                f"{word // 8} B: whole values only, as in Klhufek et al. 2024",
            )
            for word in WORDS
        ),
        *(
            CostModel(
                quantity.name,
                quantity.title,
                quantity.unit,
                partial(price_on, quantity),
                formula=quantity.formula,
                refuses=partial(refusal_on, quantity),
                looked_up=True,
            )
            for quantity in ACCELERATOR_COSTS
        ),
    )
}
"""Every cost by name; `cost_tables` adds a user's own."""


def costs_of(model: ModelSpec, allocation: BitAllocation) -> dict[str, int]:
    """Price an allocation by every cost model that knows it: {cost name: value in its unit}.

    A cost that does not apply to the model is absent, and so is one whose table has no row for
    some layer's bits.

    Raises:
        InvalidAllocation: the allocation does not name exactly the model's layers.
    """
    allocation.check_names(model.layers)
    costs = tuple(COSTS.values())
    totals = price_table(model, costs).totals(model, allocation)
    pairs = zip(costs, totals, strict=True)
    return {cost.name: total for cost, total in pairs if total < UNPRICED}


def costs_of_many(
    model: ModelSpec, weight: np.ndarray, activation: np.ndarray
) -> dict[str, np.ndarray]:
    """`costs_of` for many allocations at once, each of exactly the model's layers.

    Args:
        model: Priced.
        weight: Weight bits (allocations, layers), as `bits_matrices` gives them.
        activation: Activation bits, the same.

    Returns:
        Cost name to its values, int64 (allocations,); costs that some allocation lacks are absent.
    """
    costs = tuple(COSTS.values())
    totals = price_table(model, costs).totals_of(model, weight, activation)
    pairs = zip(costs, totals.T, strict=True)
    return {cost.name: column for cost, column in pairs if bool((column < UNPRICED).all())}


def applicable(model: ModelSpec) -> dict[str, CostModel]:
    """The costs this model has, by name, in the order of COSTS."""
    return {name: cost for name, cost in list(COSTS.items()) if cost.refuses(model) is None}


def refusals(model: ModelSpec) -> dict[str, str]:
    """Why the other costs are left out for this model: {cost name: reason}."""
    reasons = ((name, cost.refuses(model)) for name, cost in list(COSTS.items()))
    return {name: reason for name, reason in reasons if reason is not None}


def mean_weight_bits(model: ModelSpec, allocation: Mapping[str, LayerBits]) -> float:
    """Average bits per weight over all quantizable layers, each weight counted once."""
    total = sum(layer.weights for layer in model.layers)
    return sum(layer.weights * allocation[layer.name].weight for layer in model.layers) / total


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits on costs.

    Attributes:
        limits: Cost name to largest allowed value, in that cost's unit; a cost that is absent is
            unconstrained.

    Raises:
        InvalidParams: a name is not in COSTS, or a limit is not a positive number.
    """

    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if name not in COSTS:
                raise InvalidParams(f"Unknown cost {name!r}; known: {', '.join(COSTS)}.")
            number = isinstance(limit, Real) and not isinstance(limit, bool)
            if not number or not 0 < limit < math.inf:
                raise InvalidParams(f"The limit on {name} must be a number above 0; got {limit!r}.")

    def admits(self, costs: Mapping[str, float]) -> bool:
        """True when every limited cost is within its limit."""
        return all(costs.get(name, UNPRICED) <= limit for name, limit in self.limits.items())

    def check_feasible(
        self, model: ModelSpec, options: Mapping[str, tuple[LayerBits, ...]]
    ) -> None:
        """Raise unless the cheapest allowed allocation fits every limit.

        Each cost is checked alone; limits that are met one by one but not together are found by
        the search itself.

        Raises:
            InfeasibleBudget: a limit is below the smallest possible; says that smallest.
            InvalidParams: a limited cost has no value for this model and these bits.
        """
        for name, limit in self.limits.items():
            cheapest = cheapest_total(COSTS[name], model, options)
            if cheapest >= UNPRICED:
                reason = COSTS[name].refuses(model) or "its table has no row for the allowed bits"
                raise InvalidParams(f"{COSTS[name].title} cannot be limited here: {reason}.")
            if cheapest > limit:
                raise InfeasibleBudget(
                    f"No allocation fits {name} <= {limit:,.0f} {COSTS[name].unit}: the smallest "
                    f"possible is {cheapest:,} {COSTS[name].unit}. Raise the budget, allow fewer "
                    "bits, or release the first and last layers.",
                    {name: cheapest},
                )


def cheapest_total(
    cost: CostModel, model: ModelSpec, options: Mapping[str, tuple[LayerBits, ...]]
) -> int:
    """Smallest value of one cost over all allowed allocations, in its unit."""
    cheapest = {
        layer.name: min(options[layer.name], key=lambda bits: cost.layer_cost(layer, bits))
        for layer in model.layers
    }
    return cost.total(model, cheapest)


def make_options(
    layers: Iterable[LayerSpec],
    weight_bits: Iterable[int],
    activation_bits: Iterable[int] = (FLOAT_BITS,),
    pin_first_last: int | None = None,
) -> dict[str, tuple[LayerBits, ...]]:
    """List the allowed bits of every layer.

    Args:
        layers: Quantizable layers in execution order.
        weight_bits: Weight bit-widths allowed everywhere.
        activation_bits: Activation bit-widths allowed everywhere; (32,) leaves them in float.
        pin_first_last: The one visible switch of published tables: the bit-width that the first
            and the last layer are fixed to (their activations too, where those are quantized), or
            None to let them be searched like all others.

    Returns:
        Layer name to its options, fewest bits first; a pinned layer has one.

    Raises:
        InvalidBits: a bit-width is not 1..8 or 32.
        InvalidParams: no bit-width is given.
    """
    layers = tuple(layers)
    widths, input_widths = sorted(set(weight_bits)), sorted(set(activation_bits))
    if not widths or not input_widths:
        raise InvalidParams("Choose at least one weight and one activation bit-width.")
    free = tuple(LayerBits(w, a) for w in widths for a in input_widths)
    options = {layer.name: free for layer in layers}
    if pin_first_last is not None:
        quantized = input_widths != [FLOAT_BITS]
        pinned = (LayerBits(pin_first_last, pin_first_last if quantized else FLOAT_BITS),)
        for layer in (*layers[:1], *layers[-1:]):
            options[layer.name] = pinned
    return options
