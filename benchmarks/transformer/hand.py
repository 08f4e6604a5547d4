"""The rule of thumb: value and down projections and the last block get more bits. Torch-free."""

import re
from collections.abc import Sequence

from qcore.allocation import LayerSpec

RAISED = re.compile(
    r"(value|v_proj|c_attn|qkv|qkv_proj|query_key_value|down_proj|down|fc2|mlp\.c_proj|w2"
    r"|dense_4h_to_h|(?<!attention\.)output\.dense)$"
)
"""Names of value and down projections in the families that are known."""

_BLOCK = re.compile(r"\.(\d+)\.")
WIDEST_STEP = 2
"""Most bits between those that are raised and the rest."""

MOST_LEFT = 0.25
"""Share of the weights to be raised that may be left out so that the rest fits."""


def raised(layers: Sequence[LayerSpec]) -> list[str]:
    """Names of the layers that the rule raises, the last block first; none where no name is known.

    Args:
        layers: In execution order.
    """
    named = [layer.name for layer in layers if RAISED.search(layer.name)]
    if not named:
        return []
    blocks = {x.name: int(m[1]) for x in layers if (m := _BLOCK.search(f".{x.name}."))}
    last = max(blocks.values(), default=-1)
    first = [name for name, block in blocks.items() if block == last]
    return list(dict.fromkeys([*first, *reversed(named)]))


def widths(layers: Sequence[LayerSpec], bits: float) -> dict[str, int] | None:
    """Bits of each layer at a mean of at most so many: one width for the raised, one for the rest.

    Of the pairs of widths that differ by 1 or 2 the one that fits best. Room that is left then
    gives layers of the rest one bit more, from the last one on. None where no layer's name is one
    of those that the rule knows, or no pair fits.
    """
    up = raised(layers)
    sizes = {layer.name: layer.weights for layer in layers}
    total, wanted = sum(sizes.values()), sum(sizes[name] for name in up)
    best: tuple[int, dict[str, int]] | None = None
    for low in range(2, 8) if up else ():
        for high in range(low + 1, low + 1 + WIDEST_STEP):
            room = (bits - low) * total
            found, done = dict.fromkeys(sizes, low), 0
            for name in up:
                if (high - low) * sizes[name] <= room:
                    room -= (high - low) * sizes[name]
                    found[name], done = high, done + sizes[name]
            used = sum(sizes[name] * width for name, width in found.items())
            fits = room >= 0 and done >= (1 - MOST_LEFT) * wanted
            if fits and (best is None or used > best[0]):
                best = used, found
    if best is None:
        return None
    found, room = best[1], bits * total - best[0]
    for name in reversed([name for name in sizes if name not in up]):
        if sizes[name] <= room:
            room -= sizes[name]
            found[name] += 1
    return found
