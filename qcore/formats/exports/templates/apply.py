"""Applies the bit configuration below to your float PyTorch model. Needs only torch.

    python apply_bits.py package.module:function --weights trained.pt --out quantized.pt

`package.module:function` must return the float model; it is your own code and is run. From Python:
`model = apply(function())`. The result is your model with every weight on its grid, inputs rounded
by hooks, and the listed batch-norms folded into the layer before them. Written by bitdial.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
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

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""Widths that are floats of 16 bits."""


def quantize(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    """Two's complement codes times the step of each weight; signs times step at one bit."""
    scaled = rows / step
    if bits == 1:
        return torch.where(scaled >= 0, 1.0, -1.0) * step
    return scaled.round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * step


def step_of_each(step: Tensor, group: int, n: int) -> Tensor:
    """Steps as they broadcast over rows of n weights: one a row, or one a group of it."""
    if not group:
        return step[:, None]
    return step.reshape(-1, -(-n // group)).repeat_interleave(group, 1)[:, :n]


def cast(x: Tensor, kind: torch.dtype) -> Tensor:
    """The nearest values of a float of 16 bits, as floats of 32."""
    most = torch.finfo(kind).max
    return x.clamp(-most, most).to(kind).to(x.dtype)


def casting(kind: torch.dtype) -> Callable[..., Any]:
    """A forward pre-hook that gives a layer's input the values of a float of 16 bits."""

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not inputs[0].is_floating_point():
            return inputs
        return (cast(inputs[0], kind), *inputs[1:])

    return hook


def rounding(grid: Tensor) -> Callable[..., Any]:
    """A forward pre-hook that puts a layer's input on its grid."""
    step, low, high, offset = grid.tolist()

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not inputs[0].is_floating_point():  # ids, of which an embedding looks rows up
            return inputs
        codes = ((inputs[0] * (1.0 / step)) - offset / step).clamp(low, high).round()
        return (codes * step + offset, *inputs[1:])

    return hook


@torch.no_grad()
def apply(model: nn.Module, config: dict[str, Any] | None = None) -> nn.Module:
    """Quantize a float model and return it, in inference mode and float32.

    The model itself, taken out of its wrappers, unless it had attention or wrapped parts.
    """
    config = config or json.loads(CONFIG)
    wanted = [*config["bits"], *config["norms"].values()]
    model = unwrapped(model, wanted)
    names: dict[str, Any] = dict(model.named_modules())
    missing = [name for name in wanted if name not in names]
    if missing:
        raise SystemExit(f"This is not the model of the configuration; it lacks: {missing}")
    check_weights(model, config, in_float(model))
    for name, (weight_bits, activation_bits) in config["bits"].items():
        module, state = names[name], config["state"][name]
        weight = module.weight.detach().float()
        rows = to_rows(weight, module)
        # "4g64": 4 bits with a step for each 64 weights of a row
        bits, _, group = str(weight_bits).partition("g")
        if name in config["norms"]:
            norm = names[config["norms"][name]]
            factor = torch.rsqrt(norm.running_var + norm.eps)
            rows = rows * (factor * norm.weight if norm.affine else factor)[:, None]
            model.set_submodule(config["norms"][name], nn.Identity())
        if "weight_codes" in state:  # this layer was trained anew
            rows = to_rows(read(state["weight_codes"]).reshape(weight.shape), module)
            rows = rows * step_of_each(read(state["weight_step"]), int(group or 0), rows.shape[1])
        elif "weight" in state:
            rows = to_rows(read(state["weight"]).reshape(weight.shape), module)
        elif weight_bits != 32 and weight_bits not in HALF:
            step = step_of_each(read(state["weight_step"]), int(group or 0), rows.shape[1])
            rows = quantize(rows, step, int(bits))
        if weight_bits in HALF:
            rows = cast(rows, HALF[weight_bits])
        if "weight_gain" in state:
            rows = rows * read(state["weight_gain"])[:, None]
        shared = nn.Parameter(from_rows(rows, weight, module))
        for place, more in readers(model, module):
            place.weight = shared
            if "bias" in state:
                bias = read(state["bias"])
                place.bias = nn.Parameter(bias if more is None else bias + more)
            if activation_bits in HALF:
                place.register_forward_pre_hook(casting(HALF[activation_bits]))
            elif activation_bits != 32:
                place.register_forward_pre_hook(rounding(read(state["activation_grid"])))
    return model.eval()


def main() -> None:
    """The command line."""
    config = json.loads(CONFIG)
    model, out = float_model(__doc__, "where to save the quantized state dict")
    model = apply(model, config)
    lines = [f"{len(config['bits'])} layers quantized"]
    lines += [f"{name}: {c['value']:,} {c['unit']}" for name, c in config["costs"].items()]
    test = config["scores"]["test"]
    if test and test["accuracy"] is not None:
        lines.append(f"measured accuracy: {test['accuracy']:.4f} on {test['n']} test images")
    sys.stdout.write("\n".join(lines) + "\n")
    if out:
        torch.save(model.state_dict(), out)


if __name__ == "__main__":
    main()
