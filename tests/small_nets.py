"""Small networks and images for tests of the torch half."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from qcore.allocation import LayerBits
from qcore.costs.budget import make_options
from qcore.data import Data, Images
from qcore.network.layers import Found, find_layers
from qcore.ptq.model import QuantizedModel
from qcore.qat.checkpoints import Checkpoints
from qcore.qat.model import TrainableModel
from qcore.qat.setup import Setup
from qcore.qat.trainer import Trainer
from qcore.scoring.evaluator import Evaluator


class SmallNet(nn.Module):
    """Convolutions with norms, a depthwise one, an in-place join and a linear layer: 5 layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.left = nn.Conv2d(8, 12, 1)
        self.right = nn.Conv2d(8, 12, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = self.relu(self.norm(self.depthwise(x)))
        y = self.left(x)
        y += self.right(x)
        return self.head(self.relu(y).mean((2, 3)))


def small_net(seed: int = 0) -> SmallNet:
    """A SmallNet whose norms have seen data, in eval mode; the caller's own."""
    return copy.deepcopy(_seen(seed))


@cache
def _seen(seed: int) -> SmallNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SmallNet()
        net.train()
        for _ in range(30):
            net(torch.rand(32, 1, 8, 8))
        for norm in (net.stem[1], net.norm):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.3, 0.3)
        nn.init.normal_(net.head.weight, std=3.0)
    return net.eval()


def small_images(n: int, seed: int = 1, labelled: bool = True) -> Images:
    """n random 1x8x8 images and random labels of four classes."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 4, (n,), generator=generator) if labelled else None
    return Images(pixels, labels)


def small_data(labelled: bool = True) -> Data:
    """64 calibration, 64 search and 96 test images."""
    parts = [small_images(n, seed, labelled) for n, seed in ((64, 1), (64, 2), (96, 3))]
    return Data(
        name="small",
        classes=4 if labelled else None,
        class_names=("a", "b", "c", "d") if labelled else (),
        mean=(0.0,),
        std=(1.0,),
        input_shape=(1, 8, 8),
        calibration=parts[0],
        search=parts[1],
        test=parts[2],
        digest="0" * 64,
    )


@cache
def found(seed: int) -> Found:
    return find_layers(small_net(seed), torch.zeros(1, 1, 8, 8), "small")


def small_model(seed: int = 0, **options: object) -> QuantizedModel:
    """SmallNet, wrapped."""
    return QuantizedModel(small_net(seed), found(seed), **options)  # type: ignore[arg-type]


def small_evaluator(labelled: bool = True) -> Evaluator:
    """An evaluator of SmallNet on random images, batches of 32."""
    return Evaluator(small_model(), small_data(labelled), batch_size=32)


def small_options(
    weights: Sequence[int] = (1, 2, 3, 4, 32), inputs: Sequence[int] = (2, 4, 8, 32)
) -> dict[str, tuple[LayerBits, ...]]:
    """Options of SmallNet's layers."""
    return make_options(found(0).spec.layers, weights, inputs)


def small_trainable(**options: object) -> TrainableModel:
    """SmallNet, wrapped for training, its scales begun on 64 random images."""
    model = TrainableModel(small_net(), found(0), small_options(), **options)  # type: ignore[arg-type]
    model.start_scales([x for x, _ in small_images(64).batches(32)])
    return model


def small_setup(checkpoints: Checkpoints, **changes: Any) -> Setup:
    """SmallNet with 96 random images to train on; fields of `Setup` may be changed."""
    calibration = [x for x, _ in small_images(64).batches(32)]
    setup = Setup(
        small_net(), found(0), small_options(), small_images(96, 4), calibration, checkpoints
    )
    return replace(setup, **changes)


def small_trainer(
    checkpoints: Checkpoints, evaluator: Evaluator | None = None, **changes: Any
) -> Trainer:
    """A trainer of `small_setup`; the evaluator, where given, knows of it."""
    trainer = Trainer(small_setup(checkpoints, **changes))
    if evaluator is not None:
        evaluator.trainer = trainer
    return trainer
