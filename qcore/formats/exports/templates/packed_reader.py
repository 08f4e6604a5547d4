"""Reads a bit-packed file and applies it to your float PyTorch architecture. Needs only torch.

    python packed_reader.py net.packed.safetensors package.module:function --out quantized.pt

`package.module:function` must return the network that was quantized (its weights do not matter);
it is your own code and is run. From Python: `model = apply(function(), parse(data))`. The result
has every weight on its grid, inputs rounded by hooks, and batch-norms folded. Networks that hide
layers, as attention and recurrence do, need bitdial's folder on PYTHONPATH as well. Written by
bitdial.
"""

import argparse
import copy
import importlib
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "BF16": torch.bfloat16,
}  # fmt: skip
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""Widths that are floats of 16 bits."""
HIDING = {
    "torch.nn.modules.activation.MultiheadAttention",
    "torchvision.models.swin_transformer.ShiftedWindowAttention",
    "torchvision.models.swin_transformer.ShiftedWindowAttentionV2",
    "timm.layers.norm_act.BatchNormAct2d",
    "torch.nn.utils.parametrize.ParametrizationList",
    "torch.nn.utils.weight_norm.WeightNorm",
    "torch.nn.utils.spectral_norm.SpectralNorm",
    "torch.nn.utils.prune.BasePruningMethod",
    *(f"torch.nn.modules.rnn.{kind}{cell}" for kind in ("LSTM", "GRU", "RNN")
      for cell in ("", "Cell")),
}  # fmt: skip
"""Classes whose layers are no modules, or whose weights are computed: bitdial replaces them."""

HEADER_LIMIT = 100_000_000


def parse(data: bytes) -> dict[str, Any]:
    """The file's tensors by name, and "__metadata__".

    Raises:
        ValueError: not a bit-packed file, or one that was cut short.
    """
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else HEADER_LIMIT + 1
    if length > min(HEADER_LIMIT, len(data) - 8):
        raise ValueError("This is no safetensors file, or it was cut short.")
    header = json.loads(data[8 : 8 + length])
    if header.get("__metadata__", {}).get("format") != "bitdial-packed":
        raise ValueError("This safetensors file is not a bit-packed network of bitdial.")
    body = memoryview(data)[8 + length :]
    found: dict[str, Any] = {"__metadata__": header.pop("__metadata__")}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= len(body):
            raise ValueError(f"The tensor {name} lies outside the file; it was cut short.")
        raw = bytearray(body[start:end])
        kind = TYPES[entry["dtype"]]
        tensor = torch.frombuffer(raw, dtype=kind) if raw else torch.empty(0, dtype=kind)
        found[name] = tensor.reshape(entry["shape"])
    return found


def unpack(packed: Tensor, count: int, bits: int) -> Tensor:
    """Whole codes (count,) from bytes: b bits each, lowest bit first, two's complement."""
    planes = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    planes = planes.reshape(-1)[: count * bits].reshape(count, bits).to(torch.int32)
    values = (planes << torch.arange(bits, dtype=torch.int32)).sum(1)
    if bits == 1:
        return 2 * values - 1
    return torch.where(values >= 1 << (bits - 1), values - (1 << bits), values)


def channels_first(weight: Tensor, groups: int) -> Tensor:
    """The weight of a transposed convolution with its output channels before its inputs."""
    inputs, channels, *rest = weight.shape
    apart = weight.reshape(groups, inputs // groups, channels, *rest).transpose(1, 2)
    return apart.reshape(groups * channels, inputs // groups, *rest)


def inputs_first(weight: Tensor, groups: int) -> Tensor:
    """What `channels_first` turned, as it was."""
    channels, inputs, *rest = weight.shape
    apart = weight.reshape(groups, channels // groups, inputs, *rest).transpose(1, 2)
    return apart.reshape(groups * inputs, channels // groups, *rest)


def weight_of(name: str, entry: dict[str, Any], tensors: dict[str, Any]) -> Tensor:
    """The weight of a layer in float: code times the scale of its output channel or its group."""
    bits, shape = entry["weight_bits"], entry["shape"]
    if bits == 32 or bits in HALF:
        return tensors[f"{name}.weight"].float()
    count = int(torch.tensor(shape).prod())
    codes = unpack(tensors[f"{name}.weight_packed"], count, bits)
    if f"{name}.levels" in tensors:
        codes = tensors[f"{name}.levels"].to(torch.int32)[codes + 2 ** (bits - 1)]
    scale = tensors[f"{name}.weight_scale"].float()
    codes = codes.float().reshape(shape)
    if "scale_group" in entry:
        codes = codes if entry["axis"] == 0 else channels_first(codes, entry["groups"])
        rows = codes.flatten(1)
        each = scale.repeat_interleave(entry["scale_group"], 1)[:, : rows.shape[1]]
        weight = (rows * each).reshape(codes.shape)
        return weight if entry["axis"] == 0 else inputs_first(weight, entry["groups"])
    if entry["axis"] == 0:
        return codes * scale.reshape(-1, *[1] * (len(shape) - 1))
    # transposed convolutions keep inputs first; each group has output channels of its own
    groups = entry["groups"]
    grouped = codes.reshape(groups, shape[0] // groups, *shape[1:])
    scaled = grouped * scale.reshape(groups, 1, shape[1], *[1] * (len(shape) - 2))
    return scaled.reshape(shape)


def casting(kind: torch.dtype) -> Callable[..., Any]:
    """A forward pre-hook that gives a layer's input the values of a float of 16 bits."""
    most = torch.finfo(kind).max

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = inputs[0]
        if not x.is_floating_point():
            return inputs
        return (x.clamp(-most, most).to(kind).to(x.dtype), *inputs[1:])

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


def expose_layers(model: nn.Module) -> nn.Module:
    """The network with every layer in a module of its own, as it was measured.

    Raises:
        ValueError: it hides layers, and bitdial, which can replace what hides them, is not here.
    """
    parts = [p for m in model.modules() for p in (m, *m._forward_pre_hooks.values())]
    classes = {c for part in parts for c in type(part).__mro__}
    hiding = sorted(c.__name__ for c in classes if f"{c.__module__}.{c.__name__}" in HIDING)
    weights = [{id(m.weight) for m in model.modules() if isinstance(m, kind)}
               for kind in (nn.Embedding, nn.Linear)]  # fmt: skip
    if weights[0] & weights[1]:
        hiding.append("an embedding whose weight is a linear layer's")
    if not hiding:
        return model
    try:
        rewriting: Any = importlib.import_module("qcore.network.rewriting")
    except ImportError as error:
        raise ValueError(
            f"Layers are hidden in {', '.join(hiding)}. To read this file bitdial must be there "
            "too: put its folder on PYTHONPATH."
        ) from error
    return rewriting.expose_layers(model)


def unwrapped(model: nn.Module, wanted: set[str]) -> nn.Module:
    """The network that has these modules, out of torch's wrappers, by `expose_layers`."""
    inside: nn.Module | None = model
    while inside is not None:
        exposed = expose_layers(inside)
        if wanted <= {name for name, _ in exposed.named_modules()}:
            return exposed
        children = dict(inside.named_children())
        alone = isinstance(inside, nn.Sequential) and len(children) == 1
        names = ("_orig_mod", "module", *(children if alone else ()))
        inside = next((children[name] for name in names if name in children), None)
    return expose_layers(model)


def readers(model: nn.Module, module: Any) -> list[tuple[Any, Any]]:
    """The modules that share a layer's weight, itself first, each with its bias beyond the layer's.

    They may read the weight at other strides or paddings. None: the bias is the layer's own.
    """
    found: list[tuple[Any, Any]] = [(module, None)]
    bias = getattr(module, "bias", None)
    for other in model.modules():
        same = type(other) is type(module) and getattr(other, "weight", None) is module.weight
        groups = [getattr(each, "groups", 1) for each in (other, module)]
        if other is module or not same or groups[0] != groups[1]:
            continue
        own = getattr(other, "bias", None)
        first, second = (0.0 if b is None else b.detach().clone() for b in (own, bias))
        found.append((other, None if own is bias else first - second))
    return found


@torch.no_grad()
def apply(model: nn.Module, tensors: dict[str, Any]) -> nn.Module:
    """A copy of the float network with the file's weights, in inference mode and float32.

    It may be in torch's wrappers (compiled, DataParallel, averaged weights).

    Raises:
        ValueError: this is not the network the file was made from, or it hides layers.
    """
    layers = json.loads(tensors["__metadata__"]["layers"])
    norms = json.loads(tensors["__metadata__"]["norms"])
    model = copy.deepcopy(expose_layers(unwrapped(model, {*layers, *norms.values()}))).float()
    names: dict[str, Any] = dict(model.named_modules())
    missing = [name for name in (*layers, *norms.values()) if name not in names]
    if missing:
        raise ValueError(f"This is not the network of the file; it lacks: {', '.join(missing)}")
    for norm in norms.values():
        model.set_submodule(norm, nn.Identity())
    for name, entry in layers.items():
        module = names[name]
        if list(module.weight.shape) != entry["shape"]:
            raise ValueError(f"Layer {name} has another shape than in the file: {entry['shape']}")
        shared = nn.Parameter(weight_of(name, entry, tensors))
        for place, more in readers(model, module):
            place.weight = shared
            if f"{name}.bias" in tensors:
                bias = tensors[f"{name}.bias"]
                place.bias = nn.Parameter(bias if more is None else bias + more)
            if entry["activation_bits"] in HALF:
                place.register_forward_pre_hook(casting(HALF[entry["activation_bits"]]))
            if f"{name}.activation_grid" in tensors:
                place.register_forward_pre_hook(rounding(tensors[f"{name}.activation_grid"]))
    rest = {
        name.removeprefix("float."): value
        for name, value in tensors.items()
        if name.startswith("float.")
    }
    model.load_state_dict(rest, strict=False)
    return model.eval()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("model", help="package.module:function returning the float network")
    parser.add_argument("--out", help="where to save the state dict of the quantized network")
    arguments = parser.parse_args()
    sys.path.insert(0, "")
    module, _, function = arguments.model.partition(":")
    tensors = parse(arguments.file.read_bytes())
    model = apply(getattr(importlib.import_module(module), function)(), tensors)
    count = len(json.loads(tensors["__metadata__"]["layers"]))
    sys.stdout.write(f"{count} layers read\n")
    if arguments.out:
        torch.save(model.state_dict(), arguments.out)


if __name__ == "__main__":
    main()
