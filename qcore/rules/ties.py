"""Ties: tensors of several layers that have one bit-width, and so are one decision. Torch-free."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from qcore.allocation import LayerBits, width_text
from qcore.errors import InvalidAllocation

Part = Literal["weight", "activation"]
PARTS: tuple[Part, Part] = ("weight", "activation")
WORDS: dict[Part, str] = {"weight": "weights", "activation": "activations"}


@dataclass(frozen=True, slots=True)
class Tie:
    """Layers whose weights, or whose input activations, share one bit-width.

    Attributes:
        part: "weight" or "activation".
        layers: Their names in execution order, at least two.
    """

    part: Part
    layers: tuple[str, ...]

    def check(self, allocation: Mapping[str, LayerBits]) -> None:
        """Raise unless the layers have one width.

        Raises:
            InvalidAllocation: they differ; names them with their bits.
        """
        widths = {name: getattr(allocation[name], self.part) for name in self.layers}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{name} {width_text(bits)}" for name, bits in widths.items())
            raise InvalidAllocation(
                f"The {WORDS[self.part]} of {len(widths)} layers are tied to one bit-width, but "
                f"differ: {listed}. Give them the same."
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `Tie.from_json` reads it back."""
        return {"part": self.part, "layers": list(self.layers)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Tie":
        """Read what `to_json` wrote."""
        return cls(data["part"], tuple(data["layers"]))


def merged(ties: Iterable[Tie], order: Iterable[str]) -> tuple[Tie, ...]:
    """Join the ties that share a layer and a part, as one width cannot be two.

    Args:
        ties: Any ties; a layer may be in several.
        order: Names of all layers in execution order.

    Returns:
        Ties of at least two layers, no tensor in two of them; weights first, by first layer.
    """
    place = {name: at for at, name in enumerate(order)}
    groups: dict[Part, list[set[str]]] = {part: [] for part in PARTS}
    for tie in ties:
        joined = set(tie.layers)
        apart = []
        for group in groups[tie.part]:
            if group & joined:
                joined |= group
            else:
                apart.append(group)
        groups[tie.part] = [*apart, joined]
    return tuple(
        Tie(part, tuple(sorted(group, key=place.__getitem__)))
        for part in PARTS
        for group in sorted(groups[part], key=lambda g: min(place[name] for name in g))
        if len(group) > 1
    )


def holds(ties: Iterable[Tie], allocation: Mapping[str, LayerBits]) -> bool:
    """True where all tied layers of an allocation share their width."""
    return all(
        len({getattr(allocation[name], tie.part) for name in tie.layers}) == 1 for tie in ties
    )
