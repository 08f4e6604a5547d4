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
from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, ModelSpec
from qcore.costs import COSTS
from qcore.costs.budget import Budget, make_options, usual_size
from qcore.costs.formulas import CostModel
from qcore.front import SLACK
from qcore.problem import Problem, SensitivityTable
from qcore.rules.ties import merged
from qcore.solvers.lagrangian import exact_best
from qcore.solvers.space import Space, space_of


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
    held: Held = NOTHING,
) -> pd.DataFrame:
    """Members of the exact front of a sensitivity table against one cost; nothing is measured.

    Args:
        name: What to call the method.
        table: The stored sensitivities.
        model: Whose layers they are of.
        cost: The summed cost that is traded against the damage.
        most: Most rows; a longer front is thinned evenly, its ends kept.
        costs: The costs there are.
        held: Widths that layers may have, and ties; tied layers are one decision.

    Returns:
        Columns: method, allocation, DAMAGE (in the table's unit), mean bits and all costs.
    """
    space = _space(table, model, (cost,), costs, held)
    if space is None:
        return _predicted_rows(name, [], model, costs)
    front = space.front(space.scores(table))
    count = len(front.scores)
    kept = sorted({round(at) for at in np.linspace(0, count - 1, min(most, count))})
    members = [(space.allocation(front.choices[at]), float(front.scores[at])) for at in kept]
    return _predicted_rows(name, members, sharing(model, held), costs)


def _space(
    table: SensitivityTable,
    model: ModelSpec,
    names: Sequence[str],
    costs: Mapping[str, CostModel],
    held: Held,
) -> Space | None:
    """What may be chosen, priced by some costs and without limits; None where nothing is left."""
    allowed, priced = held.options(table_options(table, model)), sharing(model, held)
    if not all(allowed.values()):
        return None
    # limits that everything keeps name the costs
    dearest = {
        cost: max(
            1.0,
            costs[cost].fixed(priced)
            + sum(
                max(costs[cost].layer_cost(layer, bits) for bits in allowed[layer.name])
                for layer in priced.layers
            ),
        )
        for cost in names
    }
    ties = merged(held.ties(), model.names)
    space = space_of(Problem(priced, allowed, Budget(dearest, costs), ties=ties), (table,), None)
    return space if all(space.sizes) else None


def sharing(model: ModelSpec, held: Held) -> ModelSpec:
    """The model as it is priced where ties are set: what tied layers read is counted once."""
    return model.sharing([tie.layers for tie in held.ties() if tie.part == "activation"])


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
    names = tuple(limits) or (usual_size(table_options(table, model)),)
    space = _space(table, model, names, costs, held)
    if space is None:
        return _predicted_rows(name, [], model, costs)
    scores, fixed = space.scores(table), space.fixed
    within = np.array([limits.get(cost, np.inf) * (1 + SLACK) for cost in names]) - fixed
    choice = exact_best(space.prices, scores, np.minimum(within, space.dearest).tolist())
    if choice is None:
        return _predicted_rows(name, [], model, costs)
    damage = sum(float(row[at]) for row, at in zip(scores, choice, strict=True))
    found = [(space.allocation(choice), damage)]
    return _predicted_rows(name, found, sharing(model, held), costs)


def _predicted_rows(
    name: str,
    members: Sequence[tuple[BitAllocation, float]],
    model: ModelSpec,
    costs: Mapping[str, CostModel],
) -> pd.DataFrame:
    rows = []
    for allocation, damage in members:
        head = {"method": name, "allocation": allocation, DAMAGE: damage}
        rows.append({**head, **allocation_facts(allocation, model, costs)})
    columns = ("method", "allocation", DAMAGE, WEIGHT_BITS, ACTIVATION_BITS)
    return with_costs(rows, columns, model, costs)
