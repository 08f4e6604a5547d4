"""Looks a layer up in an accelerator's table: shape, weight bits, activation bits. Torch-free.

A tensor left in float counts as 16 bits wide, the accelerators' native word: they have no floating
point. Narrower numbers may always be kept in wider slots, so a layer costs the least that the table
lists for its bits or any wider ones; that also fills in widths the table was not made for.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from qcore.allocation import LayerBits, LayerSpec, ModelSpec
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
    """

    accelerator: str
    column: int
    title: str
    unit: str
    name: str
    formula: str


_HOW = (
    "for one sample, sum over layers of a table made by ZigZag (Mei et al. 2021), the loop order "
    "searched for each layer and bit pair (Klhufek et al. 2024); float counts as 16 bits"
)

ACCELERATOR_COSTS = tuple(
    Quantity(chip, column, f"{words} {what.lower()}", unit, f"{short}_{key}", f"{what} {_HOW}")
    for chip, short, words in (
        ("eyeriss_like", "eyeriss", "Eyeriss-like"),
        ("simba_like", "simba", "Simba-like"),
    )
    for column, what, unit, key in (
        (0, "Energy", "pJ", "energy_pj"),
        (1, "Latency", "cycles", "latency_cycles"),
    )
)
"""Energy and latency of each accelerator, in the order of COSTS."""


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


def price_on(quantity: Quantity, layer: LayerSpec, bits: LayerBits) -> int:
    """Price a layer: the least listed for its bits or wider ones, or UNKNOWN."""
    return _least(_rows(quantity, layer), _native(bits.weight), _native(bits.activation))


def smooth_price_on(
    quantity: Quantity, layer: LayerSpec, weight_bits: Any, activation_bits: Any
) -> Any:
    """The same at bits that need not be whole: a line between widths that the table lists."""
    rows = _rows(quantity, layer)
    return interpolated(partial(_least, rows), rows, _native(weight_bits), _native(activation_bits))


def rounding_on(quantity: Quantity, layer: LayerSpec, bits: LayerBits) -> float:
    """How far the line can be from the exact price; 0 at widths that the table lists."""
    rows = _rows(quantity, layer)
    return spread(partial(_least, rows), rows, _native(bits.weight), _native(bits.activation))


def _native(bits: Any) -> Any:
    return NATIVE_BITS if bits >= NATIVE_BITS else bits


def _rows(quantity: Quantity, layer: LayerSpec) -> Mapping[tuple[int, int], int]:
    """(Weight bits, activation bits) to the price, as listed for the layer's shape."""
    shape = shape_of(layer)
    entries = read_table(quantity.accelerator).get(shape.key, {}) if shape else {}
    return {pair: row[quantity.column] for pair, row in entries.items()}


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
