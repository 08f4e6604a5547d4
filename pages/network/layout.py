"""Where each node of a network's graph is drawn, and which way its arrows go. Pure.

Layered from top to bottom (Sugiyama, Tagawa and Toda 1981), by graphlay.
"""

from dataclasses import dataclass

import graphlay

from pages.network.wiring import Wires

Spot = tuple[float, float]

WIDTH, HEIGHT = 180.0, 40.0
"""Size of a layer, in units that are pixels at the usual size."""

SIZES = {
    "layer": (WIDTH, HEIGHT),
    "join": (26.0, 22.0),
    "input": (WIDTH, 24.0),
    "output": (WIDTH, 24.0),
}
"""Width and height of each kind of node."""

MARGIN = 16.0
LANE = 14.0
"""Distance of the lines at the right, of what runs again."""

LARGE = 600
"""Nodes from which on the layout takes the quick way: a second, not ten."""

OPTIONS = {
    "direction": "topbottom",
    "spacing": {"layer_gap": 26.0, "node_gap": 20.0, "dummy_gap": 16.0, "stub": 8.0},
    "routing": {"port_sides": "facing_only"},
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A graph with its places; everything at or right of and below (0, 0).

    Attributes:
        centres: Middle of each node, in the order of the wires' nodes.
        lines: Corners of each arrow, from its source's edge to its target's, in their order.
        passing: Whether each arrow passes other nodes by, as a residual branch does.
        again: Lines of what runs again.
        width: Of everything.
        height: Of everything.
    """

    centres: tuple[Spot, ...]
    lines: tuple[tuple[Spot, ...], ...]
    passing: tuple[bool, ...]
    again: tuple[tuple[Spot, ...], ...]
    width: float
    height: float


def place(wires: Wires) -> Placed:
    """Lay a graph out: nodes of a layer of the drawing beside one another, arrows downwards."""
    graph = graphlay.Graph()
    for node in wires.nodes:
        width, height = SIZES[node.kind]
        graph.node(width=width, height=height)
    for source, target in wires.arrows:
        graph.edge(source, target)
    effort = "fast" if len(wires.nodes) > LARGE else "balanced"
    found = graphlay.layout(graph, options={**OPTIONS, "effort": effort})
    centres = [(node["center"]["x"], node["center"]["y"]) for node in found.nodes]
    lines = [[(spot["x"], spot["y"]) for spot in edge["points"]] for edge in found.edges]
    sizes = [SIZES[node.kind] for node in wires.nodes]
    across = [x for line in lines for x, _ in line]
    across += [
        x + side * w / 2 for (x, _), (w, _) in zip(centres, sizes, strict=True) for side in (-1, 1)
    ]
    tops = [y - h / 2 for (_, y), (_, h) in zip(centres, sizes, strict=True)]
    ends = [y + h / 2 for (_, y), (_, h) in zip(centres, sizes, strict=True)]
    left, top = min(across) - MARGIN, min(tops) - MARGIN
    right, bottom = max(across) + MARGIN, max(ends) + MARGIN

    def moved(spots: list[Spot]) -> tuple[Spot, ...]:
        return tuple((round(x - left, 1), round(y - top, 1)) for x, y in spots)

    again = []
    for lane, (source, target) in enumerate(wires.again):
        (x, y), (into, at) = centres[source], centres[target]
        turn = right + LANE * lane
        again.append([(x + WIDTH / 2, y), (turn, y), (turn, at), (into + WIDTH / 2, at)])
    right += LANE * len(again)
    return Placed(
        moved(centres),
        tuple(moved(line) for line in lines),
        tuple(edge["kind"] != "direct" for edge in found.edges),
        tuple(moved(line) for line in again),
        round(right - left, 1),
        round(bottom - top, 1),
    )
