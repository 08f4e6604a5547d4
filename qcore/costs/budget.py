"""Limits on costs, and which bits each layer may have. Torch-free."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real

from qcore.allocation import FLOAT_BITS, GROUPED_WIDTHS, LayerBits, LayerSpec, ModelSpec, in_order
from qcore.costs import COSTS
from qcore.costs.formulas import UNPRICED, CostModel
from qcore.errors import InfeasibleBudget, InvalidParams


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits on costs.

    Attributes:
        limits: Cost name to largest allowed value, in that cost's unit; a cost that is absent is
            unconstrained.
        costs: The costs there are: bitdial's, or `read_costs` where a user's own are among them.

    Raises:
        InvalidParams: a name is not among the costs, or a limit is not a positive number.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, CostModel] = field(default_factory=lambda: COSTS, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if name not in self.costs:
                raise InvalidParams(f"Unknown cost {name!r}; known: {', '.join(self.costs)}.")
            number = isinstance(limit, Real) and not isinstance(limit, bool)
            if not number or not 0 < limit < math.inf:
                raise InvalidParams(
                    f"The limit on {name} must be a number above 0; got {limit!r}. Its unit is "
                    f"{self.costs[name].unit}."
                )

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
            cost = self.costs[name]
            cheapest = cheapest_total(cost, model, options)
            if cheapest >= UNPRICED:
                reason = cost.refuses(model) or "its table has no row for the allowed bits"
                raise InvalidParams(f"{cost.title} cannot be limited here: {reason}.")
            if cheapest > limit:
                raise InfeasibleBudget(
                    f"No allocation fits {name} <= {limit:,.0f} {cost.unit}: the smallest "
                    f"possible is {cheapest:,} {cost.unit}. Raise the budget, allow fewer "
                    "bits, or release layers that are locked.",
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
        activation_bits: Activation bit-widths allowed everywhere but for embeddings, which have
            no input to quantize; (32,) leaves them in float.
        pin_first_last: The one visible switch of published tables: the bit-width that the first
            and the last layer (`ends_of`) are fixed to (their activations too, where those are
            quantized), or None to let them be searched like all others.

    Returns:
        Layer name to its options, fewest bits first; a pinned layer has one.

    Raises:
        InvalidBits: a bit-width is not one of BIT_WIDTHS.
        InvalidParams: no bit-width is given.
    """
    layers = tuple(layers)
    widths, input_widths = in_order(weight_bits), in_order(activation_bits)
    if not widths or not input_widths:
        raise InvalidParams("Choose at least one weight and one activation bit-width.")
    free = tuple(LayerBits(w, a) for w in widths for a in input_widths)
    rows = tuple(LayerBits(w) for w in widths)
    options = {layer.name: rows if layer.looks_up else free for layer in layers}
    if pin_first_last is not None:
        LayerBits(pin_first_last)  # refused even where no layer is known yet
        quantized = input_widths != (FLOAT_BITS,)
        for layer in ends_of(layers):
            inputs = quantized and not layer.looks_up
            pinned = LayerBits(pin_first_last, pin_first_last if inputs else FLOAT_BITS)
            options[layer.name] = (pinned,)
    return options


def usual_size(options: Mapping[str, Iterable[LayerBits]]) -> str:
    """The cost that says how small a network is where no limit does.

    Codes alone, as published tables have it; where some weights may have scales of groups, which
    would be free then, all that lies on disk.
    """
    grouped = any(bits.weight in GROUPED_WIDTHS for row in options.values() for bits in row)
    return "model_bytes" if grouped else "weight_bytes"


def ends_of(layers: Iterable[LayerSpec]) -> tuple[LayerSpec, ...]:
    """The first and the last layer, which published tables fix at 8 bits; one where they are one.

    They are fixed for what they multiply, raw inputs and features that nothing behind them mends.
    An embedding multiplies nothing, so it is an end only of a network of embeddings. A tied one is
    first in execution order, but multiplies last.
    """
    layers = tuple(layers)
    able = [layer for layer in layers if not layer.looks_up] or list(layers)
    able.sort(key=lambda layer: layer.kind == "tied_embedding")
    return tuple(dict.fromkeys((*able[:1], *able[-1:])))
