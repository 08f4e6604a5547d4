"""Rebuilds your float PyTorch model from Brevitas layers. Needs torch and brevitas.

    python net.brevitas.py package.module:function --weights trained.pt --out quantized.pt

`package.module:function` must return the float model; it is your own code and is run. From Python:
`model = apply(function())`. The listed batch-norms are folded, every layer becomes a Brevitas layer
with the scales that were measured, and the model is in inference mode. Written by bitdial.
"""

import json
import sys
from typing import Any

import brevitas.nn
import torch
from brevitas.quant import Int8WeightPerChannelFloat, ShiftedUint8ActPerTensorFloat
from torch import Tensor, nn

from qcore.formats.exports.templates.common import (
    CONFIG,
    check_weights,
    float_model,
    from_rows,
    in_float,
    read,
    readers,
    to_rows,
    unwrapped,
)

LAYERS = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")


class Fixed(nn.Module):
    """A scale or a zero point that was measured: what Brevitas asks for, whatever the tensor."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, *arguments: Any) -> Tensor:
        """The value, whatever it is asked for."""
        return self.value


def codes_of(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    """Two's complement codes; signs at one bit."""
    scaled = rows / step[:, None]
    if bits == 1:
        return torch.where(scaled >= 0, 1.0, -1.0)
    return scaled.round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def weight_of(rows: Tensor, weight: Tensor, module: Any, state: Any, bits: int) -> tuple[Any, ...]:
    """Weight rows on their grid, scale of each channel (None: float), bits of the integers."""
    if bits == 32:
        if "weight" in state:
            rows = to_rows(read(state["weight"]).reshape(weight.shape), module)
        gain = read(state["weight_gain"])[:, None] if "weight_gain" in state else 1.0
        return rows * gain, None, 32
    scale = read(state["weight_step"])
    if "weight_codes" in state:
        codes = to_rows(read(state["weight_codes"]).reshape(weight.shape), module)
    else:
        codes = codes_of(rows, scale, bits)
    if "weight_gain" in state:
        scale = scale * read(state["weight_gain"])
    width = max(bits, 2)
    while not -(2 ** (width - 1)) <= codes.min() <= codes.max() < 2 ** (width - 1):
        width += 1  # levels half a step off zero, or powers of two, need wider integers
    return codes * scale[:, None], scale, width


def layer_like(module: Any, scale: Tensor | None, width: int, grid: Tensor | None) -> nn.Module:
    """A Brevitas layer with the arithmetic of a torch layer."""
    quant = None
    if scale is not None:
        ones = [1] * (module.weight.dim() - 1)
        shape = [1, -1, *ones[1:]] if getattr(module, "transposed", False) else [-1, *ones]
        quant = Int8WeightPerChannelFloat.let(
            scaling_impl=Fixed(scale.reshape(shape)), bit_width=width, narrow_range=False
        )
    entry = None
    if grid is not None:
        _, low, high, _ = grid.tolist()
        entry = ShiftedUint8ActPerTensorFloat.let(
            scaling_impl=Fixed(grid[0].clone()),
            zero_point_impl=Fixed(torch.tensor(-low)),
            bit_width=round(high - low + 1).bit_length() - 1,
        )
    options = {"bias": True, "weight_quant": quant, "input_quant": entry}
    if isinstance(module, nn.Embedding):
        # Brevitas has no scale for each row: the rows lie on their grid, as floats
        return nn.Embedding(module.num_embeddings, module.embedding_dim, module.padding_idx)
    if isinstance(module, nn.Linear):
        return brevitas.nn.QuantLinear(module.in_features, module.out_features, **options)
    kind = next(name for name in LAYERS if isinstance(module, getattr(nn, name)))
    for name in ("stride", "padding", "dilation", "groups", "output_padding", "padding_mode"):
        if name != "output_padding" or getattr(module, "transposed", False):
            options[name] = getattr(module, name)
    sizes = (module.in_channels, module.out_channels, module.kernel_size)
    return getattr(brevitas.nn, f"Quant{kind}")(*sizes, **options)


def own_forward(module: nn.Module) -> bool:
    """True where a layer computes in a way of its own, which a Brevitas layer would not."""
    owners = [
        next((c for c in type(module).__mro__ if key in vars(c)), nn.Module)
        for key in ("forward", "_conv_forward")
    ]
    return not all(owner.__module__.startswith("torch.nn.") for owner in owners)


@torch.no_grad()
def apply(model: nn.Module, config: dict[str, Any] | None = None) -> nn.Module:
    """Rebuild a float model from Brevitas layers and return it, in inference mode.

    The model itself, taken out of its wrappers and changed, unless it had attention or wrapped
    parts.
    """
    config = config or json.loads(CONFIG)
    wanted = [*config["bits"], *config["norms"].values()]
    model = unwrapped(model, wanted)
    names: dict[str, Any] = dict(model.named_modules())
    missing = [name for name in wanted if name not in names]
    if missing:
        raise SystemExit(f"This is not the model of the configuration; it lacks: {missing}")
    check_weights(model, config, in_float(model))
    own = [name for name in config["bits"] if own_forward(names[name])]
    if own:
        raise SystemExit(f"Brevitas has no layers that compute as these do by themselves: {own}")
    for name, (weight_bits, activation_bits) in config["bits"].items():
        module, state = names[name], config["state"][name]
        weight = module.weight.detach().float()
        rows = to_rows(weight, module)
        if name in config["norms"]:
            norm = names[config["norms"][name]]
            factor = torch.rsqrt(norm.running_var + norm.eps)
            rows = rows * (factor * norm.weight if norm.affine else factor)[:, None]
            model.set_submodule(config["norms"][name], nn.Identity())
        rows, scale, width = weight_of(rows, weight, module, state, weight_bits)
        grid = read(state["activation_grid"]) if activation_bits != 32 else None
        shared = nn.Parameter(from_rows(rows, weight, module).contiguous())
        for place, more in readers(model, module):
            layer = layer_like(place, scale, width, grid)
            layer.weight = shared
            if "bias" in state:
                bias = read(state["bias"])
                layer.bias = nn.Parameter(bias if more is None else bias + more)
            for path, other in list(model.named_modules(remove_duplicate=False)):
                if other is place:
                    model.set_submodule(path, layer)
    return model.eval()


def main() -> None:
    """The command line."""
    model, out = float_model(__doc__, "where to save the state dict of the Brevitas model")
    model = apply(model)
    sys.stdout.write(f"{len(json.loads(CONFIG)['bits'])} layers rebuilt with Brevitas\n")
    if out:
        torch.save(model.state_dict(), out)


if __name__ == "__main__":
    main()
