"""Which exchange to measure next: layers trading bits under a cost limit, best predicted first.

Every sensitivity takes part as a quadratic form over flat rows (see `quadratic`); an additive score
is the form that has it on its diagonal. Forms disagree about units and scale, so each predicts a
*relative* change of the damage it predicts now, and these are averaged. What measurements said
otherwise is kept as a correction of each row (`learn`), so that no exchange is proposed twice in
other words.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from qcore.solvers.quadratic import Flat, allowed_exchanges, form_changes, form_value

BELIEVED = 0.5
"""Share of the difference from a measurement by which predictions are corrected: what one exchange
says of a layer's bits holds only in part beside other bits of other layers."""


def predicted_changes(
    flat: Flat,
    forms: Mapping[str, np.ndarray],
    trust: Mapping[str, float],
    rows: np.ndarray,
    learned: np.ndarray | None = None,
) -> np.ndarray:
    """Predicted change of every exchange, as a share of the damage now; lower is better.

    Args:
        flat: The options.
        forms: Kind of sensitivity to its predicted damage, shape (rows, rows).
        trust: Kind to the weight of its predictions, above 0.
        rows: Chosen row of each layer.
        learned: Correction of each row, in the same share, shape (rows,); None for none.

    Returns:
        Shape (rows, rows), as `form_changes` gives it.
    """
    size = len(flat.owner)
    predicted = np.zeros((size, size))
    for kind, form in forms.items():
        scale = max(abs(form_value(form, rows)), 1e-9 * float(np.abs(form).max()), 1e-300)
        predicted += trust[kind] * form_changes(flat, form, rows) / scale
    predicted /= sum(trust[kind] for kind in forms)
    if learned is not None:
        moved = learned - learned[rows[flat.owner]]
        single = predicted.diagonal() + moved
        predicted += moved[:, None] + moved[None, :]
        np.fill_diagonal(predicted, single)
    return predicted


def ranked_exchanges(
    flat: Flat,
    forms: Mapping[str, np.ndarray],
    trust: Mapping[str, float],
    rows: np.ndarray,
    limits: np.ndarray,
    learned: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Yield the choices one exchange away within limits, largest predicted gain first.

    An exchange gives one layer, or two layers at once, other bits.

    Args:
        flat: The options.
        forms: Kind of sensitivity to its predicted damage, shape (rows, rows).
        trust: Kind to the weight of its predictions, above 0.
        rows: Chosen row of each layer.
        limits: Most that each cost may be, shape (costs,), without the fixed part.
        learned: As for `predicted_changes`.

    Yields:
        Chosen row of each layer after the exchange; never `rows` itself, none twice.
    """
    predicted = predicted_changes(flat, forms, trust, rows, learned)
    allowed = np.triu(allowed_exchanges(flat, rows, limits))
    # a row in use stands for "no change": as a pair with it, a single change would come twice
    allowed[rows, :] = allowed[:, rows] = False
    first, second = np.nonzero(allowed)
    for index in np.argsort(predicted[first, second], kind="stable"):
        pair = [first[index], second[index]]
        changed = rows.copy()
        changed[flat.owner[pair]] = pair
        yield changed


def learn(
    learned: np.ndarray,
    predicted: np.ndarray,
    rows: np.ndarray,
    after: np.ndarray,
    change: float,
) -> None:
    """Correct the rows of an exchange by what was measured of it, half each where it has two.

    Args:
        learned: Correction of each row, shape (rows,); changed in place.
        predicted: What `predicted_changes` said of it, shape (rows, rows).
        rows: Chosen row of each layer before the exchange.
        after: The same after it.
        change: Measured change, as a share of the damage before it.
    """
    new = after[after != rows]
    learned[new] += BELIEVED * (change - predicted[new[0], new[-1]]) / len(new)


def handful(candidates: Iterator[np.ndarray], rows: np.ndarray, most: int) -> list[np.ndarray]:
    """Take the first candidates that differ in what they change, at most `most`.

    The best predicted exchanges tend to be one wrong guess in many variants; measuring different
    changes side by side finds that out for the price of one.
    """
    taken: list[np.ndarray] = []
    used: set[int] = set()
    for candidate in candidates:
        if len(taken) == most:
            break
        changed = set(candidate[candidate != rows].tolist())
        if used.isdisjoint(changed):
            taken.append(candidate)
            used |= changed
    return taken
