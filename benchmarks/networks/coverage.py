"""How much of well-known classifiers gets bit-widths: torchvision's 80 and some of timm's.

    python -m benchmarks.networks.coverage            all, then docs/coverage.md
    python -m benchmarks.networks.coverage resnet50   some, again

Each network is found as `find_layers` finds it: torchvision's on the meta device, which needs no
memory, timm's with random weights. Networks of at most `--compare` million parameters are then
wrapped with random weights and compared with themselves in float. Results are kept after every
network in benchmarks/results/coverage.json; a network found there is not run again.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from benchmarks.networks.coverage_table import RESULTS, write_table
from qcore.models._torchvision import torchvision
from qcore.network.layers import Found, find_layers
from qcore.network.rewriting import REWRITES, expose_layers, forward_of
from qcore.ptq.model import QuantizedModel, float_gap

TIMM = (
    "convnext_tiny", "deit3_small_patch16_224", "efficientformer_l1", "efficientnet_b0",
    "ghostnet_100", "mobilenetv3_large_100", "mobilenetv4_conv_small", "mobilevit_xs",
    "regnety_004", "resnetv2_50x1_bit", "swin_tiny_patch4_window7_224", "tf_efficientnet_lite0",
    "vit_tiny_patch16_224",
)  # fmt: skip
SIDES = {"inception_v3": 299}
KINDS = {
    "norms": ("norm", "bn"),
    "positions and tokens": ("pos_embed", "pos_embedding", "class_token", "cls_token"),
    "attention biases": ("relative_position", "attention_bias"),
    "scales": ("scale", "gamma", "ls1", "ls2"),
}


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="run these again; all that are missing otherwise")
    parser.add_argument("--compare", type=float, default=90.0, help="million parameters at most")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, dict[str, Any]] = {}
    if RESULTS.exists():
        rows = json.loads(RESULTS.read_text())
    # timm is optional, and needs torchvision imported the way _torchvision does it
    import timm

    names = [f"torchvision/{name}" for name in torchvision.models.list_models(torchvision.models)]
    names += [f"timm/{name}" for name in TIMM]
    names = [n for n in names if not arguments.names or n.partition("/")[2] in arguments.names]
    for name in names:
        if arguments.names or name not in rows:
            keep(rows, name, facts(name, timm))
    for name in sorted(names, key=lambda name: rows[name]["parameters"]):
        small = rows[name]["parameters"] <= arguments.compare * 1e6
        if small and "difference" not in rows[name]:
            keep(rows, name, {**rows[name], "difference": difference(name, timm)})
    write_table(rows)


def keep(rows: dict[str, dict[str, Any]], name: str, row: dict[str, Any]) -> None:
    """Store one network's row."""
    rows[name] = row
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    shown = {key: value for key, value in row.items() if key != "warnings"}
    print(f"{time.strftime('%H:%M:%S')} {name}: {shown}", flush=True)


def facts(name: str, timm: Any) -> dict[str, Any]:
    """What is found in one network, and the CPU seconds of finding it."""
    source, _, architecture = name.partition("/")
    if source == "timm":
        model, shape = timm.create_model(architecture), input_shape(name, timm)
    else:
        model, shape = on_meta(architecture), input_shape(name, timm)
    device = next(model.parameters()).device
    started = time.process_time()
    found = find_layers(model, torch.zeros(1, *shape, device=device), architecture)
    seconds = time.process_time() - started
    spec, parameters = found.spec, sum(p.numel() for p in model.parameters())
    return {
        "parameters": parameters,
        "input": list(shape),
        "layers": len(spec.layers),
        "weights": sum(layer.weights for layer in spec.layers),
        "coverage": spec.coverage,
        "left": by_kind(model, found),
        "idle": parameters - accounted(model, found),
        "folded": len(found.norms),
        "rewritten": sum(forward_of(m) in REWRITES for m in model.modules()),
        "macs": sum(layer.macs for layer in spec.layers),
        "product_macs": sum(found.products.values()),
        "exported": found.exported,
        "warnings": list(spec.warnings),
        "seconds": round(seconds, 1),
    }


def input_shape(name: str, timm: Any) -> tuple[int, ...]:
    """Channels and sides the network is usually given."""
    source, _, architecture = name.partition("/")
    if source == "timm":
        return tuple(timm.get_pretrained_cfg(architecture).input_size)
    side = SIDES.get(architecture, 224)
    return (3, side, side)


def on_meta(architecture: str) -> nn.Module:
    """A torchvision network without memory for its weights."""
    options = {"init_weights": False} if architecture in ("googlenet", "inception_v3") else {}
    if not architecture.startswith("regnet"):
        with torch.device("meta"):
            return torchvision.models.get_model(architecture, weights=None, **options)
    # regnets compute with numbers while they are built
    with no_initialisation():
        return torchvision.models.get_model(architecture, weights=None).to("meta")


@contextmanager
def no_initialisation() -> Iterator[None]:
    """Leave new weights as they are: filling them takes minutes."""
    names = [n for n in dir(nn.init) if n.endswith("_") and not n.startswith("_")]
    before = {n: getattr(nn.init, n) for n in names}
    for n in names:
        setattr(nn.init, n, lambda tensor, *_, **__: tensor)
    try:
        yield
    finally:
        for n, function in before.items():
            setattr(nn.init, n, function)


def accounted(model: nn.Module, found: Found) -> int:
    """Parameters under a bit-width, biases of layers, folded norms, or listed as left in float."""
    rewritten = expose_layers(model)
    paths = [*found.spec.names, *found.norms.values()]
    inside = {
        id(p): p.numel()
        for path in paths
        for p in rewritten.get_submodule(path).parameters(recurse=False)
    }
    return sum(inside.values()) + sum(found.spec.left_in_float.values())


def by_kind(model: nn.Module, found: Found) -> dict[str, int]:
    """Parameters left in float, by what they are."""
    rewritten, kinds = expose_layers(model), dict.fromkeys((*KINDS, "other"), 0)
    for name, count in found.spec.left_in_float.items():
        owner = type(rewritten.get_submodule(name.rpartition(".")[0])).__name__
        text = f"{name}.{owner}".lower()
        kind = next((k for k, words in KINDS.items() if any(w in text for w in words)), "other")
        kinds[kind] += count
    return {kind: count for kind, count in kinds.items() if count}


@torch.no_grad()
def difference(name: str, timm: Any) -> float:
    """Relative difference of the outputs of the wrapped network, in float, from its own.

    Weights are random; those that networks start at zero, or all but zero, and the statistics of
    batch-norms are random too, so that no branch is silent.
    """
    source, _, architecture = name.partition("/")
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    if source == "timm":
        model = timm.create_model(architecture)
    else:
        with no_initialisation():
            model = torchvision.models.get_model(architecture, weights=None)
        for parameter in model.parameters():
            fan = parameter[0].numel() if parameter.dim() > 1 else 1
            spread, centre = (fan**-0.5, 0.0) if parameter.dim() > 1 else (0.1, 0.5)
            parameter.normal_(centre, spread, generator=generator)
    for parameter in model.parameters():
        if parameter.abs().max() < 1e-3:
            parameter.normal_(std=0.1, generator=generator)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    x = torch.randn(1, *input_shape(name, timm), generator=generator)
    return float_gap(model, QuantizedModel(model, find_layers(model, x, architecture)), x)


if __name__ == "__main__":
    main()
