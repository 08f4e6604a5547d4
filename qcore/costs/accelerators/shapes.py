"""What an accelerator needs to know of a layer: the sizes of its loops, not its name. Torch-free.

Tables are keyed by shape, so that equal layers of any network share one entry.
"""

import math
from dataclasses import dataclass

from qcore.allocation import LayerSpec


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """The loops of a convolution or a linear layer, for one sample.

    Attributes:
        outputs: Output channels of one group.
        inputs: Input channels of one group.
        groups: Groups.
        kernel: Kernel height and width, 1 for a linear layer.
        size: Output height and width, 1 for a linear layer.
        stride: Stride, the same both ways.
    """

    outputs: int
    inputs: int
    groups: int = 1
    kernel: int = 1
    size: int = 1
    stride: int = 1

    @property
    def key(self) -> str:
        """How tables name it: "16x32 k3 s2 o14" or "1x1 g64 k3 s1 o28" (outputs x inputs)."""
        groups = f" g{self.groups}" if self.groups > 1 else ""
        return f"{self.outputs}x{self.inputs}{groups} k{self.kernel} s{self.stride} o{self.size}"


def shape_of(layer: LayerSpec) -> Shape | None:
    """Return the loops of a layer; None where these facts cannot tell them.

    Square kernels, square maps, equal strides, one call a sample; other layers (and linear layers
    on sequences) have no entry in a table.
    """
    per_group_out, per_group_in = layer.channels // layer.groups, layer.in_channels // layer.groups
    if layer.kind == "linear":
        whole = layer.inputs == layer.in_channels and layer.outputs == layer.channels
        return Shape(layer.channels, layer.in_channels) if whole else None
    if layer.kind != "conv2d" or not per_group_in:
        return None
    if layer.weights % (layer.channels * per_group_in):
        return None
    kernel = math.isqrt(layer.weights // (layer.channels * per_group_in))
    size = math.isqrt(layer.outputs // layer.channels)
    before = math.isqrt(layer.inputs // layer.in_channels)
    exact = (
        kernel * kernel * layer.channels * per_group_in == layer.weights
        and size * size * layer.channels == layer.outputs
        and before * before * layer.in_channels == layer.inputs
        and layer.macs == layer.outputs * kernel * kernel * per_group_in
    )
    if not exact or not size:
        return None
    return Shape(
        per_group_out, per_group_in, layer.groups, kernel, size, max(1, round(before / size))
    )
