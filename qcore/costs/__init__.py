"""What an allocation costs. Torch-free, exact integers, derived whenever asked and never stored.

Each cost model is one pure function of (layer, bits) and how layers combine, sum or maximum. That
separability keeps the solver of `solvers.knapsack` exact. Add one by adding an entry to COSTS; with
a smooth form beside the exact one, bits can also be learned by gradient under a limit on it. Costs
that are looked up in a table (`accelerators`, `user_tables`) hold for the models they cover;
`applicable` says which those are.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from qcore.allocation import BitAllocation, LayerBits, ModelSpec, stored_bits
from qcore.costs.accelerators import (
    ACCELERATOR_COSTS,
    price_on,
    refusal_on,
    rounding_on,
    smooth_price_on,
)
from qcore.costs.formulas import (
    FLOAT_BYTES,
    UNPRICED,
    WORDS,
    CostModel,
    _activation_bytes,
    _bit_ops,
    _bits_per_weight,
    _float_per_weight,
    _model_bytes,
    _weight_bytes,
    below_a_byte,
    price_in_words,
    rounding_in_words,
    rounding_per_weight,
    smooth_activation_bytes,
    smooth_bit_ops,
    smooth_bits_per_weight,
    smooth_model_bytes,
    smooth_weight_bytes,
)
from qcore.costs.price_table import price_table

_SHIPPED = {
    model.name: model
    for model in (
        CostModel(
            "weight_bytes",
            "Weights",
            "B",
            _weight_bytes,
            formula="sum over layers of ceil(weights * weight_bits / 8): codes only, the figure "
            "of HAWQ (Yao et al. 2021) and of Uhlich et al. 2020, eq. 8a without biases",
            smooth=smooth_weight_bytes,
            rounding=below_a_byte,
            tested="always",
            of_weights=True,
        ),
        CostModel(
            "model_bytes",
            "Model on disk",
            "B",
            _model_bytes,
            per_float_parameter=FLOAT_BYTES,
            formula="weight_bytes + 4 per channel scale + 4 per bias + 8 per quantized activation "
            "(scale, zero point) + 4 per parameter left in float",
            smooth=smooth_model_bytes,
            rounding=below_a_byte,
            of_weights=True,
        ),
        CostModel(
            "microbits_per_weight",
            "Bits per weight, with scales",
            "µbit",
            _bits_per_weight,
            constant=_float_per_weight,
            formula="8 * model_bytes / weights of all layers, in millionths of a bit; each layer's "
            "share and that of what is left in float are rounded up",
            smooth=smooth_bits_per_weight,
            rounding=rounding_per_weight,
            of_weights=True,
            derived=True,
        ),
        CostModel(
            "bit_ops",
            "Compute",
            "bit-ops",
            _bit_ops,
            formula="sum over layers of macs * weight_bits * activation_bits, for one sample; "
            "HAWQ's convention (Yao et al. 2021): ResNet-18 at W8A8 is 116 G",
            smooth=smooth_bit_ops,
            tested="inputs",
        ),
        CostModel(
            "activation_bytes_sum",
            "Activations, total",
            "B",
            _activation_bytes,
            formula="sum over layers of ceil(inputs * activation_bits / 8), for one sample; "
            "Uhlich et al. 2020, eq. 8b, on layer inputs",
            smooth=smooth_activation_bytes,
            rounding=below_a_byte,
        ),
        CostModel(
            "activation_bytes_max",
            "Activations, largest",
            "B",
            _activation_bytes,
            reduce="max",
            formula="max over layers of ceil(inputs * activation_bits / 8), for one sample; "
            "Uhlich et al. 2020, eq. 8c, on layer inputs",
            smooth=smooth_activation_bytes,
            rounding=below_a_byte,
        ),
        *(
            CostModel(
                f"packed{word}_bytes",
                f"Weights in {word}-bit words",
                "B",
                partial(price_in_words, word),
                formula=f"sum over layers of ceil(weights / floor({word} / weight_bits)) words of "
                f"{word // 8} B: whole values only, as in Klhufek et al. 2024",
                smooth=smooth_weight_bytes,
                rounding=partial(rounding_in_words, word),
                of_weights=True,
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
                smooth=partial(smooth_price_on, quantity),
                rounding=partial(rounding_on, quantity),
            )
            for quantity in ACCELERATOR_COSTS
        ),
    )
}

COSTS: Mapping[str, CostModel] = MappingProxyType(_SHIPPED)
"""bitdial's costs by name; `user_tables.read_costs` gives them together with a user's own."""


def costs_of(
    model: ModelSpec, allocation: BitAllocation, costs: Mapping[str, CostModel] = COSTS
) -> dict[str, int]:
    """Price an allocation by every cost model that knows it: {cost name: value in its unit}.

    A cost that does not apply to the model is absent, and so is one whose table has no row for
    some layer's bits.

    Raises:
        InvalidAllocation: the allocation does not name exactly the model's layers.
    """
    allocation.check_names(model.layers)
    models = tuple(costs.values())
    totals = price_table(model, models).totals(model, allocation)
    pairs = zip(models, totals, strict=True)
    return {cost.name: total for cost, total in pairs if total < UNPRICED}


def costs_of_many(
    model: ModelSpec,
    weight: np.ndarray,
    activation: np.ndarray,
    costs: Mapping[str, CostModel] = COSTS,
) -> dict[str, np.ndarray]:
    """`costs_of` for many allocations at once, each of exactly the model's layers.

    Args:
        model: Priced.
        weight: Weight bits (allocations, layers), as `bits_matrices` gives them.
        activation: Activation bits, the same.
        costs: By which costs.

    Returns:
        Cost name to its values, int64 (allocations,); costs that some allocation lacks are absent.
    """
    models = tuple(costs.values())
    totals = price_table(model, models).totals_of(model, weight, activation)
    pairs = zip(models, totals.T, strict=True)
    return {cost.name: column for cost, column in pairs if bool((column < UNPRICED).all())}


def applicable(model: ModelSpec, costs: Mapping[str, CostModel] = COSTS) -> dict[str, CostModel]:
    """Those of the costs that this model has, by name, in their order."""
    return {name: cost for name, cost in costs.items() if cost.refuses(model) is None}


def refusals(model: ModelSpec, costs: Mapping[str, CostModel] = COSTS) -> dict[str, str]:
    """Why the other costs are left out for this model: {cost name: reason}."""
    reasons = ((name, cost.refuses(model)) for name, cost in costs.items())
    return {name: reason for name, reason in reasons if reason is not None}


def mean_weight_bits(model: ModelSpec, allocation: Mapping[str, LayerBits]) -> float:
    """Average bits per weight over all quantizable layers, each weight counted once."""
    total = sum(layer.weights for layer in model.layers)
    bits = (layer.weights * stored_bits(allocation[layer.name].weight) for layer in model.layers)
    return sum(bits) / total
