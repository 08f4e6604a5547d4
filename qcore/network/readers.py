"""Further places of a network that read a layer's weights in a way of their own.

One stored tensor may be read by several modules: at other strides, paddings or dilations, or with
another bias. It is one layer, with one set of codes and one width, whatever the places are.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from qcore.network.operation import operation_of

SHARED = ("groups",)
"""What modules must have alike, besides their class, for one set of codes to serve them."""


class Reader(nn.Module):
    """A place where a layer is called with other arithmetic; it has no weights of its own.

    Args:
        layer: The layer, which keeps its arithmetic as `operation`.
        module: The float module that stood here.
        owner: The float module that the layer stands for; both have one weight.

    Attributes:
        layer: As given.
        operation: The arithmetic here.
        more: What the bias here is beyond the layer's, (channels,); None where it is the same.
    """

    more: Tensor | None

    def __init__(self, layer: nn.Module, module: Any, owner: Any) -> None:
        super().__init__()
        self.layer: Any = layer
        self.operation = operation_of(module)
        self.register_buffer("more", _difference(module, owner))

    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the float module that stood here."""
        usual, self.layer.operation = self.layer.operation, self.operation
        try:
            y: Tensor = self.layer(x)
        finally:
            self.layer.operation = usual
        if self.more is None:
            return y
        last = self.operation.channel_axis == -1
        return y + (self.more if last else self.more.view(-1, *[1] * (y.dim() - 2)))


def reads_alike(one: nn.Module, other: nn.Module) -> bool:
    """True where one set of codes serves two modules that share a weight."""
    return type(one) is type(other) and all(
        getattr(one, key, None) == getattr(other, key, None) for key in SHARED
    )


def _difference(module: Any, owner: Any) -> Tensor | None:
    biases = [getattr(each, "bias", None) for each in (module, owner)]
    if biases[0] is biases[1]:
        return None
    own, theirs = (None if bias is None else bias.detach().float() for bias in biases)
    if own is None or theirs is None:
        return own if theirs is None else -theirs
    return own - theirs


def put(
    network: nn.Module, layer: nn.Module, name: str, aliases: Iterable[str], readers: Iterable[str]
) -> None:
    """Put a layer at all its places in a network; changed in place.

    Args:
        network: Float modules at these paths, or what was put there before.
        layer: What takes their place.
        name: The layer's own path.
        aliases: Paths where it is called in the same way.
        readers: Paths where it is called in another way.
    """
    owner, made = network.get_submodule(name), {}
    for path in readers:
        there = network.get_submodule(path)
        if isinstance(there, Reader):
            there.layer = layer
            continue
        if there not in made:
            made[there] = Reader(layer, there, owner)
        network.set_submodule(path, made[there])
    for path in (name, *aliases):
        network.set_submodule(path, layer)
