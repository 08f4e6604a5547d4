"""Files of networks and data for tests of what users bring."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from qcore.add_network import usual_preprocessing
from qcore.allocation import ModelSpec
from qcore.models.cards import Card, write_card
from qcore.models.catalog import read_models
from qcore.models.preprocessing import Preprocessing
from qcore.models.zoo import build_model
from qcore.network.layers import find_layers

SHAPE = (1, 8, 8)


class Payload:
    """What unpickling this would run: it leaves a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def resnet8_weights(path: Path, classes: int = 3, seed: int = 3) -> Path:
    """Random weights of a bundled ResNet-8 of one channel, saved by the file's ending."""
    state = build_model("resnet8", classes=classes, seed=seed).state_dict()
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@cache
def _layers(classes: int) -> ModelSpec:
    net = build_model("resnet8", classes=classes)
    return find_layers(net, torch.zeros(1, *SHAPE), "net").spec


def add_resnet8(name: str, weights: Path, classes: int = 3) -> Card:
    """Put a card of a bundled ResNet-8 with these weights into the data folder."""
    card = Card(
        name,
        "My network",
        "bundled",
        "resnet8",
        SHAPE,
        classes,
        Preprocessing(1, 8, 8, mean=(0.5,), std=(0.29,)),
    )
    written = write_card(card, weights, replace(_layers(classes), name=name))
    assert name in read_models()
    return written


def network_of(folder: Path, shape: tuple[int, int, int]) -> ModelSpec:
    """Put a card of a small network of two classes, "net", into the data folder."""
    net = nn.Sequential(
        nn.Conv2d(shape[0], 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).eval()
    spec = find_layers(net, torch.zeros(1, *shape), "net").spec
    torch.save(net.state_dict(), folder / "w.pt")
    steps = usual_preprocessing("factory", "", net, shape)
    write_card(Card("net", "net", "factory", "x.y:z", shape, 2, steps), folder / "w.pt", spec)
    return spec


def tensor_file(path: Path, n: int = 60, classes: int = 3, seed: int = 0) -> Path:
    """Random images of SHAPE with labels, as .npz or .pt."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8)
    y = np.arange(n) % classes
    if path.suffix == ".npz":
        np.savez(path, x=x, y=y)
    else:
        torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, path)
    return path


class TwoLayers(nn.Module):
    """A convolution with its norm and a linear layer."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def two_layers(seed: int = 0) -> TwoLayers:
    """A TwoLayers with norms that are not the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = TwoLayers()
        nn.init.uniform_(net.norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(net.norm.running_var, 0.5, 1.5)
        nn.init.uniform_(net.norm.weight, 0.5, 1.5)
    return net.eval()


class TwoInputs(nn.Module):
    """Takes two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TwoLayers()

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.inner(x * mask)


class GivesDict(nn.Module):
    """Returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TwoLayers()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.inner(x), "aux": x}


class Branches(nn.Module):
    """Goes one of two ways by what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = TwoLayers(), TwoLayers()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) if float(x.mean()) > 0.1 else self.right(x)


def not_a_network() -> int:
    return 3


def fails() -> nn.Module:
    raise ZeroDivisionError("no such luck")


def leaves() -> nn.Module:
    raise SystemExit(3)


def in_half() -> nn.Module:
    return TwoLayers().half()


def in_double() -> nn.Module:
    return TwoLayers().double()


class GivesPair(GivesDict):
    """Returns a tuple."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inner(x), x
