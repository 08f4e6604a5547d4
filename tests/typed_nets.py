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
        self.body = nn.Sequential(nn.Conv1d(2, 8, 5, padding=2), nn.BatchNorm1d(8))
        self.what = nn.Linear(8, 3)
        self.where = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x).relu().mean(2)
        return {"what": self.what(y), "where": self.where(y)}


class Listener(nn.Module):
    """A piece of sound, what was heard before and the rate: is it speech, and the new state."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(64, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, sound: Tensor, state: Tensor, sr: Tensor, mask: Tensor) -> Tensor:
        x = self.body(sound * mask) + state
        return self.out(x.tanh() * (sr / 16_000))


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


def keywords() -> nn.Module:
    """Three words from the 49x10 coefficients of a second of sound."""
    return _seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, (10, 4), (2, 2), (5, 1)),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * 25 * 5, 3),
        )
    )


def waveform() -> nn.Module:
    """Two classes from 400 samples of a sound."""
    return _seeded(
        lambda: nn.Sequential(nn.Conv1d(1, 4, 16, 8), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 2))
    )


def listener() -> nn.Module:
    """A Listener with weights drawn by a fixed seed."""
    return _seeded(Listener)


def sound_autoencoder() -> nn.Module:
    """64 samples of a sound through 8 numbers and back."""
    return _seeded(lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 64)))


def segmenter() -> nn.Module:
    """Three classes at every place of a colour image."""
    return _seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
        )
    )


def foreground() -> nn.Module:
    """Yes or no at every place of a colour image."""
    return _seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)
        )
    )


def denoiser() -> nn.Module:
    """A colour image again, two places smaller on each side."""
    return _seeded(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3)))


def enlarger() -> nn.Module:
    """A grey image twice as large."""
    return _seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 4, 3, padding=1),
            nn.PixelShuffle(2),
        )
    )


def coarse_segmenter() -> nn.Module:
    """Three classes at a quarter of the places on each side."""
    return _seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
        )
    )
