"""Wiring of the bundled networks, kept beside their weights.

To trace a network loads most of PyTorch's compiler: two seconds at the start of every worker. What
the trace finds depends on the network's code, its modules and the shapes of its inputs. Where all
of them are what they were when the wiring was kept, so is the wiring; any other network is traced.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
from torch import nn

from qcore.network.forward_pass import explicit_attention
from qcore.network.graph import Wiring, read_wiring
from qcore.network.rewriting import expose_layers
from qcore.trees import Tree, part, tensors

KEPT = Path(__file__).parents[1] / "weights" / "wirings.json"
"""Name of a bundled network to its fingerprint and its wiring."""

_OURS, _PYTORCH = ("qcore.models.", "qcore.network.rewriting.tied"), "torch.nn.modules."


def wiring_of(model: nn.Module, example: Tree, names: Mapping[int, str]) -> Wiring | str:
    """The kept wiring of a network, or else that of `graph.read_wiring`, which says more."""
    own = fingerprint(model, example, tuple(names.values()))
    kept = None if own is None else _read(KEPT).get(own)
    return read_wiring(model, example, names) if kept is None else kept


def fingerprint(model: nn.Module, example: Tree, names: Sequence[str]) -> str | None:
    """64 hex digits over all that a network's wiring depends on.

    Args:
        model: In eval mode.
        example: One input batch; its shapes and types enter.
        names: Of the layers, in execution order.

    Returns:
        None where the wiring may depend on more: on code that is not bitdial's or PyTorch's, or on
        what was done to a module after it was made.
    """
    digest = hashlib.sha256(repr((str(model), tuple(names))).encode())
    for tensor in tensors(example):
        digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
    files = set()
    for path, module in model.named_modules():
        home = type(module).__module__
        if not home.startswith((*_OURS, _PYTORCH)) or "forward" in vars(module):
            return None
        if module._forward_hooks or module._forward_pre_hooks:
            return None
        if home.startswith(_OURS):
            files.add(home)
            settings = sorted(
                (key, repr(value))
                for key, value in vars(module).items()
                if not key.startswith("_") and key != "training"
            )
            digest.update(repr((path, type(module).__qualname__, settings)).encode())
    for home in sorted(files):
        # read as text: the same on systems that end lines otherwise
        digest.update(Path(str(sys.modules[home].__file__)).read_text(encoding="utf-8").encode())
    return digest.hexdigest()


def keep_wiring(name: str, model: nn.Module, example: Tree, layers: Sequence[str]) -> Path:
    """Trace a bundled network and keep its wiring in KEPT.

    Args:
        name: Of the network.
        model: The network, in eval mode.
        example: Inputs of the kind it takes.
        layers: Names of its layers, in execution order, as `find_layers` gives them.

    Raises:
        ValueError: the wiring of such a network cannot be kept; see `fingerprint`.
    """
    model, example = expose_layers(model), part(example, slice(1))
    ids = {id(model.get_parameter(f"{layer}.weight")): layer for layer in layers}
    with explicit_attention(), torch.no_grad():
        own, wiring = fingerprint(model, example, layers), read_wiring(model, example, ids)
    if own is None or isinstance(wiring, str):
        raise ValueError(f"The wiring of {name} cannot be kept: {wiring}")
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    kept[name] = {"fingerprint": own, **asdict(wiring)}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    _read.cache_clear()
    return KEPT


@cache
def _read(path: Path) -> Mapping[str, Wiring]:
    """Fingerprint to wiring."""
    if not path.exists():
        return {}
    return {
        entry["fingerprint"]: Wiring(
            {name: tuple(before) for name, before in entry["producers"].items()},
            **{key: entry[key] for key in ("norms", "tensors", "streams", "follows")},
        )
        for entry in json.loads(path.read_text(encoding="utf-8")).values()
    }
