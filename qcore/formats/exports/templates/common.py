"""What every script does alike: `standalone.fill` puts this text where a template imports it.

Imports torch and the standard library alone, one name a line or statement, and nothing of bitdial.
"""

import argparse
import base64
import copy
import hashlib
import importlib
import sys
from array import array
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


def expose_layers(model: nn.Module) -> nn.Module:
    """The network with every layer in a module of its own, as it was measured.

    The network itself where every layer is one already; attention and batch-norms that also apply
    an activation are replaced by modules that compute the same.
    """
    for name, source in REWRITING.items():
        if name not in sys.modules:
            sys.modules[name] = ModuleType(name)
            exec(compile(source, name, "exec"), vars(sys.modules[name]))
    rewriting: Any = sys.modules.get("bitdial_rewriting")
    return rewriting.expose_layers(model) if rewriting else model


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


WRAPPED = ("_orig_mod", "module")
"""Where torch.compile, and DataParallel and averaged weights, keep the network they wrap."""


def inside(model: nn.Module) -> nn.Module | None:
    """The network in a wrapper, or in a Sequential of it alone; None where there is no wrapper."""
    if isinstance(model, nn.Sequential) and len(model) == 1:
        return model[0]
    return next((child for name, child in model.named_children() if name in WRAPPED), None)


def unwrapped(model: nn.Module, wanted: Any, expose: Any = expose_layers) -> nn.Module:
    """The network that has modules of certain names, every layer in a module of its own.

    Args:
        model: The network, itself or in wrappers, or with parts in wrappers.
        wanted: The names.
        expose: What gives each layer a module of its own.

    Returns:
        The network inside the wrappers, as `expose_layers` gives it; where parts were wrapped a
        copy that shares its tensors. The model as it is where no unwrapping leads to the names.
    """
    given, names = model, set(wanted)
    while True:
        if "_orig_mod" not in model._modules:
            exposed = expose(model)
            if names <= set(dict(exposed.named_modules())):
                return exposed
        within = inside(model)
        if within is None:
            break
        model = within
    shared: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    for part in reversed(list(model.modules())):
        within = None if isinstance(part, nn.Sequential) else inside(part)
        if within is not None:
            shared[id(part)] = copy.deepcopy(within, shared)
    plain = expose(copy.deepcopy(model, shared))
    return plain if names <= set(dict(plain.named_modules())) else given


def in_float(model: nn.Module) -> str:
    """Turn a network into float32, run plainly, and say what its weights were rounded to."""
    for part in model.modules():
        part._compiled_call_impl = None  # of model.compile()
    kinds = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    model.float()
    narrow = sorted(str(kind).removeprefix("torch.") for kind in kinds if kind.itemsize < 4)
    return " and ".join(narrow)


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


def check_weights(model: nn.Module, config: dict[str, Any], rounded: str = "") -> None:
    """Stop where these are other weights than those the bits were measured with."""
    if digest(model) != config["model"]["digest"]:
        cause = f" They were rounded to {rounded}: load those of float32." if rounded else ""
        raise SystemExit(
            f"These are not the weights of {config['model']['name']} that were measured, whose "
            f"scales these are.{cause} Load the trained weights first (--weights FILE)."
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


def float_model(description: str | None, saves: str) -> tuple[nn.Module, str | None]:
    """What the command line names: the float model with its weights loaded, and where to save.

    Args:
        description: Shown by --help.
        saves: What --out says of itself.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", help="package.module:function returning the float model")
    parser.add_argument("--weights", help="state dict to load into it first")
    parser.add_argument("--out", help=saves)
    arguments = parser.parse_args()
    sys.path.insert(0, "")
    module, _, function = arguments.model.partition(":")
    model = getattr(importlib.import_module(module), function)()
    if arguments.weights:
        load_weights(model, arguments.weights)
    return model, arguments.out
