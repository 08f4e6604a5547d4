"""The exact optimum within limits on one or two costs, without the Pareto front. Torch-free.

A Lagrangian relaxation bounds what a partial solution can become; solutions found with few labels
and improved by exchanges give something to compare with; labels that are proven worse are dropped.
The number of labels is raised until none had to be cut off, and then the result is exact.
Reference: Fisher, The Lagrangian relaxation method, Management Science 27, 1981.
"""

from collections.abc import Callable, Sequence

import numpy as np

from qcore.solvers.dynamic_program import Bound, check_tables, solve

STEPS = 40
GOLDEN = (5**0.5 - 1) / 2
WIDTHS = (100, 1000, 10_000, 500_000, 2_000_000)
"""Labels kept after a layer, one attempt after the other; an attempt that cut none off is exact."""
CANDIDATES = 1000
"""Most options an exchange considers; their pairs are tried all at once."""


def exact_best(
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    limits: Sequence[float],
    *,
    tolerance: float = 0.0,
) -> np.ndarray | None:
    """Option index of each layer in the best solution within the limits; None when nothing fits.

    A ResNet-50 with one limit takes a tenth of a second; with two limits and 49 options a layer,
    0.2 s where the limits leave little room and 10 s at worst, or 0.5 s at a tolerance of 1 %.

    Args:
        prices: Per layer, the costs of its options (options, costs), whole numbers; one or two
            costs.
        scores: Per layer, the scores of its options (options,); lower is better, any sign.
        limits: One limit for each cost; infinity for none.
        tolerance: Stop once the smallest possible score is proven to be less than this share of
            the best known one below it (0.01 is 1 %); 0 goes on to the optimum.

    Returns:
        Shape (layers,). Its score is the smallest possible (to 1e-9, relative), and of equal scores
        the lowest first cost wins. Where millions of labels cannot be told apart, as when scores
        are made proportional to costs, it is the best found and lacks the proof.

    Raises:
        InvalidParams: not one or two costs, no layer, or tables that do not fit each other.
    """
    prices, scores = check_tables(prices, scores, len(limits))
    within = np.minimum(np.asarray(limits, float), np.sum([p.max(axis=0) for p in prices], axis=0))
    weights, lowest = multipliers(prices, scores, within)
    # what moves the costs most comes first: the bound then tells good labels from bad ones early
    order = sorted(range(len(prices)), key=lambda i: -float((prices[i] * weights).max(0).sum()))
    prices, scores = [prices[i] for i in order], [scores[i] for i in order]
    known: list[tuple[float, int, np.ndarray]] = []
    for number, width in enumerate(WIDTHS):
        incumbent = min((entry[0] for entry in known), default=np.inf)
        front, complete = solve(prices, scores, within, Bound(weights, within, incumbent, width))
        if len(front.scores):
            first = np.lexsort((front.costs[:, 0], front.scores))[0]
            known.append(_entry(prices, scores, front.choices[first].astype(np.int64)))
            gap = known[-1][0] - lowest
            if not complete:
                near = _promising(prices, scores, weights, gap)
                better = _exchange(prices, scores, within, known[-1][2], near)
                known.append(_entry(prices, scores, better))
        if complete:
            known = known[-1:] if len(front.scores) else known
            break
        if number and known:
            best = min(entry[0] for entry in known)
            if best - lowest <= tolerance * abs(best):
                break
    if not known:
        return None
    choice = np.empty(len(order), np.int64)
    choice[order] = min(known, key=lambda entry: entry[:2])[2]
    return choice


def _entry(
    prices: Sequence[np.ndarray], scores: Sequence[np.ndarray], choice: np.ndarray
) -> tuple[float, int, np.ndarray]:
    score = sum(float(row[i]) for row, i in zip(scores, choice, strict=True))
    return score, sum(int(row[i, 0]) for row, i in zip(prices, choice, strict=True)), choice


def multipliers(
    prices: Sequence[np.ndarray], scores: Sequence[np.ndarray], limits: np.ndarray
) -> tuple[np.ndarray, float]:
    """Prices of one unit of each cost (costs,) that make the Lagrangian bound high, and the bound.

    The bound, min over solutions of score + weights @ (costs - limits), is concave in the weights:
    a golden section search over the first, within it a bisection over the last.
    """
    layers, widest, kinds = len(prices), max(map(len, scores)), prices[0].shape[1]
    least = np.sum([p.min(axis=0) for p in prices], axis=0)
    scale = np.maximum(limits - least, 1.0)
    padded = np.zeros((layers, widest, kinds))
    values = np.full((layers, widest), np.inf)
    for i, (price, score) in enumerate(zip(prices, scores, strict=True)):
        padded[i, : len(score)], values[i, : len(score)] = price / scale, score
    rows, target = np.arange(layers), limits / scale
    top = float(sum(np.ptp(score) for score in scores))

    def last(first: Sequence[float]) -> tuple[float, list[float]]:
        low, high = 0.0, top
        best = (-np.inf, [*first, 0.0])
        for step in range(STEPS):
            weights = [*first, (low + high) / 2 if step else 0.0]
            reduced = values + padded @ np.asarray(weights)
            picks = reduced.argmin(axis=1)
            bound = float(reduced[rows, picks].sum() - target @ weights)
            best = max(best, (bound, weights))
            too_dear = padded[rows, picks, -1].sum() > target[-1]
            if step == 0 and not too_dear:
                break
            low, high = (weights[-1], high) if too_dear else (low, weights[-1])
        return best

    bound, weights = last([]) if kinds == 1 else _golden(lambda w: last([w]), top)
    return np.asarray(weights) / scale, bound


def _golden(
    value: Callable[[float], tuple[float, list[float]]], top: float
) -> tuple[float, list[float]]:
    low, high = 0.0, top
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = value(left), value(right)
    best = max(value(0.0), at_left, at_right)
    for _ in range(STEPS):
        if at_left[0] >= at_right[0]:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = value(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = value(right)
        best = max(best, at_left, at_right)
    return best


def _promising(
    prices: Sequence[np.ndarray], scores: Sequence[np.ndarray], weights: np.ndarray, gap: float
) -> tuple[np.ndarray, np.ndarray]:
    """(layer, option) of the options that a solution better than the gap may contain."""
    reduced = [s + p @ weights for p, s in zip(prices, scores, strict=True)]
    loss = np.concatenate([row - row.min() for row in reduced])
    layer = np.repeat(np.arange(len(reduced)), [len(row) for row in reduced])
    option = np.concatenate([np.arange(len(row)) for row in reduced])
    near = np.argsort(loss, kind="stable")[:CANDIDATES]
    near = near[loss[near] <= gap]
    return layer[near], option[near]


def _exchange(
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    limits: np.ndarray,
    choice: np.ndarray,
    candidates: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Change two layers at a time, the best pair first, while that lowers the score."""
    layer, option = candidates
    if not len(layer):
        return choice
    price = np.stack([prices[i][o] for i, o in zip(layer, option, strict=True)])
    score = np.array([scores[i][o] for i, o in zip(layer, option, strict=True)])
    apart = layer[:, None] != layer[None]
    while True:
        now = np.stack([p[o] for p, o in zip(prices, choice, strict=True)])
        change = price - now[layer]
        gain = score - np.array([s[o] for s, o in zip(scores, choice, strict=True)])[layer]
        pairs = np.where(apart, gain[:, None] + gain[None], 0.0)
        for kind, room in enumerate(limits - now.sum(axis=0)):
            pairs[change[:, None, kind] + change[None, :, kind] > room] = 0.0
        a, b = np.unravel_index(int(pairs.argmin()), pairs.shape)
        if pairs[a, b] >= -1e-12 * (1 + abs(float(score.sum()))):
            return choice
        choice = choice.copy()
        choice[layer[[a, b]]] = option[[a, b]]
