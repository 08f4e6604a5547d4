"""What the budget explorer gets in predicted mode: a priced additive problem that it solves. Pure.

Costs are priced here and nowhere else; the browser adds up the per-layer prices it is given.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pages.explore.payload.axes import axis_of, damage_scale
from pages.explore.payload.looks import look_of, marker_path, packed, parts_of
from pages.shared import predictions
from pages.shared.columns import DAMAGE, column_of
from pages.shared.held import NOTHING, Held
from pages.shared.ranges import Range
from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.costs import COSTS, applicable
from qcore.costs.budget import Budget
from qcore.costs.formulas import UNPRICED, CostModel
from qcore.front import front_points
from qcore.problem import Problem, SensitivityTable
from qcore.solvers.knapsack import layer_tables

PRICES = 90
"""Exchange rates of damage for cost whose best allocations make the line that is drawn."""


def predicted_payload(
    shared: Mapping[str, Any],
    model: ModelSpec,
    spans: Mapping[str, Range],
    name: str,
    table: SensitivityTable,
    settled: pd.DataFrame | None = None,
    limits: Mapping[str, float] | None = None,
    costs: Mapping[str, CostModel] = COSTS,
    held: Held = NOTHING,
) -> dict[str, Any]:
    """The payload of predicted mode, in which the browser solves the additive problem itself.

    Args:
        shared: What `payload.shared_payload` returned.
        model: Whose layers the table is of.
        spans: Cost name to the range of its slider.
        name: What to call the method.
        table: The stored sensitivities.
        settled: The exact optimum for `limits`, one row of `predictions.predicted_pick`.
        limits: The limits it holds for, in their units.
        costs: The costs there are.
        held: What was set on layers that it holds for.
    """
    problem = Problem(model, predictions.table_options(table, model), Budget({}, costs))
    names = summed_costs(problem)
    options, prices, scores = layer_tables(problem, table, names)
    flat, damages = np.concatenate(prices), np.concatenate(scores)
    fixed = np.array([costs[cost].fixed(model) for cost in names], float)
    least = np.sum([price.min(axis=0) for price in prices], axis=0) + fixed
    most = np.sum([price.max(axis=0) for price in prices], axis=0) + fixed
    pairs = [bits for row in options for bits in row]
    starts = np.cumsum([0, *map(len, options)])
    priced, totals = _members(prices, scores, fixed)
    fronts = [front_points(priced[:, at].tolist(), totals.tolist()) for at in range(len(names))]
    axis = f"Predicted damage, {table.unit} (lower is better)"
    return {
        **shared,
        "score": {"title": "Predicted damage against cost", "unit": table.unit, "n": ""},
        "ys": [
            {
                "id": "damage",
                "label": "Predicted damage",
                "unit": table.unit,
                "scale": damage_scale(totals.tolist(), axis),
                "float": None,
                "lost": "",
            }
        ],
        "y": "damage",
        "axes": [
            axis_of(
                costs[cost],
                float(most[at]),
                priced[fronts[at], at].tolist(),
                spans,
                float(least[at]),
            )
            for at, cost in enumerate(names)
        ],
        "nothing": "Nothing predicted fits these budgets.",
        "methods": [
            {
                **look_of(name),
                "path": marker_path("circle"),
                **parts_of(all(bits.activation == FLOAT_BITS for bits in pairs)),
                "y": {"damage": packed(totals, "f8")},
                "cost": {cost: packed(priced[:, at], "f8") for at, cost in enumerate(names)},
                "front": {cost: packed(fronts[at], "u4") for at, cost in enumerate(names)},
                "stops": {
                    cost: packed(spans[cost].stops(priced[fronts[at], at].tolist()), "f8")
                    for at, cost in enumerate(names)
                    if cost in spans
                },
            }
        ],
        "proxy": {
            "start": packed(starts, "u4"),
            "score": packed(damages, "f8"),
            "w": packed([bits.weight for bits in pairs], "u1"),
            "a": packed([bits.activation for bits in pairs], "u1"),
            "cost": {cost: packed(flat[:, at], "f8") for at, cost in enumerate(names)},
            "fixed": {cost: costs[cost].fixed(model) for cost in names},
        },
        "settled": _settled(
            settled, limits or {}, held, model, options, starts, [costs[name] for name in names]
        ),
    }


def summed_costs(problem: Problem) -> list[str]:
    """Names of the model's costs that add up over layers and have a price for every option."""
    return [
        name
        for name, cost in applicable(problem.model, problem.costs).items()
        if cost.reduce == "sum"
        and all(
            cost.layer_cost(layer, bits) < UNPRICED
            for layer in problem.model.layers
            for bits in problem.options[layer.name]
        )
    ]


def _members(
    prices: Sequence[np.ndarray], scores: Sequence[np.ndarray], fixed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Costs and damages of the best allocations at many exchange rates of damage for each cost."""
    flat = np.concatenate(scores)
    span = float(flat.max() - flat.min()) or 1.0
    scales = 10.0 ** (10 * np.arange(PRICES) / PRICES - 6)
    costs, damages = [], []
    for at in range(len(fixed)):
        dearest = max(1.0, *(float(price[:, at].max()) for price in prices))
        rates = np.concatenate([[0.0], scales * span / dearest])[:, None]
        chosen = [
            (score + rates * price[:, at]).argmin(axis=1)
            for price, score in zip(prices, scores, strict=True)
        ]
        layers = list(zip(prices, scores, chosen, strict=True))
        costs.append(sum(price[choice] for price, _, choice in layers) + fixed)
        damages.append(sum(score[choice] for _, score, choice in layers))
    rows = np.unique(np.column_stack([np.concatenate(costs), np.concatenate(damages)]), axis=0)
    return rows[:, :-1], rows[:, -1]


def _settled(
    settled: pd.DataFrame | None,
    limits: Mapping[str, float],
    held: Held,
    model: ModelSpec,
    options: Sequence[Sequence[Any]],
    starts: np.ndarray,
    costs: Sequence[CostModel],
) -> dict[str, Any] | None:
    if settled is None or settled.empty:
        return None
    row = settled.iloc[0]
    allocation: BitAllocation = row["allocation"]
    choice = [
        start + list(allowed).index(allocation[layer])
        for start, allowed, layer in zip(starts[:-1], options, model.names, strict=True)
    ]
    return {
        "limits": [[cost, limit] for cost, limit in limits.items()],
        "held": held.to_json(),
        "choice": packed(choice, "u4"),
        "gap": 0.0,
        "score": float(row[DAMAGE]),
        "cost": {cost.name: float(row[column_of(cost)]) for cost in costs},
    }
