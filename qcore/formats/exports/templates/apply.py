"""Applies the bit configuration below to your float PyTorch model. Needs only torch.

    python apply_bits.py package.module:function --weights trained.pt --out quantized.pt

`package.module:function` must return the float model; it is your own code and is run. From Python:
`model = apply(function())`. The result is your model with every weight on its grid, inputs rounded
by hooks, and the listed batch-norms folded into the layer before them. Written by bitdial.
"""

import argparse
import base64
import hashlib
import importlib
import json
import sys
from array import array
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

CONFIG = ""
REWRITING: dict[str, str] = {}
"""Sources of modules that replace attention, which hides its layers, by equal ones."""


def read(entry: dict[str, Any]) -> Tensor:
    """One stored array as a tensor of floats."""
    kind, letter = next(
        k for k in (("float32", "f"), ("int8", "b"), ("int16", "h")) if k[0] in entry
    )
    values = array(letter, base64.b64decode(entry[kind]))
    if sys.byteorder == "big":
        values.byteswap()
    return torch.tensor(values, dtype=torch.float32).reshape(entry["shape"])


def to_rows(weight: Tensor, module: Any) -> Tensor:
    """Weights as (output channels, rest); transposed convolutions keep inputs first."""
    if not getattr(module, "transposed", False):
        return weight.flatten(1)
    grouped = weight.reshape(module.groups, -1, *weight.shape[1:2], weight[0, 0].numel())
    return grouped.transpose(1, 2).reshape(module.groups * weight.shape[1], -1)


def from_rows(rows: Tensor, weight: Tensor, module: Any) -> Tensor:
    """The inverse of to_rows."""
    if not getattr(module, "transposed", False):
        return rows.reshape(weight.shape)
    grouped = rows.reshape(module.groups, weight.shape[1], -1, weight[0, 0].numel())
    return grouped.transpose(1, 2).reshape(weight.shape)


def quantize(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    """Two's complement codes times step; signs times step at one bit."""
    scaled = rows / step[:, None]
    if bits == 1:
        return torch.where(scaled >= 0, 1.0, -1.0) * step[:, None]
    return scaled.round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * step[:, None]


def rounding(grid: Tensor) -> Callable[..., Any]:
    """A forward pre-hook that puts a layer's input on its grid."""
    step, low, high, offset = grid.tolist()

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        codes = ((inputs[0] * (1.0 / step)) - offset / step).clamp(low, high).round()
        return (codes * step + offset, *inputs[1:])

    return hook


def explicit(model: nn.Module) -> nn.Module:
    """The network with every layer in a module of its own, as it was measured.

    The network itself where every layer is one already; attention and batch-norms that also apply
    an activation are replaced by modules that compute the same.
    """
    for name, source in REWRITING.items():
        if name not in sys.modules:
            sys.modules[name] = ModuleType(name)
            exec(compile(source, name, "exec"), vars(sys.modules[name]))
    rewriting: Any = sys.modules.get("bitdial_rewriting")
    return rewriting.explicit(model) if rewriting else model


def digest(model: nn.Module) -> str:
    """SHA-256 of every tensor by name: what tells one set of weights from another."""
    found = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        if key.endswith("num_batches_tracked") or not isinstance(value, Tensor):
            continue
        found.update(f"{key}|{value.dtype}|{tuple(value.shape)}|".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        found.update(flat.view(torch.uint8).numpy())
    return found.hexdigest()


def check_weights(model: nn.Module, config: dict[str, Any]) -> None:
    """Stop where these are other weights than those the bits were measured with."""
    if digest(model) != config["model"]["digest"]:
        raise SystemExit(
            f"These are not the weights of {config['model']['name']} that were measured, whose "
            "scales these are. Load the trained weights first (--weights FILE)."
        )


def load_weights(model: nn.Module, path: str) -> None:
    """Load a state dict; every entry but batch counters must be there, and no other."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(
            f"{path} does not fit the model; missing: {missing[:5]}, unexpected: {unexpected[:5]}"
        )


@torch.no_grad()
def apply(model: nn.Module, config: dict[str, Any] | None = None) -> nn.Module:
    """Quantize a float model and return it, in inference mode: itself, unless it had attention."""
    config = config or json.loads(CONFIG)
    model = explicit(model)
    names: dict[str, Any] = dict(model.named_modules())
    wanted = [*config["bits"], *config["norms"].values()]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise SystemExit(f"This is not the model of the configuration; it lacks: {missing}")
    check_weights(model, config)
    for name, (weight_bits, activation_bits) in config["bits"].items():
        module, state = names[name], config["state"][name]
        weight = module.weight.detach().float()
        rows = to_rows(weight, module)
        if name in config["norms"]:
            norm = names[config["norms"][name]]
            factor = torch.rsqrt(norm.running_var + norm.eps)
            rows = rows * (factor * norm.weight if norm.affine else factor)[:, None]
            model.set_submodule(config["norms"][name], nn.Identity())
        if "weight_codes" in state:  # this layer was trained anew
            rows = to_rows(read(state["weight_codes"]).reshape(weight.shape), module)
            rows = rows * read(state["weight_step"])[:, None]
        elif "weight" in state:
            rows = to_rows(read(state["weight"]).reshape(weight.shape), module)
        elif weight_bits != 32:
            rows = quantize(rows, read(state["weight_step"]), weight_bits)
        if "weight_gain" in state:
            rows = rows * read(state["weight_gain"])[:, None]
        module.weight = nn.Parameter(from_rows(rows, weight, module))
        module.bias = nn.Parameter(read(state["bias"]))
        if activation_bits != 32:
            module.register_forward_pre_hook(rounding(read(state["activation_grid"])))
    return model.eval()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="package.module:function returning the float model")
    parser.add_argument("--weights", help="state dict to load into it first")
    parser.add_argument("--out", help="where to save the quantized state dict")
    arguments = parser.parse_args()
    config = json.loads(CONFIG)
    sys.path.insert(0, "")
    module, _, function = arguments.model.partition(":")
    model = getattr(importlib.import_module(module), function)()
    if arguments.weights:
        load_weights(model, arguments.weights)
    model = apply(model, config)
    lines = [f"{len(config['bits'])} layers quantized"]
    lines += [f"{name}: {c['value']:,} {c['unit']}" for name, c in config["costs"].items()]
    test = config["scores"]["test"]
    if test and test["accuracy"] is not None:
        lines.append(f"measured accuracy: {test['accuracy']:.4f} on {test['n']} test images")
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.out:
        torch.save(model.state_dict(), arguments.out)


if __name__ == "__main__":
    main()
