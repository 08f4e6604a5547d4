"""QuantizedModel: the user's own network after post-training quantization (PTQ), at any bits.

The network is copied, batch-norms that follow a layer are folded into it, and each layer is
replaced by a `QuantizedLayer`. Quantized weights are prepared once per (layer, bits), kept up to a
memory limit, and switched by reference, in O(layers).
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qcore.allocation import (
    FLOAT_BITS,
    HALF_WIDTHS,
    BitAllocation,
    LayerBits,
    is_float_width,
    width_text,
)
from qcore.errors import InvalidConfig, NotCalibrated
from qcore.network.forward_pass import explicit_attention
from qcore.network.layers import Found
from qcore.network.operation import from_rows, operation_of, to_rows
from qcore.network.readers import put
from qcore.network.rewriting import expose_layers
from qcore.network.running import channels_last, copied, run
from qcore.ptq.layer import QuantizedLayer
from qcore.ptq.settings import SEQUENTIAL
from qcore.quantizer_names import USUAL
from qcore.quantizers import (
    QUANTIZERS,
    ActivationGrid,
    HalfGrid,
    Histogram,
    cast,
    mse_grid,
    quantize_rows,
    step_of_each,
)
from qcore.trees import Tree, call, output_row
from qcore.widths import groups_of, takes_gain

CACHE_BYTES = 512 * 2**20

State = Mapping[str, Mapping[str, np.ndarray]]

Rounded = Callable[[str, int], tuple[Tensor, Tensor] | None]


def fold_norm(
    weight: Tensor, bias: Tensor, norm: nn.Module, operation: Any
) -> tuple[Tensor, Tensor]:
    """Fold an inference-mode batch-norm into the layer before it.

    With g = gamma / sqrt(var + eps): w' = w * g, b' = (b - mean) * g + beta per output channel.
    """
    n: Any = norm
    g = torch.rsqrt(n.running_var + n.eps)
    if n.affine:
        g = g * n.weight.detach()
    folded = from_rows(to_rows(weight, operation) * g[:, None], weight, operation)
    shift = (bias - n.running_mean) * g
    return folded, shift + n.bias.detach() if n.affine else shift


class QuantizedModel(nn.Module):
    """A float model, wrapped.

    Args:
        model: The float model, in any mode; it is copied, never changed.
        found: Its layers, from `find_layers`.
        quantizer: Key of POST_TRAINING for the weights' steps.
        cache_bytes: Memory limit of prepared weights; beyond it the least recently used go.
        device: Where it runs.

    Attributes:
        spec: The facts about the model.
        layers: Layer name to its QuantizedLayer, in execution order.
        histograms: Layer name to the histogram of its input; filled by `calibration`.
        rounded: (layer name, bits) to codes (channels, n) and steps as `weight_step` has them that
            a rounding chose, or to None where weights go to the nearest codes; None: everywhere.
        allocation: The bits in use.
        correction: How layers are corrected after their bits were set, a key of CORRECTIONS.
        quantizer: Key of POST_TRAINING that chooses the weights' steps.
    """

    def __init__(
        self,
        model: nn.Module,
        found: Found,
        *,
        quantizer: str = USUAL,
        cache_bytes: int = CACHE_BYTES,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.spec, self.norms = found.spec, dict(found.norms)
        self.network = copied(expose_layers(model)).eval().requires_grad_(False).to(device)
        self.channels_last = found.channels_last
        if self.channels_last:
            self.network = channels_last(self.network)
        self.layers: dict[str, QuantizedLayer] = {}
        self.histograms: dict[str, Histogram] = {}
        self.rounded: Rounded | None = None
        self.steps: dict[tuple[str, int], Tensor] = {}
        self._grids: dict[tuple[str, int], ActivationGrid] = {}
        self._loaded: dict[str, dict[str, np.ndarray]] = {}
        self.quantizer = quantizer
        self._step = QUANTIZERS[quantizer].steps
        self._prepared: OrderedDict[tuple[str, int], Tensor] = OrderedDict()
        self._prepared_bytes, self._cache_bytes = 0, cache_bytes
        for layer in found.spec.layers:
            self._replace(layer.name, found)
        self.allocation = BitAllocation.uniform(found.spec.layers, FLOAT_BITS)
        self.correction = SEQUENTIAL

    def _replace(self, name: str, found: Found) -> None:
        module: Any = self.network.get_submodule(name)
        operation = operation_of(module)
        weight = module.weight.detach().float()
        channels = len(to_rows(weight, operation))
        bias = torch.zeros(0 if operation.looks_up else channels, device=weight.device)
        if getattr(module, "bias", None) is not None:
            # (1, n) and a single number are added alike
            bias = module.bias.detach().float().reshape(-1).expand(channels).contiguous()
        norm = self.norms.get(name)
        if norm is not None:
            weight, bias = fold_norm(weight, bias, self.network.get_submodule(norm), operation)
            self.network.set_submodule(norm, nn.Identity())
        layer = QuantizedLayer(name, module, weight, bias, norm is not None)
        aliases, readers = (each.get(name, ()) for each in (found.aliases, found.readers))
        put(self.network, layer, name, aliases, readers)
        self.layers[name] = layer

    def forward(self, *inputs: Any, **named: Tensor) -> Any:
        """What the network returns for its inputs: class scores (n, classes) for most images.

        Called as the network itself is, or with names to tensors in one mapping.

        Raises:
            UnsupportedModel: the forward pass of the user's own network failed.
        """
        x: Tree = inputs[0] if len(inputs) == 1 else named
        if not self.channels_last and isinstance(x, Tensor):
            x = x.contiguous()
        with explicit_attention():
            if len(inputs) > 1:
                return self.network(*inputs, **named)
            return run(self.network, x, self.spec.name)

    def weight_step(self, name: str, bits: int) -> Tensor:
        """Step of each channel at these bits, (channels,), or of each group of all channels."""
        found = self._codes_of(name, bits)
        return self.nearest_step(name, bits) if found is None else found[1]

    def _codes_of(self, name: str, bits: int) -> tuple[Tensor, Tensor] | None:
        return None if self.rounded is None else self.rounded(name, bits)

    def nearest_step(self, name: str, bits: int) -> Tensor:
        """The quantizer's own step of each channel or group; searched once."""
        key = (name, bits)
        if key not in self.steps:
            layer = self.layers[name]
            self.steps[key] = self._step(to_rows(layer.weight, layer.operation), bits)
        return self.steps[key]

    def prepared_weight(self, name: str, bits: int) -> Tensor:
        """Weights of a layer on their grid or cast, in the layer's own shape; cached."""
        layer, key = self.layers[name], (name, bits)
        if bits == FLOAT_BITS:
            return layer.weight
        if key in self._prepared:
            self._prepared.move_to_end(key)
            return self._prepared[key]
        found = None if bits in HALF_WIDTHS else self._codes_of(name, bits)
        if bits in HALF_WIDTHS:
            weight = cast(layer.weight, bits)
        elif found is None:
            weight = self._quantized(layer, self.nearest_step(name, bits), bits)
        else:
            codes, step = found
            each = step_of_each(step, bits, codes.shape[1])
            weight = from_rows(codes * each, layer.weight, layer.operation)
        self._prepared[key] = weight
        self._prepared_bytes += weight.nbytes
        while self._prepared_bytes > self._cache_bytes and len(self._prepared) > 1:
            _, dropped = self._prepared.popitem(last=False)
            self._prepared_bytes -= dropped.nbytes
        return weight

    @staticmethod
    def _quantized(layer: QuantizedLayer, step: Tensor, bits: int) -> Tensor:
        rows = to_rows(layer.weight, layer.operation)
        return from_rows(quantize_rows(rows, step, bits), layer.weight, layer.operation)

    def activation_grid(self, name: str, bits: int) -> ActivationGrid | HalfGrid | None:
        """Grid of a layer's input at these bits; None at 32, and for the ids of an embedding.

        Raises:
            NotCalibrated: the layer's input was never measured.
        """
        if bits == FLOAT_BITS or self.layers[name].operation.looks_up:
            return None
        if bits in HALF_WIDTHS:
            return HalfGrid(bits)
        key = (name, bits)
        if key not in self._grids:
            if name not in self.histograms:
                raise NotCalibrated(
                    f"The input of layer {name!r} has no measured range; run the calibration "
                    "before giving activations fewer than 32 bits."
                )
            self._grids[key] = mse_grid(self.histograms[name], bits)
        return self._grids[key]

    def set_layer(self, name: str, bits: LayerBits) -> None:
        """Switch one layer; its correction is dropped."""
        self._loaded.pop(name, None)
        self.layers[name].set_bits(
            self.prepared_weight(name, bits.weight),
            self.activation_grid(name, bits.activation),
            scaleless=not takes_gain(bits.weight),
        )

    def set_allocation(self, allocation: BitAllocation) -> None:
        """Switch every layer; corrections are dropped.

        Raises:
            InvalidAllocation: the allocation does not name exactly this model's layers.
            NotCalibrated: activations below 32 bits before calibration.
        """
        allocation.check_names(self.spec.layers)
        for name, bits in allocation.items():
            self.set_layer(name, bits)
        self.allocation = allocation

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        """Everything, beside the float model, that the current logits depend on.

        Returns:
            Layer name to float32 arrays: weight_step (channels,), of widths with groups (channels *
            groups,), absent at float widths; weight_gain (channels,), absent where 1; bias
            (channels,), absent in an embedding; activation_grid (step, low, high, offset), absent
            at float widths. The weights in use are codes(folded weight, weight_step) *
            weight_step * weight_gain, and at bf16 and fp16 the folded weight, cast. Of a layer that
            was trained anew, or whose codes a rounding chose, there is also weight_codes
            (weights,), whole numbers that take the place of codes(...), or weight (weights,) at 32
            bits, in the order of the float weight.
        """
        state: dict[str, dict[str, np.ndarray]] = {}
        for name, bits in self.allocation.items():
            layer = self.layers[name]
            arrays = {} if layer.operation.looks_up else {"bias": _array(layer.shift)}
            arrays.update(self._loaded.get(name, {}))
            if not is_float_width(bits.weight) and "weight_step" not in arrays:
                arrays["weight_step"] = _array(self.weight_step(name, bits.weight))
                arrays.update(self._code_array(layer, bits.weight))
            if layer.gain is not None:
                arrays["weight_gain"] = _array(layer.gain)
            grid = layer.grid
            if isinstance(grid, ActivationGrid):
                arrays["activation_grid"] = np.asarray(
                    [grid.step, grid.low, grid.high, grid.offset], np.float32
                )
            state[name] = arrays
        return state

    def _code_array(self, layer: QuantizedLayer, bits: int) -> dict[str, np.ndarray]:
        found = self._codes_of(layer.name, bits)
        if found is None:
            return {}
        codes = from_rows(found[0], layer.weight, layer.operation).reshape(-1)
        return {"weight_codes": codes.cpu().numpy().astype(np.int16)}

    def load_state(self, allocation: BitAllocation, state: State) -> None:
        """Switch to an allocation with the quantizer state that `state` gave.

        Raises:
            InvalidAllocation: layer names differ.
            InvalidConfig: an array is missing or has the wrong number of channels.
        """
        allocation.check_names(self.spec.layers)
        for name, bits in allocation.items():
            self._load_layer(self.layers[name], bits, state.get(name, {}))
        self.allocation = allocation

    def _load_layer(
        self, layer: QuantizedLayer, bits: LayerBits, arrays: Mapping[str, np.ndarray]
    ) -> None:
        def read(key: str, length: int) -> Tensor:
            values = arrays.get(key)
            if values is None or values.shape != (length,):
                found = "missing" if values is None else f"of shape {values.shape}"
                raise InvalidConfig(
                    f"{key} of layer {layer.name!r} is {found}; expected {length} numbers."
                )
            return torch.from_numpy(values.copy()).to(layer.weight.device)

        channels, n = to_rows(layer.weight, layer.operation).shape
        count, scales = channels * n, channels * groups_of(bits.weight, n)
        quantized = layer.weight
        coded = not is_float_width(bits.weight)
        kept = {"weight_step", "weight_codes"} if coded else {"weight"}
        self._loaded[layer.name] = {key: arrays[key] for key in kept & set(arrays)}
        if not coded:
            weight = _shaped(read("weight", count), layer) if "weight" in arrays else quantized
            quantized = cast(weight, bits.weight)
        elif "weight_codes" in arrays:
            codes = to_rows(_shaped(read("weight_codes", count).float(), layer), layer.operation)
            rows = codes * step_of_each(read("weight_step", scales), bits.weight, n)
            quantized = from_rows(rows, layer.weight, layer.operation)
        else:
            step = read("weight_step", scales)
            quantized = self._quantized(layer, step, bits.weight)
        grid: ActivationGrid | HalfGrid | None = None
        if bits.activation in HALF_WIDTHS:
            grid = HalfGrid(bits.activation)
        elif bits.activation != FLOAT_BITS:
            step_, low, high, offset = (float(v) for v in read("activation_grid", 4))
            grid = ActivationGrid(step_, int(low), int(high), offset)
        scaleless = not takes_gain(bits.weight)
        layer.set_bits(quantized, grid, scaleless=scaleless)
        if scaleless and "weight_gain" in arrays:
            raise InvalidConfig(
                f"weight_gain of layer {layer.name!r} has no place: weights of "
                f"{width_text(bits.weight)} have no scale for it. Export the file again."
            )
        gain = read("weight_gain", channels) if "weight_gain" in arrays else None
        layer.correct(gain, layer.bias if layer.operation.looks_up else read("bias", channels))


def _shaped(values: Tensor, layer: QuantizedLayer) -> Tensor:
    """Values in the order of a layer's float weight, in its shape and memory layout."""
    return torch.empty_like(layer.weight).copy_(values.reshape(layer.weight.shape))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float32)


@torch.no_grad()
def float_gap(model: nn.Module, quantized: QuantizedModel, images: Tree) -> float:
    """How far wrapping alone moved a network's outputs: 0 to about 1e-5 where it is right.

    A larger gap means that folding, rewriting or replacing a layer changed what the network
    computes, so that no score of it can be trusted.

    Args:
        model: The float model that was wrapped; run in eval mode, its training flags are restored.
        quantized: Its wrapping; left with every layer at 32 bits.
        images: Inputs (n, ...) of the kind the model takes.

    Returns:
        Euclidean norm of the difference over that of the model's outputs, all of them together.
    """
    modes = {module: module.training for module in model.modules()}
    quantized.set_allocation(BitAllocation.uniform(quantized.spec.layers, FLOAT_BITS))
    try:
        wanted = output_row(call(model.eval(), images))
    finally:
        for module, training in modes.items():
            module.training = training
    gap, size = (output_row(quantized(images)) - wanted).norm(), wanted.norm()
    return float(gap / size) if size > 0 else float(gap)
