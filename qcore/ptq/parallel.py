"""Bias correction in parallel: what quantizing a layer changes on average of its float inputs.

Reference: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
ICCV 2019, section 4.2, b - E[W_hat x - W x], here with x from the float network. No layer's shift
depends on another layer's bits, so each (layer, bits) is measured once and serves every allocation.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits
from qcore.inputs import names_mask
from qcore.ptq.model import QuantizedModel
from qcore.trees import Tree

IN_FLOAT = LayerBits(FLOAT_BITS, FLOAT_BITS)


def counted_positions(batch: Tree) -> list[Tensor]:
    """The masks (n, positions) of a batch that say what counts, as booleans.

    A mask is an input whose name says so, of zeros and ones. Where two have one shape, nobody can
    tell which of them belongs to a layer's positions, and neither is used.
    """
    if not isinstance(batch, Mapping):
        return []
    masks = [
        values != 0
        for name, values in batch.items()
        if names_mask(name) and values.dim() == 2 and bool(((values == 0) | (values == 1)).all())
    ]
    shapes = [mask.shape for mask in masks]
    return [mask for mask in masks if shapes.count(mask.shape) == 1 and not bool(mask.all())]


class ParallelShifts:
    """Biases of quantized layers, corrected on the float network's inputs; each measured once.

    Args:
        model: Whose layers.
        batches: The network's inputs.
        masks: What counts of each batch, as `counted_positions` gives it.
    """

    def __init__(
        self, model: QuantizedModel, batches: Sequence[Tree], masks: Sequence[Sequence[Tensor]]
    ) -> None:
        self._model, self._batches, self._masks = model, batches, masks
        self._known: dict[tuple[str, LayerBits], Tensor] = {}

    def of(self, allocation: BitAllocation, names: Iterable[str]) -> dict[str, Tensor]:
        """Bias (channels,) of each of some layers; those left in float, and look-ups, keep theirs.

        Whatever is missing is measured in one pass of the float network; the model is left as
        `set_allocation` leaves it.
        """
        bits = dict(allocation.items())
        layers = self._model.layers
        wanted = [n for n in names if bits[n] != IN_FLOAT and not layers[n].operation.looks_up]
        missing = {n: bits[n] for n in wanted if (n, bits[n]) not in self._known}
        if missing:
            self._measure(missing)
            self._model.set_allocation(allocation)
        return {name: self._known[name, bits[name]] for name in wanted}

    @torch.inference_mode()
    def _measure(self, missing: Mapping[str, LayerBits]) -> None:
        model = self._model
        sums: dict[str, Tensor] = {}
        weights: dict[str, int] = {}
        masks: list[Tensor] = []

        def compare(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x, bits = inputs[0], missing[module.name]
            if not x.is_floating_point():
                return
            grid = model.activation_grid(module.name, bits.activation)
            weight = model.prepared_weight(module.name, bits.weight)
            seen = module.operation.call(x if grid is None else grid.quantize(x), weight, None)
            wanted, _ = module.channel_moments(output, masks)
            found, _ = module.channel_moments(seen, masks)
            size = output.numel()
            kept = sums.get(module.name, torch.zeros_like(module.bias))
            sums[module.name] = kept + (wanted - found) * size
            weights[module.name] = weights.get(module.name, 0) + size

        model.set_allocation(BitAllocation.uniform(model.spec.layers, FLOAT_BITS))
        handles = [model.layers[name].register_forward_hook(compare) for name in missing]
        try:
            for batch, counted in zip(self._batches, self._masks, strict=True):
                masks[:] = counted
                model(batch)
        finally:
            for handle in handles:
                handle.remove()
        for name, bits in missing.items():
            # a layer that no sample reached, or that only looked ids up, keeps its bias
            total = sums.get(name)
            bias = model.layers[name].bias
            self._known[name, bits] = bias if total is None else total / weights[name]
