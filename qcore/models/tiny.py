"""The four reference architectures of MLPerf Tiny, for microcontrollers; weights are the user's.

Layer for layer those of the benchmark's Keras models: convolutions with biases before their norms,
and TensorFlow's padding, which with stride 2 adds one more row behind than before. So weights that
were trained there compute the same here, once their tensors are brought into PyTorch's order.

References: Banbury et al., MLPerf Tiny Benchmark, NeurIPS Datasets and Benchmarks 2021, and its
repository mlcommons/tiny. Zhang et al., Hello Edge, arXiv 1711.07128, 2017 (the keyword network);
Howard et al., MobileNets, arXiv 1704.04861, 2017; Koizumi et al., DCASE 2020 task 2 (the
autoencoder).
"""

from itertools import pairwise

from torch import Tensor, nn


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU()]


def _conv(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A 3x3 convolution padded as TensorFlow pads an even size, with norm and ReLU."""
    if stride == 2:
        return [
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(inputs, outputs, 3, 2, groups=groups),
            *_norm_relu(outputs),
        ]
    return [nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups), *_norm_relu(outputs)]


def _separable(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise 3x3 convolution, then one of 1x1."""
    depthwise = _conv(inputs, inputs, stride, groups=inputs)
    return [*depthwise, nn.Conv2d(inputs, outputs, 1), *_norm_relu(outputs)]


class KeywordNetwork(nn.Module):
    """DS-CNN for keywords: four depthwise separable convolutions of 64 channels, 10 layers."""

    def __init__(self, classes: int = 12, in_channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ZeroPad2d((1, 1, 4, 5)),
            nn.Conv2d(in_channels, 64, (10, 4), 2),
            *_norm_relu(64),
            nn.Dropout(0.2),
            *(layer for _ in range(4) for layer in _separable(64, 64)),
            nn.Dropout(0.4),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (n, in_channels, 49 frames, 10 coefficients) to logits (n, classes)."""
        return self.classifier(self.pool(self.features(x)).flatten(1))


class AnomalyAutoencoder(nn.Module):
    """Ten linear layers, 640 numbers through a code of 8 and back; its error is the score."""

    def __init__(self, classes: int | None = None, in_channels: int = 640) -> None:
        """Take `in_channels` numbers and give back `classes`, as many where None."""
        super().__init__()
        widths = (in_channels, *(128,) * 4, 8, *(128,) * 4)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes or in_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (n, in_channels) to rows (n, classes) of the same size."""
        return self.layers(x)


# channels and stride of each depthwise separable convolution, a quarter of MobileNet's width
_WIDTHS = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
_HALVING = (1, 3, 5, 11)


class WakeWordNetwork(nn.Module):
    """MobileNet v1 of a quarter of the width, for whether a person is in the picture, 28 layers."""

    def __init__(self, classes: int = 2, in_channels: int = 3) -> None:
        super().__init__()
        layers = _conv(in_channels, 8, 2)
        for at, (inputs, outputs) in enumerate(pairwise((8, *_WIDTHS))):
            layers += _separable(inputs, outputs, 2 if at in _HALVING else 1)
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(_WIDTHS[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, in_channels, 96, 96) to logits (n, classes)."""
        return self.classifier(self.pool(self.features(x)).flatten(1))


class TinyBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(inputs, outputs, stride), *_conv(outputs, outputs)[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h/stride, w/stride)."""
        return self.relu(self.body(x) + self.shortcut(x))


class TinyResNet(nn.Module):
    """ResNet-8 for 32x32 images: three blocks of 16, 32 and 64 channels, 10 layers."""

    def __init__(self, classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv(in_channels, 16))
        self.blocks = nn.Sequential(
            TinyBlock(16, 16, 1), TinyBlock(16, 32, 2), TinyBlock(32, 64, 2)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, in_channels, 32, 32) to logits (n, classes)."""
        return self.classifier(self.pool(self.blocks(self.stem(x))).flatten(1))
