"""Budgets of the Compare page's tables: what uniform bits really cost, and a box to type others.

Pure functions.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pages.shared import frames
from pages.shared.columns import column_of
from pages.shared.ranges import uniform_bits
from pages.shared.text import scale_of, significant
from qcore.allocation import FLOAT_BITS, ModelSpec
from qcore.costs import costs_of
from qcore.costs.formulas import CostModel
from qcore.costs.limits import read_limit
from qcore.errors import InvalidParams

LADDER_BITS = (2, 3, 4, 8)
MOST_BUDGETS = 8
MOST_PROPOSED = 4

_TIGHT = re.compile(r"\d,\d")
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+")


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


def read_budgets(
    text: str,
    cost: CostModel,
    exact: Sequence[float],
    model: ModelSpec | None = None,
    widest: int = FLOAT_BITS,
) -> list[float]:
    """Read the box of budgets.

    Args:
        text: Budgets with commas between them, as `qcore.costs.limits` reads them; numbers alone
            are in the unit the box shows.
        cost: The cost.
        exact: Costs that were proposed, at least one, in the cost's own unit: what is typed as the
            box writes one of them is that very cost.
        model: What percent and bits per weight are of.
        widest: Widest bits of activations, as `read_limit` takes them.

    Returns:
        Budgets in the cost's unit, rising, each once.

    Raises:
        InvalidParams: no budget, or too many.
    """
    factor, unit = scale_of(cost, max(exact))
    known = {_written(value / factor): value for value in exact}
    if _TIGHT.search(text) and re.search(r"[^\d\s.,]", text):
        raise InvalidParams(
            f"Budgets stand apart by a comma and a space, and decimals have a point: {unit}, such "
            f"as 10, 20.5; got {text[:40]!r}."
        )
    budgets = set()
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            value = float(read_limit(cost, entry, model, widest, bare=unit))
        except InvalidParams as error:
            raise InvalidParams(
                f"Write budgets in {unit}, or with their unit, with commas between them, such as "
                f"10, 20.5, 40 % of 8 bits. {error}"
            ) from None
        same = _NUMBER.fullmatch(entry) and known.get(_written(float(entry)))
        budgets.add(same or value)
    if not 0 < len(budgets) <= MOST_BUDGETS:
        raise InvalidParams(f"Give 1 to {MOST_BUDGETS} budgets in {unit}; got {len(budgets)}.")
    return sorted(budgets)
