"""Finding the layers of small networks, and one with an addition in it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.network.layers import find_layers


def of(model, *shape):
    return find_layers(model, torch.randn(1, *shape), "net")


def layer(found, name):
    return next(layer for layer in found.spec.layers if layer.name == name)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.branch = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        x = functional.relu(self.norm(self.branch(x)) + x)
        return self.head(functional.max_pool2d(x, 2)).flatten(1)
