"""Label-free tuning of a quantized model: scales and biases learn the float network's outputs.

The integer codes stay as they are; each channel's scale (and with it a folded norm) and bias follow
the gradient of the KL divergence to the float network on the calibration images. It needs no
labels and a few hundred steps, and below three bits it is worth more than any allocator.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from qcore.ptq.calibration import float_allocation
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.ptq.settings import TuningParams


def tune(
    model: QuantizedModel,
    batches: Sequence[tuple[Tensor, Tensor | None]],
    params: TuningParams,
) -> None:
    """Tune the current allocation in place; read the result with `model.state()`.

    Args:
        model: Switched to the allocation and corrected.
        batches: Calibration images; labels are not looked at.
        params: Settings.
    """
    images = torch.cat([x for x, _ in batches])
    allocation, state = model.allocation, model.state()
    with torch.no_grad():
        model.set_allocation(float_allocation(model))
        teacher = torch.cat([functional.log_softmax(model(x), 1) for x, _ in batches])
    model.load_state(allocation, state)
    gains, shifts = {}, {}
    # scales of rows that are looked up are not felt in the outputs of a product
    kinds = {layer.name: layer.kind for layer in model.spec.layers}
    tuned = {n: x for n, x in model.layers.items() if not kinds[n].endswith("embedding")}
    for name, layer in tuned.items():
        start = torch.ones_like(layer.bias) if layer.gain is None else layer.gain
        gains[name] = start.clone().requires_grad_(True)
        shifts[name] = layer.shift.clone().requires_grad_(True)

    def scaled(layer: QuantizedLayer, output: Tensor) -> Tensor:
        # scaling outputs instead of weights gives the same gradient without a weight gradient
        gain = layer.per_channel(gains[layer.name], output)
        return output * gain + layer.per_channel(shifts[layer.name], output)

    optimizer = torch.optim.Adam([*gains.values(), *shifts.values()], lr=params.rate)
    generator = torch.Generator().manual_seed(params.seed)
    order = torch.empty(0, dtype=torch.long)
    for layer in model.layers.values():
        layer.watch = scaled
    try:
        for step in range(params.steps):
            while len(order) < params.batch_images:
                order = torch.cat([order, torch.randperm(len(images), generator=generator)])
            index, order = order[: params.batch_images], order[params.batch_images :]
            for group in optimizer.param_groups:
                group["lr"] = params.rate * 0.5 * (1 + math.cos(math.pi * step / params.steps))
            logs = functional.log_softmax(model(images[index]), 1)
            loss = functional.kl_div(logs, teacher[index], reduction="batchmean", log_target=True)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        for layer in model.layers.values():
            layer.watch = None
    for name, layer in tuned.items():
        layer.correct(gains[name].detach(), shifts[name].detach())
