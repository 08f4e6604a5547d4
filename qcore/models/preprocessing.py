"""How an image file becomes a model's input."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image file becomes a model's input.

    Attributes:
        channels: 3 for colour, 1 for grey.
        crop: Height and width of the centre crop, pixels: the model's input size.
        resize: Length of the shorter side before cropping, pixels.
        interpolation: "bilinear" or "bicubic", antialiased.
        mean: Subtracted from each channel scaled to 0..1.
        std: What each channel is then divided by.
    """

    channels: int = 3
    crop: int = 224
    resize: int = 256
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        return self.channels, self.crop, self.crop
