"""ROUNDINGS by name: how weights become codes, looking at what the layer multiplies them with.

A layer's output is a sum of products, so an error in one weight can be made up for by another. All
that has to be known of the inputs x of a layer is the mean of x x', its second moments: with errors
e of an output channel's weights, e' (x x') e is the mean squared error of that channel.

A rounding works on channels in groups that read the same inputs (one group in most layers, one for
each channel in a depthwise convolution). They are listed in `qcore.ptq.rounding_names`.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

from torch import Tensor

from qcore.ptq.rounding_names import ROUNDING_FACTS

Rounding: TypeAlias = Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""(weights (groups, channels, n), second moments of their inputs (groups, n, n), steps (groups,
channels), or of each scale (groups, channels, scales) at a width with groups, bits) to codes like
the weights, whole numbers, and steps like those given."""


def _made(place: str) -> Rounding:
    module, _, name = place.rpartition(".")
    made: Rounding = getattr(import_module(f"{__name__}.{module}"), name)
    return made


ROUNDINGS: dict[str, Rounding] = {name: _made(each.place) for name, each in ROUNDING_FACTS.items()}

__all__ = ["ROUNDINGS", "Rounding"]
