"""Damage of layers and of their pairs from random orders, after IMPQ's idea.

All layers begin at the wider of two widths. In a random order one after the other goes down to the
narrower one, and what the divergence rises by is that layer's contribution; its mean over orders is
the layer's Shapley value. How a contribution depends on who went down before says how two layers
interact: contributions are fitted by

    c_l = a_l + sum of B_lm over the layers m that are down already,    B symmetric,

with B drawn towards 0, as pairs are more than measurements. A choice x of layers that are down is
then predicted to damage by sum_l a_l x_l + sum_(l < m) B_lm x_l x_m.

Reference: Zhao et al., IMPQ: Interaction-Aware Layerwise Mixed Precision Quantization for LLMs,
arXiv 2509.15455, 2025. Written anew from its description. Differs from it: interactions come from
this fit and not from covariances of contributions, which have another unit than damage; damage is
the judge's divergence; every second order is the reverse of the one before, so that each layer is
early as often as late; and the quadratic program is minimised by exchanges.
"""

from collections.abc import Callable, Sequence

import numpy as np

from qcore.problem import SensitivityTable

Order = np.ndarray
"""Layer numbers in the order in which they go down."""


def orders_of(layers: int, orders: int, rng: np.random.Generator) -> list[Order]:
    """Random orders of some layers; every second one is the reverse of the one before."""
    found: list[Order] = []
    for number in range(orders):
        found.append(found[-1][::-1] if number % 2 else rng.permutation(layers))
    return found


def contributions(damage: Callable[[frozenset[int]], float], orders: Sequence[Order]) -> np.ndarray:
    """What each layer adds to the damage when it goes down, in each order.

    Args:
        damage: Layers at the narrower width to the damage of that network.
        orders: In which the layers go down.

    Returns:
        (orders, layers); each row sums to the damage of all layers less that of none.
    """
    rows = np.empty((len(orders), len(orders[0])))
    first = damage(frozenset())
    for row, order in zip(rows, orders, strict=True):
        before, down = first, frozenset[int]()
        for at in order.tolist():
            down |= {at}
            row[at] = (after := damage(down)) - before
            before = after
    return rows


def interactions(
    rows: np.ndarray, orders: Sequence[Order], drawn: float | None = None
) -> np.ndarray:
    """The quadratic form F of damage, x' F x of the layers that are down, (layers, layers).

    Args:
        rows: Contributions (orders, layers).
        orders: Those that they were measured in.
        drawn: How much pairs are drawn towards 0, in measurements that say 0; None takes as many as
            there are of each pair.
    """
    n = rows.shape[1]
    first, second = np.triu_indices(n, 1)
    design = np.zeros((len(orders), n, n + len(first)))
    design[:, np.arange(n), np.arange(n)] = 1.0
    for at, order in enumerate(orders):
        place = np.argsort(order)
        # the later one of a pair feels the earlier one
        later = np.where(place[first] > place[second], first, second)
        design[at, later, n + np.arange(len(first))] = 1.0
    matrix = design.reshape(-1, n + len(first))
    ridge = np.concatenate(
        [np.zeros(n), np.full(len(first), len(orders) if drawn is None else drawn)]
    )
    solved = np.linalg.solve(matrix.T @ matrix + np.diag(ridge), matrix.T @ rows.reshape(-1))
    form = np.diag(solved[:n])
    form[first, second] = form[second, first] = solved[n:] / 2
    return np.asarray(form)


def table_of(
    form: np.ndarray, layers: Sequence[str], narrow: int, wide: int, unit: str, n: int
) -> SensitivityTable:
    """The form as the pairs of a table: layers at the wider width add nothing.

    Args:
        form: Of `interactions`.
        layers: Their names.
        narrow: Width of layers that are down, bits.
        wide: Width of the others.
        unit: Of the damage.
        n: Samples behind it.
    """
    size = len(layers)
    pairs = np.zeros((2 * size, 2 * size))
    pairs[:size, :size] = form
    index = tuple((name, "weight", bits) for bits in (narrow, wide) for name in layers)
    weight = {name: {narrow: float(form[at, at]), wide: 0.0} for at, name in enumerate(layers)}
    return SensitivityTable("shapley", unit, weight, pairs=pairs, pair_index=index, n=n)
