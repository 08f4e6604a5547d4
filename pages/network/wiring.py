"""The drawn graph of a network: its layers, what joins between them, and who feeds whom. Pure.

A model's facts say which layers' outputs reach a layer's input, through anything that is not itself
a layer. Where more than one does, something joins them; the joins are found again from these sets:
a set that holds another one reads that join and what is new, which is how residual sums follow one
another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qcore.allocation import LayerSpec, ModelSpec

Kind = Literal["input", "layer", "join", "output"]

SUM, SIDE_BY_SIDE, UNKNOWN = "+", "||", "*"
"""Signs of joins: as many channels as one part has, as many as all have, or neither."""

JOIN_WORDS = {
    SUM: "joined at the same number of channels, as a sum does",
    SIDE_BY_SIDE: "joined side by side: the channels of all of them",
    UNKNOWN: "joined in a way that the facts do not tell",
}
"""What each sign means."""

MOST_ARROWS_EACH = 12
"""More arrows for each layer than this cannot be followed by anybody; then only order is drawn."""


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that is drawn.

    Attributes:
        kind: What it is.
        layer: Place of the layer among the model's, from 0; -1 for all else.
        sign: Of a join, one of JOIN_WORDS; else "".
    """

    kind: Kind
    layer: int = -1
    sign: str = ""


@dataclass(frozen=True, slots=True)
class Wires:
    """A network's graph.

    Attributes:
        nodes: The input, then layers and joins in execution order, then the output.
        arrows: (from, to) as places in `nodes`; always forward: the first is the smaller.
        again: (from, to) of what runs more than once and reads what comes after it; never forward.
        known: False where it is not known who feeds whom: then arrows follow the order alone.
    """

    nodes: tuple[Node, ...]
    arrows: tuple[tuple[int, int], ...]
    again: tuple[tuple[int, int], ...] = ()
    known: bool = True


def read_wires(model: ModelSpec) -> Wires:
    """The graph of a model, from the facts about its layers."""
    layers = model.layers
    if len(layers) > 1 and not any(layer.producers for layer in layers):
        return in_order(len(layers))
    wires = _Wires(layers).wires()
    return wires if len(wires.arrows) <= MOST_ARROWS_EACH * len(layers) else in_order(len(layers))


def in_order(count: int) -> Wires:
    """A chain of so many layers: what is drawn where nothing but the order is known."""
    nodes = (Node("input"), *(Node("layer", place) for place in range(count)), Node("output"))
    return Wires(nodes, tuple((at, at + 1) for at in range(count + 1)), known=False)


class _Wires:
    """The graph while it is put together, layer by layer."""

    def __init__(self, layers: Sequence[LayerSpec]) -> None:
        self.layers = layers
        self.nodes: list[Node] = [Node("input")]
        self.arrows: list[tuple[int, int]] = []
        self.place: dict[str, int] = {}
        self.channels: dict[int, int] = {}
        self.joins: dict[frozenset[str], int] = {}

    def wires(self) -> Wires:
        later: list[tuple[str, str]] = []
        for number, layer in enumerate(self.layers):
            before = [name for name in layer.producers if name in self.place]
            later += [(name, layer.name) for name in layer.producers if name not in self.place]
            source = self._source(before, layer)
            wide = layer.weights // max(1, layer.channels) if layer.looks_up else layer.channels
            at = self._add(Node("layer", number), wide)
            self.place[layer.name] = at
            self.arrows.append((source, at))
        end = self._add(Node("output"), 0)
        read = {source for source, _ in self.arrows}
        self.arrows += [(at, end) for at in range(end) if at not in read]
        again = [(self.place[one], self.place[other]) for one, other in later if one in self.place]
        return Wires(tuple(self.nodes), tuple(self.arrows), tuple(again))

    def _add(self, node: Node, channels: int) -> int:
        self.nodes.append(node)
        self.channels[len(self.nodes) - 1] = channels
        return len(self.nodes) - 1

    def _source(self, before: Sequence[str], reader: LayerSpec) -> int:
        """What a layer reads: the input, another layer, or the join of several."""
        if not before:
            return 0
        if len(before) == 1:
            return self.place[before[0]]
        wanted = frozenset(before)
        if wanted not in self.joins:
            self.joins[wanted] = self._join(wanted, reader)
        return self.joins[wanted]

    def _join(self, wanted: frozenset[str], reader: LayerSpec) -> int:
        left, parts = set(wanted), []
        for known in sorted(self.joins, key=len, reverse=True):
            if known <= left:
                parts.append(self.joins[known])
                left -= known
        parts += [self.place[name] for name in left]
        widths = [self.channels[part] for part in parts]
        sign = _sign(widths, reader)
        width = sum(widths) if sign == SIDE_BY_SIDE else max(widths)
        at = self._add(Node("join", sign=sign), width)
        self.arrows += [(part, at) for part in sorted(parts)]
        return at


def _sign(widths: Sequence[int], reader: LayerSpec) -> str:
    wanted = reader.in_channels
    if wanted == sum(widths):
        return SIDE_BY_SIDE
    if wanted == max(widths):
        return SUM
    if (
        reader.kind in ("linear", "recurrent")
        and wanted % sum(widths)
        and wanted % max(widths) == 0
    ):
        # flattened pictures: channels times places
        return SUM
    return UNKNOWN
