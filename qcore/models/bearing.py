"""The bundled network that takes no images: an autoencoder of machine vibrations."""

from itertools import pairwise

from torch import Tensor, nn

CODE = 2
"""Channels of the code: a window of 256 samples becomes 8 times 2 numbers."""


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    layer = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return [layer, nn.BatchNorm1d(outputs), nn.ReLU()]


class VibrationAutoencoder(nn.Module):
    """Gives back a window from a code of a sixteenth as many numbers: 12 convolutions over time.

    Trained on usual windows alone, it gives back faulty ones worse; the squared error is the
    anomaly score. A window's length must be a multiple of 32.
    """

    def __init__(self, classes: int | None = None, in_channels: int = 1) -> None:
        """Take `in_channels` signals side by side and give back `classes`, as many where None."""
        super().__init__()
        widths = (12, 24, 32, 40, 48)
        encoder = _conv(in_channels, widths[0], 9, 2)
        for inputs, outputs in pairwise(widths):
            encoder += _conv(inputs, outputs, 5, 2)
        self.encoder = nn.Sequential(*encoder, nn.Conv1d(widths[-1], CODE, 3, padding=1))
        decoder = _conv(CODE, widths[-1], 3)
        for inputs, outputs in pairwise(reversed(widths)):
            decoder += [nn.Upsample(scale_factor=2.0), *_conv(inputs, outputs, 5)]
        decoder += [
            nn.Upsample(scale_factor=2.0),
            nn.Conv1d(widths[0], classes or in_channels, 9, padding=4),
        ]
        self.decoder = nn.Sequential(*decoder)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (n, in_channels, length) to (n, classes, length)."""
        return self.decoder(self.encoder(x))
