"""Pairwise damage: a quadratic form over one-hot choices, and its minimum under cost limits.

The Gram matrix of a gradient sensitivity holds, for each pair of (layer, bits), how their
first-order changes of the loss add up sample by sample, so x^T G x predicts interactions that no
additive score can. The form is made positive semi-definite first: an optimiser that is any good
finds and exploits negative directions, which are noise (Deng et al., CLADO, 2023).

Minimising it under a knapsack limit is hard. Up to `EXHAUSTIVE` combinations all are tried and the
answer is exact; beyond that it is a heuristic: one- and two-layer exchanges from several starts,
which end in a choice that no such exchange improves.

In flat arrays a *row* is one option of one decision (a layer, or tied layers), rows of a decision
are adjacent, and `owner` gives the decision of each row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qcore.allocation import FLOAT_BITS
from qcore.errors import InvalidAllocation, InvalidParams
from qcore.problem import SensitivityTable
from qcore.solvers.sampling import draw
from qcore.solvers.space import Space

EXHAUSTIVE = 100_000
"""Most combinations of options that are all tried."""

RESTARTS = 4
"""Random starts added to those given."""


@dataclass(frozen=True)
class Flat:
    """A space with the options of all layers in one row of arrays.

    Attributes:
        owner: Decision index of each row, shape (rows,).
        first: Row at which each decision begins, shape (decisions,).
        prices: Prices of each row, shape (rows, costs).
    """

    owner: np.ndarray
    first: np.ndarray
    prices: np.ndarray


def flatten(space: Space) -> Flat:
    """Lay the options of all decisions end to end."""
    counts = space.sizes
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(int)
    return Flat(np.repeat(np.arange(len(counts)), counts), first, np.concatenate(space.prices))


SHRUNK = 0.5
"""Share of the off-diagonal that is kept of pairs, from gradients or from measured answers.

They are estimates, and a minimiser seeks out the pairs whose estimated help is too large: on a
sentence encoder with nearest rounding at 3 bits the full form's optimum was worse than that of its
own diagonal, and with half of it as good; at 2.5 and 4 bits half was better than all.
"""


def pair_matrix(space: Space, table: SensitivityTable, kept: float = 1.0) -> np.ndarray:
    """Build the positive semi-definite form over options from a table's pairs.

    The row of an option is the sum of the rows of its layers' weight bits and activation bits; 32
    bits contribute nothing.

    Args:
        space: What may be chosen.
        table: With pairs.
        kept: Share of the interactions between layers that is kept, 0..1; what belongs to one
            layer is kept whole, so that the form stays positive semi-definite.

    Returns:
        Shape (rows, rows), symmetric, in the table's unit.

    Raises:
        InvalidParams: the table has no pairs.
        InvalidAllocation: the pairs lack a layer or bit-width.
    """
    if table.pairs is None:
        raise InvalidParams(
            f"The {table.kind} sensitivity table holds no pairs; compute it again: only a gradient "
            "or logit_gram table measured with them says how layers interact."
        )
    where = {entry: row for row, entry in enumerate(table.pair_index)}
    select = np.zeros((sum(space.sizes), len(where)))
    options = ((decision, option) for decision in space.decisions for option in decision.options)
    for row, (decision, option) in enumerate(options):
        for name, bits in zip(decision.layers, option, strict=True):
            for part, width in (("weight", bits.weight), ("activation", bits.activation)):
                if width == FLOAT_BITS:
                    continue
                if (name, part, width) not in where:
                    raise InvalidAllocation(
                        f"The pairs of the {table.kind} sensitivity have no entry for the {part} "
                        f"of layer {name!r} at {width} bits; compute it for these bit-widths."
                    )
                select[row, where[name, part, width]] = 1.0
    matrix = select @ project_psd(table.pairs) @ select.T
    owner = flatten(space).owner
    return np.asarray(np.where(owner[:, None] == owner, matrix, kept * matrix))


def project_psd(matrix: np.ndarray) -> np.ndarray:
    """Return the nearest symmetric matrix without negative eigenvalues, same shape.

    Raises:
        InvalidParams: an entry is not a finite number.
    """
    matrix = np.asarray(matrix, dtype=float)
    if not np.isfinite(matrix).all():
        raise InvalidParams("The pairs of the sensitivity hold a NaN or infinity; measure again.")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def form_value(matrix: np.ndarray, rows: np.ndarray) -> float:
    """Predicted damage x^T G x of the chosen rows, one per layer."""
    return float(matrix[np.ix_(rows, rows)].sum())


def form_changes(flat: Flat, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Change of x^T G x for every exchange of one or two layers.

    Args:
        flat: The options.
        matrix: The form, shape (rows, rows).
        rows: Chosen row of each layer.

    Returns:
        Shape (rows, rows): entry [p, r] is the change when rows p and r replace the chosen rows of
        their layers; [p, p] replaces one layer. Entries of two different rows of one layer are
        meaningless.
    """
    now = rows[flat.owner]
    field = matrix[:, rows].sum(axis=1)
    diagonal = np.diagonal(matrix)
    single = 2 * (field - field[now] - matrix[np.arange(len(now)), now]) + diagonal + diagonal[now]
    across = matrix - matrix[:, now] - matrix[now] + matrix[np.ix_(now, now)]
    changes = single[:, None] + single[None, :] + 2 * across
    np.fill_diagonal(changes, single)
    return np.asarray(changes)


def allowed_exchanges(flat: Flat, rows: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Mark the exchanges of `form_changes` that keep within limits; booleans (rows, rows)."""
    extra = flat.prices - flat.prices[rows[flat.owner]]
    room = limits - flat.prices[rows].sum(axis=0)
    allowed = flat.owner[:, None] != flat.owner[None, :]
    for cost, left in enumerate(room):
        allowed &= extra[:, cost][:, None] + extra[:, cost][None, :] <= left
    np.fill_diagonal(allowed, (extra <= room).all(axis=1))
    return allowed


def best_pairs(
    space: Space,
    matrix: np.ndarray,
    limits: np.ndarray,
    starts: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    exhaustive: int = EXHAUSTIVE,
) -> np.ndarray | None:
    """Find the choice of least x^T G x within limits.

    Args:
        space: What may be chosen.
        matrix: Positive semi-definite form over the flat rows.
        limits: Most that each cost may be, shape (costs,), without the fixed part.
        starts: Choices within the limits to improve, such as the additive optimum.
        rng: Source of the random restarts.
        exhaustive: Most combinations of options that are all tried.

    Returns:
        The choice, or None when none was found within the limits. Exact up to `exhaustive`
        combinations; beyond that no exchange of one or two layers improves it.
    """
    flat = flatten(space)
    combinations = 1
    for size in space.sizes:
        combinations *= size
        if combinations > exhaustive:
            break
    if combinations <= exhaustive:
        return _enumerate(space, flat, matrix, limits)
    best, lowest = None, np.inf
    inside = replace(space, limits=limits)
    random = [draw(inside, float(limits[0]), rng) for _ in range(RESTARTS)]
    for start in [*starts, *random]:
        rows = flat.first + start
        if (flat.prices[rows].sum(axis=0) > limits).any():
            continue
        rows = _improve(flat, matrix, limits, rows)
        value = form_value(matrix, rows)
        if value < lowest:
            best, lowest = rows - flat.first, value
    return best


def _improve(flat: Flat, matrix: np.ndarray, limits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    # every step lowers the value by more than rounding, so no choice is met twice
    while True:
        changes = form_changes(flat, matrix, rows)
        changes[~allowed_exchanges(flat, rows, limits)] = np.inf
        first, second = np.unravel_index(int(np.argmin(changes)), changes.shape)
        if not changes[first, second] < -1e-9 * abs(form_value(matrix, rows)) - 1e-300:
            return rows
        rows = rows.copy()
        rows[flat.owner[[first, second]]] = [first, second]


def _enumerate(
    space: Space, flat: Flat, matrix: np.ndarray, limits: np.ndarray
) -> np.ndarray | None:
    # grow all prefixes together, dropping those that cannot fit even with the cheapest rest
    choices = np.zeros((1, 0), dtype=int)
    value, spent = np.zeros(1), np.zeros((1, flat.prices.shape[1]), dtype=np.int64)
    field = np.zeros((1, len(flat.owner)))
    rest = np.cumsum([price.min(axis=0) for price in space.prices][::-1], axis=0)[::-1]
    for layer, price in enumerate(space.prices):
        rows = flat.first[layer] + np.arange(len(price))
        after = rest[layer + 1] if layer + 1 < len(rest) else 0
        total = spent[:, None, :] + price[None]
        prefix, option = np.nonzero((total + after <= limits).all(axis=2))
        chosen = rows[option]
        value = value[prefix] + matrix[chosen, chosen] + 2 * field[prefix, chosen]
        field = field[prefix] + matrix[chosen]
        spent = total[prefix, option]
        choices = np.column_stack([choices[prefix], option])
    return np.asarray(choices[int(np.argmin(value))]) if len(choices) else None
