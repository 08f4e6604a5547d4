"""Layers that quantize their weights and input while they are trained (fake quantization)."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS, LayerBits
from qcore.errors import NotCalibrated
from qcore.network.operation import operation_of, to_rows
from qcore.quantizers import ActivationGrid, Histogram, LearnedQuantizer, mse_grid

SMALLEST_SCALE = 1e-4


class QatLayer(nn.Module):
    """What layers of every way to train have in common: float weights, and an operation.

    Args:
        name: Dotted module path in the model.
        module: The float layer; copied.

    Attributes:
        name: Dotted module path in the model.
        operation: How it is applied.
        weight: Float weight, trained.
        bias: Float bias, trained; None where the layer has none.
    """

    bias: nn.Parameter | None

    def __init__(self, name: str, module: Any) -> None:
        super().__init__()
        self.name, self.operation = name, operation_of(module)
        self.weight = nn.Parameter(module.weight.detach().clone().float())
        self.bias = None
        if getattr(module, "bias", None) is not None:
            self.bias = nn.Parameter(module.bias.detach().clone().float())

    def start_scales(self, options: Iterable[LayerBits], histogram: Histogram) -> None:
        """Begin what quantizes, from the weights and the histogram of the input."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Put what was trained back where it is allowed."""
        raise NotImplementedError


class TrainableLayer(QatLayer):
    """A layer at bits that are given, with a learned scale for each of them.

    Attributes:
        scales: "w2", "a4", ... to the scale () of weights or input at these bits; "w" and "a"
            where one scale serves all widths. Of nested codes "w" and "g2", ...: the scale of all
            widths, and the gain () of each.
        grids: Bits to the codes of the input at these bits.
        trained: Keys of the scales that a training step has changed.
        used: Keys of the scales of this training step so far.
        bits: The bits in use.
        float_weights: Whether weights stay in float whatever their bits, as while only inputs are
            trained to be quantized.
    """

    def __init__(
        self, name: str, module: Any, quantizer: LearnedQuantizer, one_clip: int | None
    ) -> None:
        super().__init__(name, module)
        self.quantizer, self.one_clip = quantizer, one_clip
        self.scales = nn.ParameterDict()
        self.grids: dict[int, ActivationGrid] = {}
        self.trained: set[str] = set()
        self.used: set[str] = set()
        self.bits = LayerBits(FLOAT_BITS)
        self.float_weights = False

    def key(self, part: str, bits: int) -> str:
        """Key in `scales` of part "w" or "a" at these bits."""
        shared = self.one_clip is not None or (part == "w" and self.quantizer.nests)
        return part if shared else f"{part}{bits}"

    def keys(self, part: str, bits: int) -> tuple[str, ...]:
        """Keys of all in `scales` that part "w" or "a" uses at these bits."""
        gained = part == "w" and self.quantizer.nests
        return (self.key(part, bits), f"g{bits}") if gained else (self.key(part, bits),)

    def set_bits(self, bits: LayerBits) -> None:
        """Switch.

        Raises:
            NotCalibrated: there is no scale for these bits yet.
        """
        for part, width in (("w", bits.weight), ("a", bits.activation)):
            kept = all(key in self.scales for key in self.keys(part, width))
            known = kept and (part == "w" or width in self.grids)
            if width != FLOAT_BITS and not known:
                what = "weights" if part == "w" else "input"
                raise NotCalibrated(
                    f"The {what} of layer {self.name!r} have no scale for {width} bits: give these "
                    "bits among the options and start the scales before training."
                )
        self.bits = bits

    def start_scales(self, options: Iterable[LayerBits], histogram: Histogram) -> None:
        """Begin the scales of all these bits that were never trained."""
        options = list(options)
        weights = sorted({o.weight for o in options} - {FLOAT_BITS})
        inputs = sorted({o.activation for o in options} - {FLOAT_BITS})
        if self.quantizer.shared_start is not None and weights:
            self._start("w", self.quantizer.shared_start(self.weight, weights))
            for bits in weights:
                self._start(f"g{bits}", self._best_gain(bits))
        for bits in weights if not self.quantizer.nests else ():
            at = bits if self.one_clip is None else _nearest(weights, self.one_clip)
            self._start(self.key("w", bits), self.quantizer.weight_start(self.weight, at))
        for bits in inputs:
            if bits not in self.grids or self.key("a", bits) not in self.trained:
                self.grids[bits] = mse_grid(histogram, bits)
        for bits in inputs:
            at = bits if self.one_clip is None else _nearest(inputs, self.one_clip)
            start = self.quantizer.input_start(histogram, self.grids[at])
            self._start(self.key("a", bits), start)

    @torch.no_grad()
    def _best_gain(self, bits: int) -> float:
        """Gain of least squared error at these bits."""
        found = self.quantizer.weight(self.weight, self.scales["w"], bits)
        return float((self.weight * found).sum() / found.square().sum())

    def _start(self, key: str, value: float) -> None:
        if key in self.trained:
            return
        value = max(value, SMALLEST_SCALE)
        if key in self.scales:
            self.scales[key].fill_(value)
        else:
            self.scales[key] = nn.Parameter(torch.tensor(value, device=self.weight.device))

    def make_scales(self, keys: Iterable[str]) -> None:
        """Have exactly these scales, so that a stored state fits."""
        for key in set(self.scales) - set(keys):
            del self.scales[key]
        # in the order in which `start_scales` makes them: optimisers know parameters by their place
        for key in sorted(set(keys) - set(self.scales), key=_place):
            self.scales[key] = nn.Parameter(torch.tensor(1.0, device=self.weight.device))

    def after_step(self) -> None:
        """Note the scales used in this step as trained, and keep them positive."""
        self._note_used()
        for key in self.used:
            self.scales[key].clamp_(min=SMALLEST_SCALE)
        self.trained |= self.used
        self.used.clear()

    def _note_used(self) -> None:
        if self.bits.weight != FLOAT_BITS and not self.float_weights:
            self.used.update(self.keys("w", self.bits.weight))
        if self.bits.activation != FLOAT_BITS:
            self.used.add(self.key("a", self.bits.activation))

    def quantized(self) -> Tensor:
        """The weights in use, in the layer's own shape."""
        bits = self.bits.weight
        if bits == FLOAT_BITS or self.float_weights:
            return self.weight
        weight = self.quantizer.weight(self.weight, self.scales[self.key("w", bits)], bits)
        return weight * self.scales[f"g{bits}"] if self.quantizer.nests else weight

    def weight_step(self, bits: int) -> float:
        """What the weights in use at these bits, fewer than float's, are whole multiples of."""
        step = self.quantizer.weight_step(self.weight, self.scales[self.key("w", bits)], bits)
        return float(step * self.scales[f"g{bits}"].detach() if self.quantizer.nests else step)

    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the float layer."""
        if torch.is_grad_enabled():
            # a step may use several bit-widths
            self._note_used()
        bits = self.bits.activation
        if bits != FLOAT_BITS and x.is_floating_point():
            x = self.quantizer.inputs(x, self.scales[self.key("a", bits)], self.grids[bits])
        return self.operation.call(x, self.quantized(), self.bias)

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights in use and the input's grid, as `TrainableModel.state` describes them."""
        arrays: dict[str, np.ndarray] = {}
        weight, bits = self.quantized().detach(), self.bits
        if bits.weight == FLOAT_BITS:
            arrays["weight"] = weight.cpu().contiguous().reshape(-1).numpy().astype(np.float32)
        else:
            step = self.weight_step(bits.weight)
            codes = (weight / step).round().cpu().contiguous().reshape(-1).numpy()
            arrays["weight_codes"] = codes.astype(np.int16)
            channels = len(to_rows(self.weight, self.operation))
            arrays["weight_step"] = np.full(channels, step, np.float32)
        if bits.activation != FLOAT_BITS:
            grid = self.grids[bits.activation]
            scale = self.scales[self.key("a", bits.activation)]
            step = float(self.quantizer.input_step(scale, grid))
            numbers = [step, grid.low, grid.high, grid.offset]
            arrays["activation_grid"] = np.asarray(numbers, np.float32)
        return arrays

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the tensors: plain data."""
        grids = {b: [g.step, g.low, g.high, g.offset] for b, g in self.grids.items()}
        return {"trained": sorted(self.trained), "grids": grids, "scales": sorted(self.scales)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Read what `get_extra_state` gave."""
        self.trained = set(state["trained"])
        self.grids = {
            int(bits): ActivationGrid(step, int(low), int(high), offset)
            for bits, (step, low, high, offset) in state["grids"].items()
        }


def _place(key: str) -> tuple[int, int]:
    return "wga".index(key[0]), int(key[1:] or 0)


def _nearest(widths: list[int], wanted: int) -> int:
    return min(widths, key=lambda width: (abs(width - wanted), width))
