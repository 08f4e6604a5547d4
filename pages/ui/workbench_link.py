"""Hand-edited bits as a short text for the address bar, so that a reload or a link keeps them.

One character a layer: 1..8, or "f" for float; weights, a dot, activations. Where all layers have
the same, one character says so: "84448.f".
"""

from collections.abc import Sequence

from pages.ui.workbench_draft import Draft
from qcore.allocation import BIT_WIDTHS, FLOAT_BITS, BitAllocation, LayerBits, ModelSpec

LONGEST = 220
"""Characters of a text that is still put into a link; deeper networks go without."""


def link_text(draft: Draft) -> str:
    """The draft's bits as text; "" at the starting point, with bits out of range, or too long."""
    start = [(b.weight, b.activation) for b in draft.start.allocation.values()]
    rows = [(row.weight, row.activation) for row in draft.rows]
    if rows == start or any(row.problem for row in draft.rows):
        return ""
    words = ".".join(_column([row[part] for row in rows]) for part in (0, 1))
    return words if len(words) <= LONGEST else ""


def _column(bits: Sequence[int | None]) -> str:
    letters = ["f" if width == FLOAT_BITS else str(width) for width in bits]
    return letters[0] if len(set(letters)) == 1 else "".join(letters)


def bits_of_link(text: str, model: ModelSpec) -> BitAllocation | None:
    """Read what `link_text` wrote, or None where it is not for a model of so many layers."""
    parts = text.split(".")
    if len(parts) != 2 or len(text) > LONGEST:
        return None
    count = len(model.layers)
    columns = []
    for part in parts:
        widths = [FLOAT_BITS if c == "f" else int(c) if c in "12345678" else 0 for c in part]
        widths = widths * count if len(widths) == 1 else widths
        if len(widths) != count or not set(widths) <= set(BIT_WIDTHS):
            return None
        columns.append(widths)
    pairs = zip(model.names, *columns, strict=True)
    return BitAllocation({name: LayerBits(weight, inputs) for name, weight, inputs in pairs})
