"""The exact accuracy-vs-cost front of an additive score. Torch-free.

Choosing one option per layer to minimise a sum of scores under limits on one or two summed costs is
the multiple-choice knapsack problem. It is solved exactly by dynamic programming over layers on
non-dominated labels (cost, score): one run gives the whole front, which is what makes a budget
slider instant. Reference: Kellerer, Pferschy and Pisinger, Knapsack Problems, 2004, section 11.5.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS
from qcore.errors import InfeasibleBudget, InvalidParams
from qcore.problem import Problem, SensitivityTable

DUAL_STEPS = 300


@dataclass(frozen=True)
class FrontTable:
    """Non-dominated solutions, by rising first cost.

    Attributes:
        costs: Summed costs (solutions, costs), int64.
        scores: Summed scores (solutions,).
        choices: Option index of each layer (solutions, layers).
    """

    costs: np.ndarray
    scores: np.ndarray
    choices: np.ndarray


def exact_front(
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    limits: Sequence[float] | None = None,
) -> FrontTable:
    """All non-dominated solutions, exactly.

    Args:
        prices: Per layer, the costs of its options (options, costs), whole numbers; one or two
            costs.
        scores: Per layer, the scores of its options (options,); lower is better, any sign.
        limits: One limit for each cost, or None; what cannot fit is dropped on the way.

    Returns:
        The front: no solution with smaller-or-equal costs and score exists outside it, but for
        equal ones. Empty when nothing fits.

    Raises:
        InvalidParams: not one or two costs, or no layer.
    """
    return _labels(prices, scores, limits, np.full(len(prices) + 1, -np.inf), None, np.inf)


def exact_best(
    prices: Sequence[np.ndarray], scores: Sequence[np.ndarray], limits: Sequence[float]
) -> np.ndarray | None:
    """Option index of each layer in the best solution within the limits; None when nothing fits.

    As `exact_front`, but labels that a Lagrangian bound proves worse than a known solution are
    dropped, so that two costs stay fast. Of equal scores the lowest first cost wins.
    """
    table = np.asarray(limits, float)
    weights, incumbent = _dual(prices, scores, table)
    reduced = [s + p @ weights for p, s in zip(prices, scores, strict=True)]
    rest = np.zeros(len(prices) + 1)
    for layer in range(len(prices) - 1, -1, -1):
        rest[layer] = rest[layer + 1] + reduced[layer].min()
    bound = rest - float(weights @ table)
    found = _labels(prices, scores, limits, bound, weights, incumbent)
    if not len(found.scores):
        return None
    order = np.lexsort((found.costs[:, 0], found.scores))
    return found.choices[order[0]]


def _labels(
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    limits: Sequence[float] | None,
    bound: np.ndarray,
    weights: np.ndarray | None,
    incumbent: float,
) -> FrontTable:
    if not len(prices) or prices[0].shape[1] not in (1, 2):
        raise InvalidParams("An exact front needs at least one layer and one or two costs.")
    kinds = prices[0].shape[1]
    least = np.zeros((len(prices) + 1, kinds))
    for layer in range(len(prices) - 1, -1, -1):
        least[layer] = least[layer + 1] + prices[layer].min(0)
    costs, totals = np.zeros((1, kinds), np.int64), np.zeros(1)
    trail: list[tuple[np.ndarray, np.ndarray]] = []
    slack = 1e-9 * (1 + abs(incumbent)) if np.isfinite(incumbent) else 0.0
    for layer, (price, score) in enumerate(zip(prices, scores, strict=True)):
        useful = _keep(price.astype(np.int64), score.astype(float))
        new_costs = (costs[:, None] + price[useful].astype(np.int64)[None]).reshape(-1, kinds)
        new_totals = (totals[:, None] + score[useful][None]).ravel()
        alive = np.ones(len(new_totals), bool)
        if limits is not None:
            alive &= (new_costs + least[layer + 1] <= np.asarray(limits)).all(1)
        if weights is not None:
            lower = new_totals + new_costs @ weights + bound[layer + 1]
            alive &= lower <= incumbent + slack
        index = np.flatnonzero(alive)
        index = index[_keep(new_costs[index], new_totals[index])]
        costs, totals = new_costs[index], new_totals[index]
        trail.append(
            ((index // len(useful)).astype(np.int32), useful[index % len(useful)].astype(np.int16))
        )
    choices = np.zeros((len(totals), len(prices)), np.int16)
    position = np.arange(len(totals))
    for layer in range(len(prices) - 1, -1, -1):
        parent, option = trail[layer]
        choices[:, layer] = option[position]
        position = parent[position]
    return FrontTable(costs, totals, choices)


def _keep(costs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Indices of non-dominated labels, by rising first cost; of equal ones the first."""
    if not len(scores):
        return np.zeros(0, np.int64)
    if costs.shape[1] == 1:
        order = np.lexsort((scores, costs[:, 0]))
        sorted_scores = scores[order]
        before = np.minimum.accumulate(sorted_scores)
        better = np.ones(len(order), bool)
        better[1:] = sorted_scores[1:] < before[:-1]
        return order[better]
    order = np.lexsort((scores, costs[:, 1], costs[:, 0]))
    return order[_staircase(costs[order, 1], scores[order])]


def _staircase(second: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Labels, in order of the first cost, that no earlier one beats in second cost and score.

    Keeps the staircase of the labels seen: rising second costs with strictly falling scores.
    """
    steps: list[float] = []
    lows: list[float] = []
    kept = np.zeros(len(scores), bool)
    for i, (cost, score) in enumerate(zip(second.tolist(), scores.tolist(), strict=True)):
        at = bisect_right(steps, cost)
        if at and lows[at - 1] <= score:
            continue
        kept[i] = True
        start = bisect_left(steps, cost)
        end = start
        while end < len(lows) and lows[end] >= score:
            end += 1
        steps[start:end] = [cost]
        lows[start:end] = [score]
    return kept


def _dual(
    prices: Sequence[np.ndarray], scores: Sequence[np.ndarray], limits: np.ndarray
) -> tuple[np.ndarray, float]:
    """Multipliers of the Lagrangian bound, and the best score met on the way (or infinity)."""
    scale = np.maximum(limits, 1.0)
    span = sum(float(s.max() - s.min()) for s in scores) or 1.0
    weights, best_weights = np.zeros(len(limits)), np.zeros(len(limits))
    best_bound, incumbent = -np.inf, np.inf
    for step in range(DUAL_STEPS):
        picks = [
            int(np.argmin(s + p @ (weights / scale))) for p, s in zip(prices, scores, strict=True)
        ]
        used = sum(p[i].astype(float) for p, i in zip(prices, picks, strict=True))
        score = sum(float(s[i]) for s, i in zip(scores, picks, strict=True))
        excess = (used - limits) / scale
        value = score + float(weights @ excess)
        if value > best_bound:
            best_bound, best_weights = value, weights.copy()
        if (excess <= 0).all():
            incumbent = min(incumbent, score)
        length = float(np.linalg.norm(excess)) or 1.0
        weights = np.maximum(0.0, weights + span * excess / length / (1 + step) ** 0.75)
    return best_weights / scale, incumbent


def layer_tables(
    problem: Problem, table: SensitivityTable, cost_names: Sequence[str]
) -> tuple[list[tuple[LayerBits, ...]], list[np.ndarray], list[np.ndarray]]:
    """Options, prices (options, costs) and scores (options,) of each layer of a problem.

    Options over a max-type limit of the budget are left out here, so that only sums remain.

    Raises:
        InvalidParams: a named cost is of the max type.
        InfeasibleBudget: a max-type limit leaves a layer no option.
    """
    for name in cost_names:
        if COSTS[name].reduce == "max":
            raise InvalidParams(f"{name} is a maximum over layers; give it as a budget instead.")
    ceilings = {n: v for n, v in problem.budget.limits.items() if COSTS[n].reduce == "max"}
    options, prices, scores = [], [], []
    for layer in problem.model.layers:
        allowed = tuple(
            bits
            for bits in problem.options[layer.name]
            if all(COSTS[n].layer_cost(layer, bits) <= v for n, v in ceilings.items())
        )
        if not allowed:
            raise InfeasibleBudget(f"No bits of layer {layer.name!r} fit {ceilings}.")
        options.append(allowed)
        prices.append(
            np.array([[COSTS[n].layer_cost(layer, b) for n in cost_names] for b in allowed])
        )
        scores.append(np.array([table.score(layer.name, b) for b in allowed], float))
    return options, prices, scores


def problem_front(
    problem: Problem, table: SensitivityTable, cost_names: Sequence[str] = ("weight_bytes",)
) -> list[tuple[BitAllocation, dict[str, int], float]]:
    """The exact front of a sensitivity table: (allocation, costs by name, predicted damage).

    Limits of the budget on the named costs are kept, and so are max-type limits; the costs include
    what no bit-width changes.
    """
    options, prices, scores = layer_tables(problem, table, cost_names)
    fixed = [COSTS[name].fixed(problem.model) for name in cost_names]
    limits = [
        problem.budget.limits.get(name, np.inf) - constant
        for name, constant in zip(cost_names, fixed, strict=True)
    ]
    front = exact_front(prices, scores, limits)
    names = problem.model.names
    return [
        (
            BitAllocation(
                {n: options[i][c] for i, (n, c) in enumerate(zip(names, row, strict=True))}
            ),
            {n: int(v) + f for n, v, f in zip(cost_names, costs, fixed, strict=True)},
            float(score),
        )
        for row, costs, score in zip(front.choices, front.costs, front.scores, strict=True)
    ]
