"""The squared error of each layer's output at some widths, on the float network's inputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from qcore.ptq.calibration import float_allocation
from qcore.ptq.model import QuantizedModel
from qcore.ptq.parallel import counted_positions
from qcore.sensitivity.gradient import output_change
from qcore.trees import Tree


@torch.no_grad()
def output_errors(
    model: QuantizedModel, batches: Sequence[Tree], weight_bits: Sequence[int]
) -> dict[tuple[str, int], float]:
    """Sum of squared changes of each layer's output where its weights alone have these bits.

    Args:
        model: Left in float.
        batches: The network's inputs; one pass over them answers for all layers and widths.
        weight_bits: The widths.

    Returns:
        (layer name, bits) to the sum over calls, samples, places that count and channels, of the
        layer corrected as the model is; layers that no sample reached are absent.
    """
    sums: dict[tuple[str, int], float] = {}
    masks: list[Tensor] = []

    def add(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        for bits in weight_bits:
            change = output_change(model, layer, "weight", bits, inputs[0], output, masks)
            counted = layer.counted(change, layer.operation.channel_axis, masks)
            key = (layer.name, bits)
            sums[key] = sums.get(key, 0.0) + float(counted.square().sum())

    model.set_allocation(float_allocation(model))
    handles = [layer.register_forward_hook(add) for layer in model.layers.values()]
    try:
        for batch in batches:
            masks[:] = counted_positions(batch)
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return sums
