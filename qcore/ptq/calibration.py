"""Post-training (PTQ) calibration: activation ranges, and the correction of biases and norms.

`measure_ranges` fills one histogram per layer input. `Correction` re-estimates, for whatever
allocation is set, each channel's mean (bias correction) and, where a batch-norm was folded in, its
spread (batch-norm re-estimation): the quantized layer's outputs get the mean and standard deviation
the float layer has on the same images. Both end up in the layer's bias and scales, so they cost
nothing at run time. Layers are corrected in execution order, each on inputs that already are.

Reference: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
ICCV 2019, section 4.2 (empirical bias correction). Differs from the paper: the spread is matched
too, which on a folded network is what re-estimating batch-norm statistics does.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from qcore.allocation import BitAllocation
from qcore.errors import InvalidData
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.quantizers import Histogram
from qcore.trees import Tree, count, part

GAIN_LIMIT = 8.0


def float_allocation(model: QuantizedModel) -> BitAllocation:
    """Every layer left in float."""
    return BitAllocation.uniform(model.spec.layers, 32)


def first_images(
    batches: Sequence[tuple[Tree, Tensor | None]], most: int
) -> Iterator[tuple[Tree, Tensor | None]]:
    """The leading `most` samples of some batches, or all of them where there are fewer."""
    left = most
    for x, y in batches:
        if left <= 0:
            return
        yield part(x, slice(left)), None if y is None else y[:left]
        left -= count(x)


@torch.inference_mode()
def measure_ranges(model: QuantizedModel, batches: Sequence[Tree]) -> None:
    """Fill `model.histograms` from the float network's inputs to each layer.

    Args:
        model: Switched to float here.
        batches: The network's inputs, as normalised images (n, channels, h, w).

    Raises:
        InvalidData: no samples, or an activation is NaN or infinite.
    """
    if not batches:
        raise InvalidData("Calibration needs at least one sample; got none.")
    model.set_allocation(float_allocation(model))
    model.histograms = {name: Histogram() for name in model.layers}
    handles = [
        layer.register_forward_pre_hook(
            lambda module, inputs: model.histograms[module.name].add(inputs[0])
        )
        for layer in model.layers.values()
    ]
    try:
        for batch in batches:
            model(batch)
    finally:
        for handle in handles:
            handle.remove()


def gain_and_shift(
    target: tuple[Tensor, Tensor], seen: tuple[Tensor, Tensor], normed: bool
) -> tuple[Tensor | None, Tensor]:
    """Scale and bias that give `seen` outputs the mean, and if normed the spread, of `target`.

    Args:
        target: Mean and mean square of each channel of the float layer's output.
        seen: The same of the quantized layer's output before its bias.
        normed: Whether the spread may be matched too.

    Returns:
        Gain (channels,) or None, and shift (channels,): output = gain * seen + shift.
    """
    if not normed:
        return None, target[0] - seen[0]
    wanted = (target[1] - target[0].square()).clamp_min(0)
    variance = (seen[1] - seen[0].square()).clamp_min(0)
    floor = 1e-6 * wanted.mean() + torch.finfo(wanted.dtype).tiny
    gain = ((wanted + floor) / (variance + floor)).sqrt().clamp(1 / GAIN_LIMIT, GAIN_LIMIT)
    return gain, target[0] - gain * seen[0]


class Correction:
    """Corrects whatever allocation the model is switched to, on fixed images.

    Args:
        model: Switched to float here, to learn the targets.
        batches: The network's inputs; a few hundred samples in all are enough.
    """

    def __init__(self, model: QuantizedModel, batches: Sequence[Tree]) -> None:
        self.model, self.batches = model, list(batches)
        self._targets: list[dict[str, list[tuple[Tensor, Tensor]]]] = []
        model.set_allocation(float_allocation(model))
        for batch in self.batches:
            self._targets.append({name: [] for name in model.layers})
            self._run(batch, self._learn)

    @torch.inference_mode()
    def _run(self, batch: Tree, watch: object) -> None:
        for layer in self.model.layers.values():
            layer.watch = watch  # type: ignore[assignment]
        try:
            self.model(batch)
        finally:
            for layer in self.model.layers.values():
                layer.watch = None

    def _learn(self, layer: QuantizedLayer, output: Tensor) -> Tensor:
        output = output + layer.per_channel(layer.bias, output)
        self._targets[-1][layer.name].append(layer.channel_moments(output))
        return output

    def apply(self) -> None:
        """Correct every layer of the current allocation, one pass over the images."""
        sums: dict[str, list[Tensor]] = {}
        for batch, targets in zip(self.batches, self._targets, strict=True):
            waiting = {name: list(moments) for name, moments in targets.items()}

            def correct(
                layer: QuantizedLayer,
                output: Tensor,
                waiting: dict[str, list[tuple[Tensor, Tensor]]] = waiting,
            ) -> Tensor:
                target = waiting[layer.name].pop(0)
                seen = layer.channel_moments(output)
                row = torch.stack([*target, *seen])
                sums.setdefault(layer.name, []).append(row)
                gain, shift = gain_and_shift(target, seen, layer.gains)
                moved = layer.per_channel(shift, output)
                if gain is None:
                    return output + moved
                return torch.addcmul(moved, output, layer.per_channel(gain, output))

            self._run(batch, correct)
        for name, rows in sums.items():
            layer = self.model.layers[name]
            mean = torch.stack(rows).mean(0)
            gain, shift = gain_and_shift((mean[0], mean[1]), (mean[2], mean[3]), layer.gains)
            layer.correct(gain, shift)
