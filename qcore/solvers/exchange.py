"""Which exchange to measure next: layers trading bits under a cost limit, best predicted first.

Every sensitivity takes part as a quadratic form over flat rows (see `quadratic`); an additive score
is the form that has it on its diagonal. Forms disagree about units and scale, so each predicts a
*relative* change of the damage it predicts now, and these are averaged.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from qcore.solvers.quadratic import Flat, allowed_exchanges, form_changes, form_value


def ranked_exchanges(
    flat: Flat,
    forms: Mapping[str, np.ndarray],
    trust: Mapping[str, float],
    rows: np.ndarray,
    limits: np.ndarray,
) -> Iterator[np.ndarray]:
    """Yield the choices one exchange away within limits, largest predicted gain first.

    An exchange gives one layer, or two layers at once, other bits.

    Args:
        flat: The options.
        forms: Kind of sensitivity to its predicted damage, shape (rows, rows).
        trust: Kind to the weight of its predictions, above 0.
        rows: Chosen row of each layer.
        limits: Most that each cost may be, shape (costs,), without the fixed part.

    Yields:
        Chosen row of each layer after the exchange; never `rows` itself, none twice.
    """
    predicted = np.zeros((len(flat.owner), len(flat.owner)))
    for kind, form in forms.items():
        scale = max(abs(form_value(form, rows)), 1e-9 * float(np.abs(form).max()), 1e-300)
        predicted += trust[kind] * form_changes(flat, form, rows) / scale
    allowed = np.triu(allowed_exchanges(flat, rows, limits))
    # a row in use stands for "no change": as a pair with it, a single change would come twice
    allowed[rows, :] = allowed[:, rows] = False
    first, second = np.nonzero(allowed)
    for index in np.argsort(predicted[first, second], kind="stable"):
        pair = [first[index], second[index]]
        changed = rows.copy()
        changed[flat.owner[pair]] = pair
        yield changed


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
