"""Tables of what a stored sensitivity predicts: the exact front and its best under budgets. Pure.

Nothing in these tables was measured; they are drawn with hollow marks and never beside accuracies.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pages.shared.columns import ACTIVATION_BITS, DAMAGE, WEIGHT_BITS
from pages.shared.frames import scaled
from pages.shared.held import NOTHING, Held
from pages.shared.points_table import allocation_facts, with_costs
from pages.shared.text import mean_text
from pages.shared.tied import best_tied
from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, ModelSpec
from qcore.costs import COSTS
from qcore.costs.budget import Budget, make_options
from qcore.costs.formulas import CostModel
from qcore.front import SLACK
from qcore.problem import Problem, SensitivityTable
from qcore.solvers.knapsack import exact_front, layer_tables
from qcore.solvers.lagrangian import exact_best


def predicted_table(
    chosen: pd.DataFrame, unit: str, costs: Mapping[str, CostModel] = COSTS
) -> pd.DataFrame:
    """What stands under a predicted front: damage in `unit`, mean bits and costs."""
    names = {"method": "Method", DAMAGE: f"{DAMAGE}, {unit}"}
    table = chosen.drop(columns="allocation").rename(columns=names)
    for column in (WEIGHT_BITS, ACTIVATION_BITS):
        table[column] = table[column].map(mean_text)
    return scaled(table, costs)


def table_options(table: SensitivityTable, model: ModelSpec) -> dict[str, tuple[LayerBits, ...]]:
    """Bits that a sensitivity table can predict, per layer."""
    options = {}
    for layer in model.layers:
        weights = sorted(table.weight.get(layer.name, {})) or [FLOAT_BITS]
        inputs = sorted(table.activation.get(layer.name, {})) or [FLOAT_BITS]
        options.update(make_options([layer], weights, inputs))
    return options


def predicted_front(
    name: str,
    table: SensitivityTable,
    model: ModelSpec,
    cost: str,
    most: int = 400,
    costs: Mapping[str, CostModel] = COSTS,
) -> pd.DataFrame:
    """Members of the exact front of a sensitivity table against one cost; nothing is measured.

    Args:
        name: What to call the method.
        table: The stored sensitivities.
        model: Whose layers they are of.
        cost: The summed cost that is traded against the damage.
        most: Most rows; a longer front is thinned evenly, its ends kept.
        costs: The costs there are.

    Returns:
        Columns: method, allocation, DAMAGE (in the table's unit), mean bits and all costs.
    """
    problem = Problem(model, table_options(table, model), Budget({}, costs))
    options, prices, scores = layer_tables(problem, table, (cost,))
    front = exact_front(prices, scores)
    count = len(front.scores)
    kept = sorted({round(at) for at in np.linspace(0, count - 1, min(most, count))})
    members = [(front.choices[at], float(front.scores[at])) for at in kept]
    return _predicted_rows(name, members, options, model, costs)


def predicted_pick(
    name: str,
    table: SensitivityTable,
    model: ModelSpec,
    limits: Mapping[str, float],
    costs: Mapping[str, CostModel] = COSTS,
    held: Held = NOTHING,
) -> pd.DataFrame:
    """The allocation of least predicted damage within the limits: one row, or none.

    Args:
        name: What to call the method.
        table: The stored sensitivities.
        model: Whose layers they are of.
        limits: Limits on at most two summed costs of this model, by cost name, in their units.
        costs: The costs there are.
        held: Widths that layers may have, and ties.

    Returns:
        As `predicted_front`.
    """
    allowed = held.options(table_options(table, model))
    if not all(allowed.values()):
        return _predicted_rows(name, [], [], model, costs)
    problem = Problem(model, allowed, Budget({}, costs))
    names = tuple(limits) or ("weight_bytes",)
    options, prices, scores = layer_tables(problem, table, names)
    most = np.sum([price.max(axis=0) for price in prices], axis=0)
    within = [
        min(limits.get(cost, np.inf) * (1 + SLACK) - costs[cost].fixed(model), float(ceiling))
        for cost, ceiling in zip(names, most, strict=True)
    ]
    ties = held.ties()
    choice = (
        best_tied(model.names, options, prices, scores, within, ties)
        if ties
        else exact_best(prices, scores, within)
    )
    if choice is None:
        return _predicted_rows(name, [], options, model, costs)
    damage = sum(float(row[at]) for row, at in zip(scores, choice, strict=True))
    return _predicted_rows(name, [(choice, damage)], options, model, costs)


def _predicted_rows(
    name: str,
    members: Sequence[tuple[np.ndarray, float]],
    options: Sequence[tuple[LayerBits, ...]],
    model: ModelSpec,
    costs: Mapping[str, CostModel],
) -> pd.DataFrame:
    rows = []
    for choice, damage in members:
        chosen = zip(model.names, options, choice, strict=True)
        allocation = BitAllocation({layer: row[at] for layer, row, at in chosen})
        head = {"method": name, "allocation": allocation, DAMAGE: damage}
        rows.append({**head, **allocation_facts(allocation, model, costs)})
    columns = ("method", "allocation", DAMAGE, WEIGHT_BITS, ACTIVATION_BITS)
    return with_costs(rows, columns, model, costs)
