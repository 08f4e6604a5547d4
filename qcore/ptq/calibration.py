"""Post-training (PTQ) calibration: activation ranges, and the correction of biases and norms.

`measure_ranges` fills one histogram per layer input. `Correction` re-estimates, for whatever
allocation is set, each channel's mean (bias correction) and, where a batch-norm was folded in, its
spread (batch-norm re-estimation): the quantized layer's outputs get the mean and standard deviation
the float layer has on the same images. Both end up in the layer's bias and scales, so they cost
nothing at run time. Positions that only pad a sample count nowhere.

With batch-norms layers are corrected in execution order, each on inputs that already are. Where
there are none this does harm: squared-error steps shrink the signal, and a mean that is restored on
inputs that have drifted, without their spread, makes samples look alike. There the biases can be
corrected on the float network's inputs (`ParallelShifts`). Which of CORRECTIONS a network gets is
measured (`qcore.ptq.choice`).

Reference: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
ICCV 2019, section 4.2 (empirical bias correction). Differs from the paper: the spread is matched
too, which on a folded network is what re-estimating batch-norm statistics does.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from qcore.allocation import BitAllocation
from qcore.errors import InvalidData
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.model import QuantizedModel
from qcore.ptq.parallel import ParallelShifts, counted_positions
from qcore.ptq.settings import NORMED, OFF, PARALLEL, SEQUENTIAL
from qcore.quantizers import Histogram
from qcore.trees import Tree, count, part

GAIN_LIMIT = 8.0

Targets = list[dict[str, list[tuple[Tensor, Tensor]]]]
"""For each batch, layer name to (mean, mean square), each (channels,), of each of its calls."""


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
def measure_ranges(model: QuantizedModel, batches: Sequence[Tree]) -> dict[str, Histogram]:
    """Fill `model.histograms` from the float network's inputs to each layer, and return them.

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
    masks: list[Tensor] = []

    def add(module: Any, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        if x.is_floating_point():
            x = module.counted(x, module.operation.channel_axis, masks)
        model.histograms[module.name].add(x)

    handles = [layer.register_forward_pre_hook(add) for layer in model.layers.values()]
    try:
        for batch in batches:
            masks[:] = counted_positions(batch)
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return model.histograms


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


def layer_correction(
    model: QuantizedModel,
    layer: QuantizedLayer,
    target: tuple[Tensor, Tensor],
    seen: tuple[Tensor, Tensor],
    *,
    gains: bool,
) -> tuple[Tensor | None, Tensor]:
    """Scale and bias of one layer whose inputs are the float network's, as this model corrects.

    Args:
        model: Says how.
        layer: The layer.
        target: Moments of its float output.
        seen: Moments of its quantized output before its bias.
        gains: Whether its weights have a scale that a gain can go into.
    """
    if model.correction == OFF:
        return None, layer.bias
    return gain_and_shift(target, seen, gains and model.correction != PARALLEL)


def matched_layers(model: QuantizedModel, how: str) -> set[str]:
    """Names of the layers that a correction matches to their targets, one after the other."""
    if how == SEQUENTIAL:
        return set(model.layers)
    if how != NORMED:
        return set()
    normed = {name for name, layer in model.layers.items() if layer.normed}
    # the spread of what those feed was restored, so that their own mean can be
    fed = {x.name for x in model.spec.layers if x.producers and normed.issuperset(x.producers)}
    return normed | fed


class Correction:
    """Corrects whatever allocation the model is switched to, on fixed images.

    Args:
        model: Switched to float here, to learn the targets.
        batches: The network's inputs; a few hundred samples in all are enough.
        how: Key of CORRECTIONS.
        known: What another one learned of this network, these batches and this correction.

    Attributes:
        targets: Moments of the float network's outputs that layers are matched to.
    """

    def __init__(
        self,
        model: QuantizedModel,
        batches: Sequence[Tree],
        how: str = SEQUENTIAL,
        known: Targets | None = None,
    ) -> None:
        self.model, self.batches, self.how = model, list(batches), how
        model.correction = how
        self._masks = [counted_positions(batch) for batch in self.batches]
        self._parallel = ParallelShifts(model, self.batches, self._masks)
        self.targets: Targets = [] if known is None else known
        self._matched = matched_layers(model, how)
        model.set_allocation(float_allocation(model))
        if known is not None:
            return
        for batch, masks in zip(self.batches if self._matched else (), self._masks, strict=False):
            self.targets.append({name: [] for name in model.layers})
            self._learn(batch, masks)

    @torch.inference_mode()
    def _run(self, batch: Tree, watch: object) -> None:
        for layer in self.model.layers.values():
            layer.watch = watch  # type: ignore[assignment]
        try:
            self.model(batch)
        finally:
            for layer in self.model.layers.values():
                layer.watch = None

    def _learn(self, batch: Tree, masks: Sequence[Tensor]) -> None:
        def learn(layer: QuantizedLayer, output: Tensor) -> Tensor:
            output = output + layer.per_channel(layer.bias, output)
            self.targets[-1][layer.name].append(layer.channel_moments(output, masks))
            return output

        self._run(batch, learn)

    def apply(self) -> None:
        """Correct every layer of the current allocation, at most one pass over the images."""
        if self.how == OFF:
            return
        others = [name for name in self.model.layers if name not in self._matched]
        shifts = self._parallel.of(self.model.allocation, others)
        for name, shift in shifts.items():
            self.model.layers[name].correct(None, shift)
        if self._matched:
            self._match(shifts)

    def _match(self, shifts: Mapping[str, Tensor]) -> None:
        sums: dict[str, list[Tensor]] = {}
        for batch, targets, masks in zip(self.batches, self.targets, self._masks, strict=True):
            waiting = {name: list(moments) for name, moments in targets.items()}

            def correct(
                layer: QuantizedLayer,
                output: Tensor,
                waiting: dict[str, list[tuple[Tensor, Tensor]]] = waiting,
                masks: Sequence[Tensor] = masks,
            ) -> Tensor:
                target = waiting[layer.name].pop(0)
                if layer.name in shifts:
                    return output + layer.per_channel(shifts[layer.name], output)
                seen = layer.channel_moments(output, masks)
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
