"""How an image file becomes a model's input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image file becomes a model's input.

    An image is scaled, its sides in proportion, until it just covers `cover`; then the centre is
    cut out at (height, width). For a square input that is "resize the shorter side, crop".

    Attributes:
        channels: 3 for colour, 1 for grey; other numbers take files of so many channels.
        height: Height of the centre crop, pixels: that of the model's input.
        width: Width of the centre crop, pixels.
        resize: What the shorter side of the crop is cut out of, pixels; None is that side itself.
        interpolation: "bilinear" or "bicubic", antialiased; "nearest" for maps of class numbers.
        mean: Subtracted from each channel scaled to 0..1.
        std: What each channel is then divided by.
    """

    channels: int = 3
    height: int = 224
    width: int = 224
    resize: int | None = None
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        return self.channels, self.height, self.width

    @property
    def cover(self) -> tuple[int, int]:
        """(height, width) that a scaled image just covers, pixels; of the crop's proportions."""
        short = min(self.height, self.width)
        wanted = short if self.resize is None else self.resize
        return round(self.height * wanted / short), round(self.width * wanted / short)

    @classmethod
    def from_json(
        cls, data: Mapping[str, Any], input_shape: tuple[int, ...] | None = None
    ) -> "Preprocessing":
        """Read what `dataclasses.asdict` gave, now or before height and width were told apart.

        Args:
            data: The fields. Earlier ones have one "crop" for both sides.
            input_shape: (channels, height, width) of the network. A crop of its shorter side
                stands for an input that is not square.

        Raises:
            KeyError, TypeError, ValueError: fields are missing or of the wrong kind.
        """
        fields = dict(data)
        if "crop" in fields:
            side = int(fields.pop("crop"))
            fields |= {"height": side, "width": side}
            if input_shape is not None and side == min(input_shape[1:]):
                fields |= {"height": input_shape[1], "width": input_shape[2]}
        fields |= {key: tuple(map(float, fields[key])) for key in ("mean", "std")}
        return cls(**fields)
