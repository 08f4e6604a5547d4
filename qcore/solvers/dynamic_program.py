"""Dynamic programming over layers on non-dominated labels, for `knapsack`. Torch-free.

A label is the choice of options for the first layers: summed costs, summed score, and where it came
from. One that costs no less and scores no better than another can be left out without losing a
front point. Reference: Kellerer, Pferschy and Pisinger, Knapsack Problems, 2004, section 11.5.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcore.errors import InvalidParams

SLACK = 1e-9
CELLS = 0.7
"""Cells along the grid of `_spread`, as a share of what the width allows."""


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


@dataclass(frozen=True)
class Bound:
    """A Lagrangian lower bound on what a label can still become.

    Attributes:
        weights: Price of one unit of each cost, in units of the score (costs,); never negative.
        limits: Limits on the costs (costs,), finite.
        incumbent: Score of the best solution known, or infinity.
        width: Most labels kept after a layer, those of the lowest bound first.
    """

    weights: np.ndarray
    limits: np.ndarray
    incumbent: float
    width: int

    def of(self, costs: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The bound on labels (labels,) without what their remaining layers add at least."""
        return np.asarray(scores + (costs - self.limits) @ self.weights)

    @property
    def ceiling(self) -> float:
        """Largest bound a label may have; the slack keeps rounding from losing the optimum."""
        return self.incumbent + SLACK * (1 + abs(self.incumbent))


def check_tables(
    prices: Sequence[np.ndarray], scores: Sequence[np.ndarray], limits: int | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Prices as int64 and scores as float64, once they are known to fit each other.

    Raises:
        InvalidParams: no layer, not one or two costs, a layer without options, prices that are not
            whole numbers, scores that are not finite, or another number of limits than costs.
    """
    if not len(prices) or len(prices) != len(scores):
        raise InvalidParams(
            f"Prices and scores must be given for the same layers, at least one; got "
            f"{len(prices)} and {len(scores)}."
        )
    kinds = {np.shape(price)[1:] for price in prices}
    if kinds not in ({(1,)}, {(2,)}):
        raise InvalidParams(
            f"The exact solver takes one or two costs, each price of shape (options, costs); got "
            f"{[np.shape(price) for price in prices[:3]]}."
        )
    count = next(iter(kinds))[0]
    if limits is not None and limits != count:
        raise InvalidParams(f"Give one limit for each of the {count} costs; got {limits}.")
    whole = [np.asarray(price).astype(np.int64) for price in prices]
    values = [np.asarray(score, dtype=float) for score in scores]
    for layer, (price, value) in enumerate(zip(whole, values, strict=True)):
        if not len(price) or value.shape != (len(price),):
            raise InvalidParams(
                f"Layer {layer} has {len(price)} prices and scores of shape {value.shape}; give "
                "one score for each option, at least one."
            )
        if (price != prices[layer]).any() or not np.isfinite(value).all():
            raise InvalidParams(
                f"Prices must be whole numbers and scores finite; layer {layer} has prices "
                f"{np.asarray(prices[layer]).tolist()} and scores {value.tolist()}."
            )
    return whole, values


def solve(
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    limits: np.ndarray | None = None,
    bound: Bound | None = None,
) -> tuple[FrontTable, bool]:
    """Run the dynamic program.

    Args:
        prices: Per layer, the costs of its options (options, costs), int64; one or two costs.
        scores: Per layer, the scores of its options (options,).
        limits: Limits on the costs (costs,); labels that cannot meet them are dropped.
        bound: Drops labels that cannot lead to the incumbent's score or a better one.

    Returns:
        The labels left after the last layer, and whether the bound's width cut none off.
    """
    least = _rest([price.min(axis=0) for price in prices])
    rest = np.zeros(len(prices) + 1)
    if bound:
        rest = _rest([(s + p @ bound.weights).min() for p, s in zip(prices, scores, strict=True)])
    costs, totals = np.zeros((1, prices[0].shape[1]), np.int64), np.zeros(1)
    trail: list[tuple[np.ndarray, np.ndarray]] = []
    complete = True
    kind = np.int16 if max(map(len, prices)) < 2**15 else np.int32
    for layer, (price, score) in enumerate(zip(prices, scores, strict=True)):
        parts: list[tuple[np.ndarray, ...]] = []
        # option by option, so that memory holds the labels that stay and not all that were tried
        for option in non_dominated(price, score):
            new_costs, new_totals = costs + price[option], totals + score[option]
            parent = np.arange(len(totals), dtype=np.int32)
            if limits is not None:
                parent = parent[(new_costs + least[layer + 1] <= limits).all(axis=1)]
            lower = np.zeros(len(parent))
            if bound:
                lower = bound.of(new_costs[parent], new_totals[parent]) + rest[layer + 1]
                near = lower <= bound.ceiling
                parent, lower = parent[near], lower[near]
            taken = np.full(len(parent), option, kind)
            parts.append((new_costs[parent], new_totals[parent], parent, taken, lower))
        costs, totals, parent, taken, lower = (np.concatenate(p) for p in zip(*parts, strict=True))
        kept = np.arange(len(totals))
        if bound and len(kept) > bound.width:
            kept, complete = _spread(costs, lower, bound), False
        kept = kept[non_dominated(costs[kept], totals[kept])]
        costs, totals = costs[kept], totals[kept]
        trail.append((parent[kept], taken[kept]))
    return FrontTable(costs, totals, _choices(trail, len(totals))), complete


def _spread(costs: np.ndarray, lower: np.ndarray, bound: Bound) -> np.ndarray:
    """Indices of at most `width` labels of low bound, one for each cell of a grid over the costs.

    Without the grid, small changes of the best labels would crowd out all that spend otherwise.
    """
    kinds = costs.shape[1]
    side = CELLS * bound.width ** (1 / kinds)
    low, high = costs.min(axis=0), costs.max(axis=0)
    cell = ((costs - low) * (side / np.maximum(high - low, 1))).astype(np.int64)
    key = cell[:, 0] if kinds == 1 else cell[:, 0] * int(side + 1) + cell[:, 1]
    order = np.lexsort((lower, key))
    first = np.ones(len(order), bool)
    first[1:] = key[order][1:] != key[order][:-1]
    kept = order[first]
    if len(kept) > bound.width:
        kept = kept[np.argpartition(lower[kept], bound.width)[: bound.width]]
    kept.sort()
    return kept


def _rest(steps: Sequence[np.ndarray]) -> np.ndarray:
    """Sum of the steps from each layer to the last, one row more than layers."""
    rows = np.asarray(steps)
    return np.concatenate([np.cumsum(rows[::-1], axis=0)[::-1], np.zeros_like(rows[:1])])


def _choices(trail: Sequence[tuple[np.ndarray, np.ndarray]], labels: int) -> np.ndarray:
    choices = np.zeros((labels, len(trail)), trail[0][1].dtype)
    position = np.arange(labels)
    for layer in range(len(trail) - 1, -1, -1):
        parent, option = trail[layer]
        choices[:, layer] = option[position]
        position = parent[position]
    return choices


def non_dominated(costs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Indices of the non-dominated labels, by rising first cost; of equal ones the first.

    Args:
        costs: One or two costs of each label (labels, costs); lower is better.
        scores: Score of each label (labels,); lower is better.
    """
    if costs.shape[1] == 1:
        order = np.lexsort((scores, costs[:, 0]))
        ordered = scores[order]
        better = np.ones(len(order), bool)
        better[1:] = ordered[1:] < np.minimum.accumulate(ordered)[:-1]
        return order[better]
    order = np.lexsort((scores, costs[:, 1], costs[:, 0]))
    return order[_staircase(costs[order, 1], scores[order])]


def _staircase(second: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Labels, in order of the first cost, that no earlier one beats in second cost and score.

    The steps are the best labels seen: rising second costs with strictly falling scores.
    """
    steps: list[float] = []
    lows: list[float] = []
    kept = np.zeros(len(scores), bool)
    for i, (cost, score) in enumerate(zip(second.tolist(), scores.tolist(), strict=True)):
        at = bisect_right(steps, cost)
        if at and lows[at - 1] <= score:
            continue
        kept[i] = True
        start = end = bisect_left(steps, cost)
        while end < len(lows) and lows[end] >= score:
            end += 1
        steps[start:end] = [cost]
        lows[start:end] = [score]
    return kept
