"""Floats of 16 bits: values are cast to bfloat16 or float16 and back, without scale or range.

What lies beyond the largest finite value is held there instead of becoming infinite, so that one
outlier does not turn all answers into NaN; within it a cast is torch's own.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from qcore.allocation import BFLOAT16, FLOAT16

HALF_TYPES = {BFLOAT16: torch.bfloat16, FLOAT16: torch.float16}
"""Width to torch's type."""


def cast(x: Tensor, width: int) -> Tensor:
    """The nearest values of a float width, in x's own type and shape; x itself at float.

    Args:
        x: Floats of any shape. The gradient goes straight through.
        width: BFLOAT16, FLOAT16 or FLOAT_BITS.

    Example:
        >>> cast(torch.tensor([1.001, 1e9]), FLOAT16)
        tensor([1.0010e+00, 6.5504e+04])
    """
    if width not in HALF_TYPES:
        return x
    kind = HALF_TYPES[width]
    most = torch.finfo(kind).max
    return x.clamp(-most, most).to(kind).to(x.dtype)


@dataclass(frozen=True, slots=True)
class HalfGrid:
    """Levels of an activation that is cast: those of its type, in their own unit.

    Attributes:
        width: BFLOAT16 or FLOAT16.
    """

    width: int
    step: ClassVar[float] = 1.0
    offset: ClassVar[float] = 0.0

    def codes(self, x: Tensor) -> Tensor:
        """The cast values of x, any shape: a float is its own code."""
        return cast(x, self.width)

    def quantize(self, x: Tensor) -> Tensor:
        """The same."""
        return cast(x, self.width)
