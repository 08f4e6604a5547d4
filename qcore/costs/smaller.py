"""How many times smaller a network is than in float and at 8 bits, in one wording. Torch-free."""

from qcore.allocation import FLOAT_BITS, ModelSpec
from qcore.costs.formulas import CostModel
from qcore.costs.limits import PERCENT_BITS, cost_at

AGAINST = ((FLOAT_BITS, "float"), (PERCENT_BITS, f"{PERCENT_BITS} bits"))
"""Bits everywhere that a size is held against, and what they are called."""


def smaller_text(cost: CostModel, model: ModelSpec, value: float) -> str:
    """What a size of weights is of the float network's and of that of 8 bits everywhere.

    Args:
        cost: A size of weights: `weight_bytes`, `model_bytes`, words, bits for each.
        model: The network.
        value: What the cost is, in its unit.

    Returns:
        "7.1x smaller than float, 1.8x than 8 bits", or "larger", or "as large as"; "" of a cost
        that is no size of weights.

    Example:
        >>> from qcore.costs import COSTS
        >>> from qcore.models.catalog import bundled_spec
        >>> smaller_text(COSTS["weight_bytes"], bundled_spec("resnet8"), 20_000)
        '15.4x smaller than float, 3.9x than 8 bits'
    """
    parts: list[str] = []
    before = ""
    for bits, name in AGAINST:
        whole = cost_at(cost, model, bits) if cost.of_weights else None
        if whole is None or not value or not whole:
            continue
        ratio = max(whole, value) / min(whole, value)
        word = "smaller" if value < whole else "larger"
        if f"{ratio:.1f}" == "1.0":
            before = "as large as"
            parts.append(f"{before} {name}")
        else:
            parts.append(f"{ratio:.1f}x {f'{word} ' if word != before else ''}than {name}")
            before = word
    return ", ".join(parts)
