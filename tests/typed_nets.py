"""Small networks that take no images, built by name as a user's own code would be."""

from typing import Any

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Ids and a mask in, a vector at each position out: 4 linear layers."""

    def __init__(self, words: int = 50, width: int = 16, outputs: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, outputs)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embedding(ids)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / x.shape[2] ** 0.5
        scores = scores.masked_fill(mask[:, None] == 0, -1e9)
        return self.out(x + scores.softmax(2) @ self.value(x))


class Detector(nn.Module):
    """Two outputs of a signal: what it is, and where."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv1d(2, 8, 5, padding=2)
        self.what = nn.Linear(8, 3)
        self.where = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x).relu().mean(2)
        return {"what": self.what(y), "where": self.where(y)}


def _seeded(build: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = build().eval()
    return network


def encoder() -> nn.Module:
    """An Encoder with weights drawn by a fixed seed."""
    return _seeded(Encoder)


def wide_encoder() -> nn.Module:
    """An Encoder of sixty words."""
    return _seeded(lambda: Encoder(words=60))


def language_model() -> nn.Module:
    """An Encoder that scores every word at each position."""
    return _seeded(lambda: Encoder(outputs=50))


def detector() -> nn.Module:
    """A Detector with weights drawn by a fixed seed."""
    return _seeded(Detector)


def autoencoder() -> nn.Module:
    """Rows of 12 numbers through 4 and back."""
    return _seeded(lambda: nn.Sequential(nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 12)))
