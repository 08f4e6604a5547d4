"""Reads a limit on a cost as people write it, and writes it so that it reads back. Torch-free.

    40000   40kB   40 KiB   1.2G   3ms          in the cost's own unit or a larger one
    3.5 bits   3.5 bpw                          for each weight of the network, of sizes of weights
    40%   40 % of 8 bits   12 % of float        of what such a network costs
    8x smaller   2x smaller than 8 bits         than the float network, or than a uniform one

A limit is one number: intervals and decimal commas are refused in words.
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction

from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec, parse_width
from qcore.costs.formulas import LARGER, MICROBITS, PREFIXES, UNPRICED, CostModel
from qcore.errors import InvalidBits, InvalidParams

PERCENT_BITS = 8
"""A limit in percent is one of what the cost is with so many bits everywhere, unless it says."""

HOW = (
    "A budget is written with its unit, such as 24 KiB or 30 kB, in bits for each weight (3.5 "
    "bits), in percent of what 8 bits everywhere or the float network cost (40 %, 12 % of float), "
    "or as 8x smaller than float."
)
"""What may be typed, for a person."""

_WRITTEN = re.compile(r"([-+]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*)?")
_SHARE = re.compile(r"%(?:\s+of\s+(?P<base>.+))?")
_SMALLER = re.compile(r"(?:[xX\u00d7]|times)\s*smaller(?:\s+than\s+(?P<base>.+))?")
_UNIFORM = re.compile(r"(\d+)[\s-]*bits?(?:\s+everywhere)?")
_PER_WEIGHT = re.compile(r"bpw|bits?(?:\s*(?:per|a|/)\s*weight)?")
_INTERVAL = re.compile(
    r"^[\[(]|^between\b|\d[A-Za-z%\s]*(?:\.\.|\u2026|\u2013|\u2014|±|\+/-|\bto\b)|\d(?![eE]-)[A-Za-z%\s]*-\s*\d"
)
_PREFIX = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SPELLINGS = {
    "B": ("B", "byte", "bytes", "Byte", "Bytes"),
    "bit-ops": ("bit-ops", "bitops", "BOPs", "BOPS"),
    "ns": ("ns",),
    "pJ": ("pJ",),
}
"""Ways to write a unit, by the unit."""


def read_limit(
    cost: CostModel,
    written: str,
    model: ModelSpec | None = None,
    activation: int = FLOAT_BITS,
    bare: str = "",
) -> int:
    """A limit in the cost's own unit, rounded down: costs are whole numbers, and so is a limit.

    Args:
        cost: What is limited.
        written: A number, alone or with a unit: "40000", "40kB" (1,000 B each), "40KiB" (1,024 B),
            "320kbit", "1.2G"; "3.5 bits" or "3.5 bpw" for each weight; "50%" of the cost with 8
            bits everywhere, "40% of 4 bits", "12% of float"; or "8x smaller" than the float
            network, "2x smaller than 8 bits".
        model: What shares and bits per weight are of.
        activation: Widest bits that activations may have; at 32 a share of N bits is one of the
            cost with activations in float, else with N bits too.
        bare: Unit of a number alone, of `units_of`; "" is the cost's own.

    Raises:
        InvalidParams: no single number above 0, an unknown unit, or a share of a model that is not
            known; says what can be written.
    """
    words = written.strip()
    match = _WRITTEN.fullmatch(words)
    if match is None:
        raise InvalidParams(_refusal(cost, written) + _hint("", words))
    digits, unit = match[1].replace("_", ""), (match[2] or "").strip()
    # a power of ten that no float holds would take forever as an exact number
    if not 0 < float(digits) < math.inf:
        raise InvalidParams(_refusal(cost, written))
    value = Fraction(digits)
    if share := _SHARE.fullmatch(unit):
        base = share["base"] or f"{PERCENT_BITS} bits"
        limit = value / 100 * _whole(cost, written, model, activation, base)
    elif smaller := _SMALLER.fullmatch(unit):
        limit = _whole(cost, written, model, activation, smaller["base"] or "float") / value
    elif (factor := units_of(cost).get(unit or bare)) is not None:
        limit = value * Fraction(factor)
    elif cost.of_weights and _PER_WEIGHT.fullmatch(unit):
        limit = value * _weight_bits(cost, written, model)
    else:
        near = " or ".join(name for name in units_of(cost) if name.lower() == unit.lower())
        hint = f" Did you mean {near}?" if near else _hint(unit, words)
        raise InvalidParams(f"{_refusal(cost, written)} {unit[:40]!r} is no unit of it.{hint}")
    if limit < 1:
        raise InvalidParams(f"{_refusal(cost, written)} That is less than 1 {cost.unit}.")
    return math.floor(limit)


def _weight_bits(cost: CostModel, written: str, model: ModelSpec | None) -> Fraction:
    """What a bit for each weight is, in the cost's unit."""
    if cost.unit == "µbit":
        return Fraction(MICROBITS)
    return Fraction(sum(layer.weights for layer in _known(cost, written, model).layers), 8)


def write_limit(cost: CostModel, value: int) -> str:
    """A limit in words that `read_limit` reads as exactly this number.

    Example:
        >>> from qcore.costs import COSTS
        >>> [write_limit(COSTS["weight_bytes"], value) for value in (40960, 19268)]
        ['40 KiB', '19268 B']
    """
    for factor, unit in cost.scales:
        hundredths = Fraction(100 * value, factor)
        if hundredths >= 100 and hundredths.denominator == 1:
            whole, rest = divmod(int(hundredths), 100)
            return f"{whole}.{rest:02}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{value} {cost.unit}"


def _known(cost: CostModel, written: str, model: ModelSpec | None) -> ModelSpec:
    if model is None:
        raise InvalidParams(
            f"The limit on {cost.name} is {written}, but the layers of the network are not known "
            f"yet; write the number of {cost.unit}."
        )
    reason = cost.refuses(model)
    if reason is not None:
        raise InvalidParams(f"{cost.title} cannot be limited here: {reason}.")
    return model


def _whole(
    cost: CostModel, written: str, model: ModelSpec | None, activation: int, base: str
) -> int:
    """What the network costs that a share is of: "float", or so many bits everywhere."""
    uniform, said = _UNIFORM.fullmatch(base.strip()), base.strip()
    try:
        # a number alone does not say that it is bits
        bits = parse_width(uniform[1] if uniform else "" if said.isdecimal() else said)
    except InvalidBits:
        raise InvalidParams(
            f"{_refusal(cost, written)} A share is of float or of bits that all layers may have, "
            f"such as 8 bits; got {base.strip()!r}."
        ) from None
    price = cost_at(cost, _known(cost, written, model), bits, activation)
    if price is None:
        raise InvalidParams(
            f"{cost.title} of {base.strip()} is not known for this network: its table has no row "
            f"for them. Write the number of {cost.unit}."
        )
    return price


def cost_at(
    cost: CostModel, model: ModelSpec, bits: int, activation: int = FLOAT_BITS
) -> int | None:
    """What a network costs with so many bits everywhere, in the cost's unit.

    Args:
        cost: The cost.
        model: The network.
        bits: Bits of all weights; 32 is the float network, its activations too.
        activation: Widest bits that activations may have; where that is not 32 they have `bits`.

    Returns:
        None where the cost does not know it.
    """
    inputs = FLOAT_BITS if activation == FLOAT_BITS else bits
    if cost.refuses(model) is not None:
        return None
    price = cost.total(model, BitAllocation.uniform(model.layers, bits, inputs))
    return price if price < UNPRICED else None


def units_of(cost: CostModel) -> Mapping[str, float]:
    """Units in which a limit on a cost may be written, with their size in its own unit."""
    names = _SPELLINGS.get(cost.unit, (cost.unit,))
    found: dict[str, float] = {"": 1.0, **dict.fromkeys(names, 1.0)}
    found |= {unit: float(factor) for factor, unit in cost.scales}
    if cost.unit == "B":
        for prefix, factor in {**_PREFIX, **_BINARY}.items():
            found |= {f"{prefix}{name}": float(factor) for name in ("B", "bytes")}
            found |= {f"{prefix}{name}": factor / 8 for name in ("bit", "bits")}
        found |= {prefix: float(factor) for prefix, factor in _PREFIX.items()}
    elif cost.unit in LARGER:
        # a micro sign may be either of two characters, or the letter u
        found |= {f"{p}{u[1:]}": f for u, f in found.items() if u[:1] == "µ" for p in ("u", "μ")}
        if cost.unit == "µbit":
            found |= dict.fromkeys(("bit", "bpw", "bits per weight"), float(MICROBITS))
    else:
        for factor, prefix in PREFIXES:
            found |= {f"{prefix}{name}": float(factor) for name in ("", *names)}
            found |= {f"{prefix} {name}": float(factor) for name in names}
    return found


def _hint(unit: str, words: str) -> str:
    """What is wrong with words that are no number and unit, where it is one of a few things."""
    if re.search(r"\d,\d", words):
        none, point = words.replace(",", "")[:40], words.replace(",", ".")[:40]
        if "." in words:
            return f" Thousands are not set apart: {none}."
        if re.search(r"\d,\d{3}(?!\d)", words):
            return f" A comma may be a decimal point or set thousands apart: {point}, or {none}."
        return f" Decimals are written with a point: {point}."
    if re.match(r"[<>≤≥=~]", words):
        return " Leave the sign out: a limit always is the most that is allowed."
    if re.search(r"\d\s+\d", words):
        return " A number has no spaces in it."
    if _INTERVAL.search(words):
        return " It is one number, the most that is allowed, and no interval."
    if _PER_WEIGHT.fullmatch(unit):
        return " Bits for each weight say how large weights are, and nothing else."
    return ""


def _refusal(cost: CostModel, written: str) -> str:
    larger = [f"3 {unit}" for _, unit in reversed(cost.scales)][:2]
    examples = ["40kB (1,000 B each)", "40KiB (1,024 B)"] if cost.unit == "B" else larger
    examples += ["3.5 bits (for each weight)"] if cost.of_weights and cost.unit == "B" else []
    return (
        f"The limit on {cost.name} must be a number above 0; got {written[:80]!r}. Its unit is "
        f"{cost.unit}; write it alone, or {', '.join(examples)}, 50% (of {PERCENT_BITS} bits "
        "everywhere), 12% of float, or 8x smaller (than float)."
    )
