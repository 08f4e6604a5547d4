"""The exact Pareto front of an additive score against cost. Torch-free.

Choosing one option per layer to minimise a sum of scores under limits on one or two summed costs is
the multiple-choice knapsack problem. `exact_front` computes the whole front in one run, which is
what makes a budget slider instant; `exact_best` the optimum within given limits, which for two
costs is much faster than their front.
"""

from collections.abc import Sequence

import numpy as np

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.problem import Problem, SensitivityTable
from qcore.solvers.dynamic_program import FrontTable, check_tables, non_dominated, solve


def exact_front(
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    limits: Sequence[float] | None = None,
    *,
    resolution: Sequence[int] | None = None,
) -> FrontTable:
    """All non-dominated solutions, exactly.

    One cost: a ResNet-50 with 7 options a layer takes under a second (36,000 solutions), 49 options
    hardly more. The front of two costs grows far faster: beyond some ten layers give a resolution,
    or ask `exact_best` for the limits of interest.

    Args:
        prices: Per layer, the costs of its options (options, costs), whole numbers; one or two
            costs.
        scores: Per layer, the scores of its options (options,); lower is better, any sign.
        limits: One limit for each cost, or None; what cannot fit is dropped on the way.
        resolution: None for the exact front. A step for each cost, in its unit, makes it an
            approximation: each option's price counts as rounded up to a whole number of steps.
            What is returned then still is within the limits and has its true costs, and for every
            limit B its best is at least as good as the exact best within B - layers * (step - 1).

    Returns:
        The front: no solution with smaller-or-equal costs and score exists outside it, but for
        equal ones, of which it has one. Empty when nothing fits.

    Raises:
        InvalidParams: not one or two costs, no layer, tables that do not fit each other, or a
            resolution below 1.
    """
    prices, scores = check_tables(prices, scores, None if limits is None else len(limits))
    within = None if limits is None else np.asarray(limits, float)
    if resolution is None:
        return solve(prices, scores, within)[0]
    step = np.asarray(resolution)
    if step.shape != prices[0].shape[1:] or (step < 1).any():
        raise InvalidParams(f"Give one resolution of at least 1 for each cost; got {resolution!r}.")
    rough, _ = solve([-(-price // step) * step for price in prices], scores, within)
    costs = np.sum([p[rough.choices[:, i]] for i, p in enumerate(prices)], axis=0)
    kept = non_dominated(costs, rough.scores)
    return FrontTable(costs[kept], rough.scores[kept], rough.choices[kept])


def layer_tables(
    problem: Problem, table: SensitivityTable, cost_names: Sequence[str]
) -> tuple[list[tuple[LayerBits, ...]], list[np.ndarray], list[np.ndarray]]:
    """Options, prices (options, costs) and scores (options,) of each layer of a problem.

    Options over a max-type limit of the budget are left out here, so that only sums remain.

    Raises:
        InvalidParams: a named cost is of the max type, or layers are tied, so that rows of single
            layers would be wrong.
        InfeasibleBudget: a max-type limit leaves a layer no option.
    """
    if problem.ties:
        raise InvalidParams(
            "Layers of this problem are tied; `space_of` gives its decisions' rows."
        )
    known = problem.costs
    for name in cost_names:
        if known[name].reduce == "max":
            raise InvalidParams(f"{name} is a maximum over layers; give it as a budget instead.")
    ceilings = {n: v for n, v in problem.budget.limits.items() if known[n].reduce == "max"}
    options, prices, scores = [], [], []
    for layer in problem.model.layers:
        allowed = tuple(
            bits
            for bits in problem.options[layer.name]
            if all(known[n].layer_cost(layer, bits) <= v for n, v in ceilings.items())
        )
        if not allowed:
            raise InfeasibleBudget(
                f"Layer {layer.name!r} has no bits within {ceilings}. Raise the limit or allow "
                "fewer bits."
            )
        options.append(allowed)
        prices.append(
            np.array([[known[n].layer_cost(layer, b) for n in cost_names] for b in allowed])
        )
        scores.append(np.array([table.score(layer.name, b) for b in allowed], float))
    return options, prices, scores


def problem_front(
    problem: Problem, table: SensitivityTable, cost_names: Sequence[str] = ("weight_bytes",)
) -> list[tuple[BitAllocation, dict[str, int], float]]:
    """The exact front of a sensitivity table: (allocation, costs by name, predicted damage).

    Limits of the budget on the named costs are kept, and so are max-type limits; the costs include
    what no bit-width changes. A large network has ten thousands of solutions: where only some are
    wanted, use `layer_tables` with `exact_front`, which leaves them as arrays.

    Raises:
        InvalidParams: not one or two costs, or one of the max type.
        InfeasibleBudget: a max-type limit leaves a layer no option.
    """
    options, prices, scores = layer_tables(problem, table, cost_names)
    fixed = [problem.costs[name].fixed(problem.model) for name in cost_names]
    limits = [
        problem.budget.limits.get(name, np.inf) - constant
        for name, constant in zip(cost_names, fixed, strict=True)
    ]
    front = exact_front(prices, scores, limits)
    layers = list(zip(problem.model.names, options, strict=True))
    return [
        (
            BitAllocation({n: bits[i] for (n, bits), i in zip(layers, row, strict=True)}),
            {n: int(v) + f for n, v, f in zip(cost_names, costs, fixed, strict=True)},
            float(score),
        )
        for row, costs, score in zip(front.choices, front.costs, front.scores, strict=True)
    ]
