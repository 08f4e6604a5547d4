"""The exact optimum of an additive score where some layers share a width. Pure.

A tie is decided in one of two ways, whichever is less: tried at each of its widths, or turned into
one row of joint options of which only the non-dominated are kept. Both are exact.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pages.shared.held import PARTS, Tie
from qcore.allocation import LayerBits
from qcore.solvers.dynamic_program import non_dominated
from qcore.solvers.lagrangian import exact_best, multipliers

LARGE = 4
"""Layers of a tie from which on its widths are tried one after another."""

MOST_TRIED = 64
"""Ways to choose the widths of large ties that are tried at most; others become joint options."""

Tables = tuple[list[np.ndarray], list[np.ndarray]]
"""Prices and scores of each decision's options."""

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Joint options of some layers: option of each (n, layers), costs (n, costs), scores (n,)."""

Decisions = list[tuple[tuple[int, ...], Rows]]
"""The layers of each decision, and its options."""


def best_tied(
    names: Sequence[str],
    options: Sequence[Sequence[LayerBits]],
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    limits: Sequence[float],
    ties: Sequence[Tie],
) -> np.ndarray | None:
    """Option index of each layer in the best solution within the limits; None when nothing fits.

    Args:
        names: The layers' names.
        options: Per layer, the bits it may have.
        prices: Per layer, the costs of its options (options, costs), whole numbers.
        scores: Per layer, the scores of its options (options,); lower is better.
        limits: One limit for each cost.
        ties: Which layers share a width; none shares a layer and a part with another.
    """
    place = {name: at for at, name in enumerate(names)}
    joined = [(tuple(place[name] for name in tie.layers), tie.part) for tie in ties]
    bits = [{part: [getattr(b, part) for b in row] for part in PARTS} for row in options]
    found: tuple[float, float, np.ndarray] | None = None
    large, small = _split(joined, bits)
    tried: list[tuple[float, int, Decisions, Tables, np.ndarray]] = []
    for widths in itertools.product(*(_widths(tie, bits) for tie in large)):
        kept = _kept(dict(zip(large, widths, strict=True)), bits)
        if not all(map(len, kept)):
            continue
        rows = _decisions(kept, small, bits, prices, scores)
        if rows is None:
            continue
        tables = [price for _, (_, price, _) in rows], [score for _, (_, _, score) in rows]
        most = np.sum([price.max(axis=0) for price in tables[0]], axis=0)
        within = np.minimum(np.asarray(limits, float), most)
        tried.append((multipliers(*tables, within)[1], len(tried), rows, tables, within))
    for bound, _, rows, tables, within in sorted(tried, key=lambda entry: entry[:2]):
        if found is not None and bound > found[0]:
            break
        choice = exact_best(*tables, within.tolist())
        if choice is None:
            continue
        picked = np.empty(len(names), np.int64)
        for (layers, (choices, _, _)), at in zip(rows, choice, strict=True):
            picked[list(layers)] = choices[at]
        score = sum(float(row[at]) for row, at in zip(scores, picked, strict=True))
        cost = sum(float(row[at, 0]) for row, at in zip(prices, picked, strict=True))
        if found is None or (score, cost) < found[:2]:
            found = score, cost, picked
    return None if found is None else found[2]


Joined = tuple[tuple[int, ...], str]
"""Places of layers, and the part they share the width of."""


def _split(ties: Iterable[Joined], bits: Sequence[Mapping]) -> tuple[list[Joined], list[Joined]]:
    """Ties whose widths are tried one after another, and those that become joint options."""
    large: list[Joined] = []
    small: list[Joined] = []
    ways = 1
    for tie in sorted(ties, key=lambda tie: -len(tie[0])):
        count = max(1, len(_widths(tie, bits)))
        if len(tie[0]) >= LARGE and ways * count <= MOST_TRIED:
            large.append(tie)
            ways *= count
        else:
            small.append(tie)
    return large, small


def _widths(tie: Joined, bits: Sequence[Mapping]) -> list[int]:
    """Widths that every layer of a tie has."""
    layers, part = tie
    return sorted(set.intersection(*(set(bits[at][part]) for at in layers)))


def _kept(set_to: Mapping[Joined, int], bits: Sequence[Mapping]) -> list[np.ndarray]:
    """Options of each layer that are left where some ties have a width."""
    kept = [np.ones(len(row["weight"]), bool) for row in bits]
    for (layers, part), width in set_to.items():
        for at in layers:
            kept[at] &= np.asarray(bits[at][part]) == width
    return [np.flatnonzero(mask) for mask in kept]


def _decisions(
    kept: Sequence[np.ndarray],
    ties: Sequence[Joined],
    bits: Sequence[Mapping],
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
) -> Decisions | None:
    """The layers of each decision and its joint options; None where one has none."""
    found: Decisions = []
    for layers, mine in _hanging(range(len(kept)), ties):
        rows = _joint(
            layers,
            dict(zip(layers, (kept[at] for at in layers), strict=True)),
            mine,
            bits,
            prices,
            scores,
        )
        if not len(rows[2]):
            return None
        found.append((layers, rows))
    return found


def _hanging(
    layers: Iterable[int], ties: Sequence[Joined]
) -> list[tuple[tuple[int, ...], list[Joined]]]:
    """Layers that hang together by ties, with these ties."""
    groups: list[tuple[set[int], list[Joined]]] = [({at}, []) for at in layers]
    for tie in ties:
        touched = [group for group in groups if group[0] & set(tie[0])]
        groups = [group for group in groups if group not in touched]
        members = set().union(*(group[0] for group in touched))
        groups.append((members, [tie, *(t for group in touched for t in group[1])]))
    return [(tuple(sorted(members)), mine) for members, mine in groups]


def _joint(
    layers: Sequence[int],
    kept: Mapping[int, np.ndarray],
    ties: Sequence[Joined],
    bits: Sequence[Mapping],
    prices: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
) -> Rows:
    """Non-dominated joint options: on the shared width depends which, then members are separate."""
    if not ties:
        rows: Rows | None = None
        for at in layers:
            own = kept[at]
            one = own[:, None], prices[at][own], scores[at][own]
            rows = one if rows is None else _product(rows, one)
        return rows if rows is not None else _none(layers, prices)
    first = max(ties, key=lambda tie: len(tie[0]))
    others = [tie for tie in ties if tie is not first]
    parts = []
    for width in _widths(first, bits):
        left = {
            at: own[np.asarray(bits[at][first[1]])[own] == width] if at in first[0] else own
            for at, own in kept.items()
        }
        if not all(map(len, left.values())):
            continue
        rows = None
        order: list[int] = []
        for members, mine in _hanging(layers, others):
            one = _joint(members, left, mine, bits, prices, scores)
            order += members
            rows = one if rows is None else _product(rows, one)
        if rows is not None:
            back = np.argsort(order)
            parts.append((rows[0][:, back], rows[1], rows[2]))
    if not parts:
        return _none(layers, prices)
    choices, costs, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    return _pruned(choices, costs, values)


def _none(layers: Sequence[int], prices: Sequence[np.ndarray]) -> Rows:
    shape = prices[0].shape[1]
    return np.empty((0, len(layers)), int), np.empty((0, shape)), np.empty(0)


def _product(one: Rows, other: Rows) -> Rows:
    """Joint options of both, the non-dominated of them."""
    (a, x), (b, y) = ((rows[0], np.arange(len(rows[0]))) for rows in (one, other))
    x, y = (grid.ravel() for grid in np.meshgrid(x, y, indexing="ij"))
    return _pruned(np.hstack([a[x], b[y]]), one[1][x] + other[1][y], one[2][x] + other[2][y])


def _pruned(choices: np.ndarray, costs: np.ndarray, scores: np.ndarray) -> Rows:
    kept = non_dominated(costs, scores)
    return choices[kept], costs[kept], scores[kept]
