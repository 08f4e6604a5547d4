"""Budgets of the Compare page's tables: what uniform bits really cost, and a box to type others.

Pure functions.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pages.shared import frames
from pages.shared.columns import column_of
from pages.shared.ranges import uniform_bits
from pages.shared.text import scale_of, significant
from qcore.allocation import ModelSpec
from qcore.costs import costs_of
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidParams

LADDER_BITS = (2, 3, 4, 8)
MOST_BUDGETS = 8
MOST_PROPOSED = 4


def default_budgets(
    model: ModelSpec,
    cost: CostModel,
    widest: int,
    ladder: pd.DataFrame | None = None,
    *,
    pin: int | None = None,
    drawn: Sequence[float] = (),
) -> list[float]:
    """Budgets to begin with: the exact costs of the uniform points that methods are held against.

    A budget named after 3 bits thus admits the 3-bit point, and nothing dearer.

    Args:
        model: Priced.
        cost: The cost.
        widest: Activation bits of the ladder where none was measured.
        ladder: `methods.ladder_rows`; None where no ladder was measured: then 2, 3, 4 and 8 bits
            are priced as runs would measure them.
        pin: Bits of the first and last layer there.
        drawn: Costs of the points that are compared: their quartiles serve where the cost does not
            know uniform bits.

    Returns:
        At most MOST_PROPOSED costs, rising, in the cost's unit.
    """
    column = column_of(cost)
    if ladder is not None and len(ladder):
        front = (
            frames.front_of(ladder, cost) if ladder[column].nunique() > MOST_PROPOSED else ladder
        )
        return _spread(front[column].tolist())
    found = _priced(model, cost, [widest] * len(LADDER_BITS), pin)
    if len(found) <= 1:
        found = _priced(model, cost, LADDER_BITS, pin) or found
    return _spread(found or np.quantile(drawn or [1.0], [0, 0.25, 0.5, 1]).tolist())


def _priced(
    model: ModelSpec, cost: CostModel, activations: Sequence[int], pin: int | None
) -> set[float]:
    pairs = zip(LADDER_BITS, activations, strict=True)
    uniform = [uniform_bits(model, weight, width, pin) for weight, width in pairs]
    priced = [costs_of(model, one, {cost.name: cost}).get(cost.name, 0) for one in uniform]
    return {float(value) for value in priced if value > 0}


def _spread(costs: Sequence[float] | set[float]) -> list[float]:
    """At most MOST_PROPOSED of the costs, evenly by rank, the ends among them; rising."""
    ordered = sorted({float(value) for value in costs})
    places = np.linspace(0, len(ordered) - 1, min(len(ordered), MOST_PROPOSED)).round().astype(int)
    return [ordered[at] for at in places]


def write_budgets(cost: CostModel, budgets: Sequence[float]) -> tuple[str, str]:
    """Budgets as the box shows them, and their unit: ("19.3, 28.7", "KiB")."""
    factor, unit = scale_of(cost, max(budgets, default=1.0))
    return ", ".join(_written(value / factor) for value in budgets), unit


def _written(value: float) -> str:
    return significant(value, 3).replace(",", "")


def read_budgets(text: str, cost: CostModel, exact: Sequence[float]) -> list[float]:
    """Read the box of budgets.

    Args:
        text: Numbers with commas between them, in the unit the box shows.
        cost: The cost.
        exact: Costs that were proposed, at least one, in the cost's own unit: what is typed as the
            box writes one of them is that very cost.

    Returns:
        Budgets in the cost's unit, rising, each once.

    Raises:
        InvalidParams: no number, not above 0, or too many.
    """
    factor, unit = scale_of(cost, max(exact))
    known = {_written(value / factor): value for value in exact}
    budgets = set()
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            value = float(entry)
        except ValueError:
            raise InvalidParams(
                f"Write budgets in {unit} with commas between them, such as 10, 20.5: "
                f"{entry[:40]!r} is no number."
            ) from None
        if not (math.isfinite(value) and value > 0):
            raise InvalidParams(f"A budget must be above 0 {unit}; got {entry[:40]}.")
        budgets.add(known.get(_written(value), value * factor))
    if not 0 < len(budgets) <= MOST_BUDGETS:
        raise InvalidParams(f"Give 1 to {MOST_BUDGETS} budgets in {unit}; got {len(budgets)}.")
    return sorted(budgets)
