"""Reads a limit on a cost as people write it: 40000, 40kB, 40 KiB, 1.2G, 3ms, 50%. Torch-free."""

import math
import re
from collections.abc import Mapping

from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.costs.formulas import LARGER, PREFIXES, CostModel
from qcore.errors import InvalidParams

PERCENT_BITS = 8
"""A limit in percent is one of what the cost is with so many bits everywhere."""

_WRITTEN = re.compile(r"([-+]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*)?")
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
    cost: CostModel, written: str, model: ModelSpec | None = None, activation: int = FLOAT_BITS
) -> float:
    """A limit in the cost's own unit.

    Args:
        cost: What is limited.
        written: A number, alone or with a unit: "40000", "40kB" (1,000 B each), "40KiB" (1,024 B),
            "320kbit", "1.2G", or "50%" of the cost with 8 bits everywhere.
        model: What the percentage is of.
        activation: Widest bits that activations may have; at 32 the percentage is one of the
            cost with activations in float, else with 8 bits.

    Raises:
        InvalidParams: no number above 0, an unknown unit, or a percentage of a model that is not
            known; says what can be written.
    """
    match = _WRITTEN.fullmatch(written.strip())
    if match is None:
        raise InvalidParams(_refusal(cost, written))
    value, unit = float(match[1].replace("_", "")), (match[2] or "").strip()
    if not 0 < value < math.inf:
        raise InvalidParams(_refusal(cost, written))
    if unit == "%":
        return value / 100 * _whole(cost, written, model, activation)
    factor = units_of(cost).get(unit)
    if factor is not None:
        return value * factor
    near = " or ".join(name for name in units_of(cost) if name.lower() == unit.lower())
    hint = f" Did you mean {near}?" if near else ""
    raise InvalidParams(f"{_refusal(cost, written)} {unit!r} is no unit of it.{hint}")


def _whole(cost: CostModel, written: str, model: ModelSpec | None, activation: int) -> int:
    if model is None:
        raise InvalidParams(
            f"The limit on {cost.name} is {written}, but the layers of the network are not known "
            f"yet; write the number of {cost.unit}."
        )
    reason = cost.refuses(model)
    if reason is not None:
        raise InvalidParams(f"{cost.title} cannot be limited here: {reason}.")
    inputs = activation if activation == FLOAT_BITS else PERCENT_BITS
    return cost.total(model, BitAllocation.uniform(model.layers, PERCENT_BITS, inputs))


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
        found |= {"bit": 1 / 8, "bits": 1 / 8}
    elif cost.unit in LARGER:
        # a micro sign may be either of two characters, or the letter u
        found |= {f"{p}{u[1:]}": f for u, f in found.items() if u[:1] == "µ" for p in ("u", "μ")}
    else:
        for factor, prefix in PREFIXES:
            found |= {f"{prefix}{name}": float(factor) for name in ("", *names)}
            found |= {f"{prefix} {name}": float(factor) for name in names}
    return found


def _refusal(cost: CostModel, written: str) -> str:
    larger = [unit for _, unit in reversed(cost.scales)][:2]
    examples = ["40kB (1,000 B each)", "40KiB (1,024 B)"] if cost.unit == "B" else larger
    return (
        f"The limit on {cost.name} must be a number above 0; got {written!r}. Its unit is "
        f"{cost.unit}; larger ones may be written, such as {', '.join(examples)}, and 50% is half "
        f"of what {PERCENT_BITS} bits everywhere cost."
    )
