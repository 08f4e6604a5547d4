"""Prices of one model's layers, each computed once. Torch-free.

Thousands of allocations of one model are priced whenever a page is drawn; a layer has few options,
so that looking prices up beats computing them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import ref

import numpy as np

from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec

if TYPE_CHECKING:
    from qcore.costs.formulas import CostModel

KEPT = 16
"""Models whose prices are remembered."""


@dataclass(frozen=True)
class PriceTable:
    """What layers cost at the bits asked for so far.

    Attributes:
        model: The model's layers and constant parts, held weakly.
        costs: The cost models, one column each.
        fixed: Per cost, what no bit-width changes, shape (costs,).
        largest: Per cost, whether layers combine by maximum, shape (costs,).
        rows: Per layer, {bits: prices of shape (costs,)}; grows when asked.
    """

    model: "ref[ModelSpec]"
    costs: "tuple[CostModel, ...]"
    fixed: np.ndarray
    largest: np.ndarray
    rows: dict[str, dict[LayerBits, np.ndarray]] = field(default_factory=dict)

    def totals(self, model: ModelSpec, allocation: Mapping[str, LayerBits]) -> list[int]:
        """Price an allocation of all layers by each cost, in the costs' units."""
        prices = np.zeros((max(1, len(model.layers)), len(self.costs)), np.int64)
        for place, layer in enumerate(model.layers):
            bits = allocation[layer.name]
            row = self.rows.setdefault(layer.name, {})
            if bits not in row:
                row[bits] = np.array([c.layer_cost(layer, bits) for c in self.costs], np.int64)
            prices[place] = row[bits]
        combined = np.where(self.largest, prices.max(axis=0), prices.sum(axis=0))
        return [int(total) for total in combined + self.fixed]

    def totals_of(self, model: ModelSpec, weight: np.ndarray, activation: np.ndarray) -> np.ndarray:
        """Price many allocations at once.

        Args:
            model: As in `totals`.
            weight: Weight bits (allocations, layers), as `bits_matrices` gives them.
            activation: Activation bits, the same.

        Returns:
            int64 (allocations, costs), in the costs' units.
        """
        combined = np.zeros((len(weight), len(self.costs)), np.int64)
        for at, layer in enumerate(model.layers):
            row = self.rows.setdefault(layer.name, {})
            codes, where = np.unique((weight[:, at] << 8) + activation[:, at], return_inverse=True)
            prices = np.zeros((len(codes), len(self.costs)), np.int64)
            for place, code in enumerate(codes.tolist()):
                bits = LayerBits(code >> 8, code & 255)
                if bits not in row:
                    row[bits] = np.array([c.layer_cost(layer, bits) for c in self.costs], np.int64)
                prices[place] = row[bits]
            mine = prices[where]
            combined = np.where(self.largest, np.maximum(combined, mine), combined + mine)
        return combined + self.fixed


def bits_matrices(
    layers: Sequence[LayerSpec], allocations: Sequence[BitAllocation]
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and activation widths of many allocations at once, int64 (allocations, layers) each.

    They are members of BIT_WIDTHS; `stored_matrix` makes numbers of bits of them.

    Raises:
        KeyError: an allocation lacks a layer; check names first.
    """
    shape = len(allocations), len(layers)
    weight, activation = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    names = [layer.name for layer in layers]
    for place, allocation in enumerate(allocations):
        chosen = [allocation[name] for name in names]
        weight[place] = [each.weight for each in chosen]
        activation[place] = [each.activation for each in chosen]
    return weight, activation


_TABLES: dict[int, PriceTable] = {}


def price_table(model: ModelSpec, costs: "tuple[CostModel, ...]") -> PriceTable:
    """Return the table of a model's prices, made on first use and whenever the costs change."""
    kept = _TABLES.get(id(model))
    if kept is not None and kept.model() is model and kept.costs == costs:
        return kept
    table = PriceTable(
        ref(model),
        costs,
        np.array([cost.fixed(model) for cost in costs], np.int64),
        np.array([cost.reduce == "max" for cost in costs]),
    )
    while len(_TABLES) >= KEPT:
        # another thread may have removed it meanwhile
        _TABLES.pop(next(iter(_TABLES)), None)
    _TABLES[id(model)] = table
    return table
