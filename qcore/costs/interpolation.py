"""Prices of a table between the widths it lists, by arithmetic that keeps gradients. Torch-free.

A table prices whole widths, and often few of them. Between two widths with a row the price is a
straight line, in weight and in activation bits alike; at a width with a row it is the table's own,
and its slope there is that of the line below, because limits only ever pull bits down. Widths below
the first row run as that row, so nothing is gained there. Above the last row nothing is listed: the
line leads up to whatever the exact price is at the next whole width.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from qcore.allocation import BIT_WIDTHS, FLOAT_BITS, HALF_WIDTHS


def interpolated(
    price: Callable[[int, int], int],
    rows: Collection[tuple[int, int]],
    weight_bits: Any,
    activation_bits: Any,
) -> Any:
    """Price at bits that need not be whole.

    Args:
        price: (weight bits, activation bits) to the exact price at whole widths.
        rows: The pairs of widths that the table lists.
        weight_bits: A number, or a tensor of shape (), whose gradient goes through the result.
        activation_bits: The same.

    Returns:
        The bilinear interpolation; a plain number where both are.
    """
    (low, high), (below, above) = _around(rows, weight_bits, activation_bits)
    share, part = _share(weight_bits, low, high), _share(activation_bits, below, above)
    narrow = price(low, below) * (1 - part) + price(low, above) * part
    wide = price(high, below) * (1 - part) + price(high, above) * part
    return narrow * (1 - share) + wide * share


def spread(
    price: Callable[[int, int], int],
    rows: Collection[tuple[int, int]],
    weight_bits: int,
    activation_bits: int,
) -> int:
    """Most that `interpolated` can be from the exact price at whole widths.

    0 where both widths have a row; else the distance to the furthest of the neighbours.
    """
    exact = price(weight_bits, activation_bits)
    weights, inputs = _around(rows, weight_bits, activation_bits)
    if weight_bits in weights and activation_bits in inputs:
        return 0
    return max(abs(price(w, a) - exact) for w in weights for a in inputs)


def _around(
    rows: Collection[tuple[int, int]], weight_bits: Any, activation_bits: Any
) -> tuple[tuple[int, int], tuple[int, int]]:
    weights, inputs = zip(*rows, strict=True) if rows else ((), ())
    return _neighbours(weights, weight_bits), _neighbours(inputs, activation_bits)


def _neighbours(listed: Iterable[int], bits: Any) -> tuple[int, int]:
    """Widths below and from `bits` on; twice the same where there is none below."""
    widths = sorted(set(listed))
    below = [width for width in widths if width < bits]
    above = [width for width in widths if width >= bits]
    above = above or [w for w in BIT_WIDTHS if w >= bits and w not in HALF_WIDTHS]
    high = above[0] if above else FLOAT_BITS
    return (below[-1] if below else high), high


def _share(bits: Any, low: int, high: int) -> Any:
    """How far from `low` to `high`, 0..1."""
    return (bits - low) / (high - low) if high > low else 1
