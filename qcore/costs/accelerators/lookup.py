"""Looks a layer up in an accelerator's table: shape, weight bits, activation bits. Torch-free.

A tensor left in float counts as 16 bits wide, the accelerators' native word: they have no floating
point. Narrower numbers may always be kept in wider slots, so a layer costs the least that the table
lists for its bits or any wider ones; that also fills in widths the table was not made for.

Values that are not split between two memory words take a slot each: a word holds floor(word / bits)
of them (Klhufek et al. 2024), so bits b take word / floor(word / b). In words of 16 bits 6 and 7
take 8, 5 take 5 1/3, 3 take 3 1/5, and layers cost what the table says of slots that wide; a slot
between two whole widths is on the straight line between them.
"""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

from qcore.allocation import LayerBits, LayerSpec, ModelSpec, stored_bits
from qcore.costs.accelerators.shapes import shape_of
from qcore.costs.interpolation import interpolated, spread
from qcore.errors import InvalidConfig

FOLDER = Path(__file__).parent / "tables"
NATIVE_BITS = 16
"""Width that a tensor in float takes on an accelerator."""

UNKNOWN = 10**15
"""Price of what a table lacks; equals `qcore.costs.UNPRICED`."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One column of a table.

    Attributes:
        accelerator: Name of the table.
        column: 0 for energy, 1 for latency.
        title: What axes and sliders call it.
        unit: "pJ" or "cycles".
        name: Key in COSTS.
        formula: Where it comes from, in ASCII.
        word: Bits of a memory word between two of which no value is split; None where values lie
            densely.
    """

    accelerator: str
    column: int
    title: str
    unit: str
    name: str
    formula: str
    word: int | None = None


_HOW = (
    "for one sample, sum over layers of a table made by ZigZag (Mei et al. 2021), the loop order "
    "searched for each layer and bit pair (Klhufek et al. 2024); float counts as 16 bits; "
)
_DENSE = "values lie densely, also across memory words"
_SLOTS = (
    f"no value is split between two memory words of {NATIVE_BITS} bits, so that b bits take "
    f"{NATIVE_BITS} / floor({NATIVE_BITS} / b): 6, 7 and 8 cost the same"
)

ACCELERATOR_COSTS = tuple(
    Quantity(
        chip,
        column,
        f"{words} {what.lower()}{f', {word}-bit words' if word else ''}",
        unit,
        f"{short}_packed{word}_{key}" if word else f"{short}_{key}",
        f"{what} {_HOW}{_SLOTS if word else _DENSE}",
        word,
    )
    for word in (None, NATIVE_BITS)
    for chip, short, words in (
        ("eyeriss_like", "eyeriss", "Eyeriss-like"),
        ("simba_like", "simba", "Simba-like"),
    )
    for column, what, unit, key in (
        (0, "Energy", "pJ", "energy_pj"),
        (1, "Latency", "cycles", "latency_cycles"),
    )
)
"""Energy and latency of each accelerator, in the order of COSTS: values packed densely, then not
split between words of the accelerators' native width."""


@cache
def read_table(accelerator: str) -> Mapping[str, Mapping[tuple[int, int], tuple[int, int]]]:
    """Shape key to {(weight bits, activation bits): (pJ, cycles)}; empty without the file.

    Raises:
        InvalidConfig: the file is damaged.
    """
    path = FOLDER / f"{accelerator}.json"
    if not path.is_file():
        return {}
    try:
        shapes: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["shapes"]
        return {
            key: {_pair(bits): (int(row[0]), int(row[1])) for bits, row in entries.items()}
            for key, entries in shapes.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidConfig(f"{path.name} is damaged ({error}). Restore it.") from error


def _pair(bits: str) -> tuple[int, int]:
    weight, activation = bits.split(",")
    return int(weight), int(activation)


def slot_of(bits: int, word: int) -> Fraction:
    """Bits that a value takes in words between two of which none is split.

    Example:
        >>> [str(slot_of(bits, 16)) for bits in (2, 3, 4, 5, 6, 7, 8)]
        ['2', '16/5', '4', '16/3', '8', '8', '8']
    """
    fitting = word // bits
    return Fraction(word, fitting) if fitting else Fraction(-(-bits // word) * word)


def price_on(quantity: Quantity, layer: LayerSpec, bits: LayerBits) -> int:
    """Price a layer: the least listed for its bits or wider ones, or UNKNOWN."""
    return _price(
        quantity, _rows(quantity, layer), stored_bits(bits.weight), stored_bits(bits.activation)
    )


def smooth_price_on(
    quantity: Quantity, layer: LayerSpec, weight_bits: Any, activation_bits: Any
) -> Any:
    """The same at bits that need not be whole: a line between widths that the table lists.

    Where no value is split, between the widest of each slot: the line falls with every bit also
    within a plateau, from whose end the next cheaper width could not be felt otherwise.
    """
    rows = _rows(quantity, layer)
    price = partial(_price, quantity, rows)
    return interpolated(
        price, _ends(quantity, rows), _native(weight_bits), _native(activation_bits)
    )


def rounding_on(quantity: Quantity, layer: LayerSpec, bits: LayerBits) -> float:
    """How far the line can be from the exact price; 0 at widths that it goes through."""
    rows = _rows(quantity, layer)
    price = partial(_price, quantity, rows)
    widths = _native(stored_bits(bits.weight)), _native(stored_bits(bits.activation))
    return spread(price, _ends(quantity, rows), *widths)


def _native(bits: Any) -> Any:
    return NATIVE_BITS if bits >= NATIVE_BITS else bits


def _rows(quantity: Quantity, layer: LayerSpec) -> Mapping[tuple[int, int], int]:
    """(Weight bits, activation bits) to the price, as listed for the layer's shape."""
    shape = shape_of(layer)
    entries = read_table(quantity.accelerator).get(shape.key, {}) if shape else {}
    return {pair: row[quantity.column] for pair, row in entries.items()}


def _ends(quantity: Quantity, rows: Mapping[tuple[int, int], int]) -> Collection[tuple[int, int]]:
    """Widths that the smooth price goes through: those listed, of each slot the widest."""
    word = quantity.word
    if word is None:
        return rows
    return [pair for pair in rows if all(slot_of(b, word) < slot_of(b + 1, word) for b in pair)]


def _price(
    quantity: Quantity, rows: Mapping[tuple[int, int], int], weight: int, activation: int
) -> int:
    widths = _native(weight), _native(activation)
    if quantity.word is None:
        return _least(rows, *widths)
    slots = [min(slot_of(bits, quantity.word), Fraction(NATIVE_BITS)) for bits in widths]
    (low, below), (high, above) = map(math.floor, slots), map(math.ceil, slots)
    if _least(rows, high, above) >= UNKNOWN:
        return UNKNOWN
    corners = [(low, below), (high, above)]
    return math.ceil(interpolated(partial(_least, rows), corners, *slots))


def _least(rows: Mapping[tuple[int, int], int], weight: int, activation: int) -> int:
    wider = (price for (w, a), price in rows.items() if w >= weight and a >= activation)
    return min(wider, default=UNKNOWN)


def refusal_on(quantity: Quantity, model: ModelSpec) -> str | None:
    """Say which layers the table lacks; None where it has all of them."""
    widest = LayerBits(32, 32)
    lacking = [layer.name for layer in model.layers if price_on(quantity, layer, widest) >= UNKNOWN]
    if not lacking:
        return None
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return (
        f"the {quantity.accelerator} table has no entry for layers of the shape of "
        f"{', '.join(lacking[:3])}{more}"
    )
