"""The small networks bitdial ships trained: resnet8, resnet20, mobilenet, bearing, verse_decoder.

Plain float PyTorch modules, the first three here for (n, 1, 28, 28) images and ten classes; nothing
knows about quantization. Their weights come from `benchmarks/networks/train_zoo.py`, those of the
others, in files of their own, from `train_bearing.py` and `train_decoder.py`.
"""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from qcore.models.bearing import VibrationAutoencoder
from qcore.models.decoder import verse_decoder
from qcore.models.tiny import AnomalyAutoencoder, KeywordNetwork, TinyResNet, WakeWordNetwork


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; a 1x1 convolution where the shape changes.

    Differs from the paper (He et al. 2016, section 4.2): the shortcut is a 1x1 convolution
    (their option B), not zero padding, so that it is a layer with bits of its own.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv(outputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                _conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h/stride, w/stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """CIFAR-style residual network with 16-32-64 channels and `blocks` blocks per stage.

    Three blocks a stage is ResNet-20 (22 weight layers with the shortcuts), one is ResNet-8 (10).

    Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """

    def __init__(self, blocks: int, classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        first = ResidualBlock(inputs, outputs, stride)
        return nn.Sequential(
            first, *(ResidualBlock(outputs, outputs, 1) for _ in range(blocks - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, in_channels, h, w) to logits (n, classes)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.fc(self.pool(out).flatten(1))


class InvertedResidual(nn.Module):
    """Expand (1x1), depthwise (3x3), project (1x1), with a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [_conv(inputs, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU6()]
        layers += [
            _conv(hidden, hidden, 3, stride, groups=hidden),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            _conv(hidden, outputs, 1),
            nn.BatchNorm2d(outputs),
        ]
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h/stride, w/stride)."""
        return x + self.body(x) if self.residual else self.body(x)


# (expansion, output channels, blocks, stride of the first block)
MOBILENET_STAGES = ((1, 16, 1, 1), (4, 24, 2, 2), (4, 40, 3, 2), (4, 64, 3, 1))


class MobileNet(nn.Module):
    """A MobileNetV2 scaled to 28x28 images: depthwise separable, 29 weight layers.

    Reference: Sandler et al., MobileNetV2, CVPR 2018, table 2, with fewer and narrower stages.
    """

    def __init__(
        self,
        classes: int = 10,
        in_channels: int = 1,
        stages: Sequence[tuple[int, int, int, int]] = MOBILENET_STAGES,
        head: int = 160,
    ) -> None:
        super().__init__()
        width = 16
        layers: list[nn.Module] = [_conv(in_channels, width, 3), nn.BatchNorm2d(width), nn.ReLU6()]
        for expansion, outputs, blocks, stride in stages:
            for index in range(blocks):
                layers.append(
                    InvertedResidual(width, outputs, stride if index == 0 else 1, expansion)
                )
                width = outputs
        layers += [_conv(width, head, 1), nn.BatchNorm2d(head), nn.ReLU6()]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, in_channels, h, w) to logits (n, classes)."""
        return self.classifier(self.pool(self.features(x)).flatten(1))


BUNDLED: dict[str, Callable[..., nn.Module]] = {
    "resnet8": partial(ResNet, 1),
    "resnet20": partial(ResNet, 3),
    "mobilenet": MobileNet,
    "bearing": VibrationAutoencoder,
    "verse_decoder": verse_decoder,
}
"""Builders of the bundled networks; they take `classes` and `in_channels`."""

BUILDERS: dict[str, Callable[..., nn.Module]] = BUNDLED | {
    "ds_cnn": KeywordNetwork,
    "tiny_autoencoder": AnomalyAutoencoder,
    "vww_mobilenet": WakeWordNetwork,
    "tiny_resnet8": TinyResNet,
}
"""The same with the architectures that come without weights, by their name in ARCHITECTURES."""
