"""Which bit-widths another tool's file can hold, said in words where it cannot."""

from collections.abc import Callable, Collection

from qcore.allocation import FLOAT_BITS, LayerBits
from qcore.formats.config import BitConfig

SHOWN = 5
NAME_LENGTH = 60


def unfit(config: BitConfig, weights: Collection[int], activations: Collection[int]) -> str | None:
    """Say which layers have widths a format cannot hold.

    Args:
        config: The configuration.
        weights: Weight bit-widths the format can hold; 32 is float.
        activations: Activation bit-widths it can hold.

    Returns:
        One sentence that names widths and layers, or None where all fit.
    """
    parts: list[tuple[str, Callable[[LayerBits], int], Collection[int]]] = [
        ("weights", lambda bits: bits.weight, weights),
        ("activations", lambda bits: bits.activation, activations),
    ]
    for part, width, known in parts:
        wrong = [
            f"{shortened(name)} has {words(width(bits))}"
            for name, bits in config.allocation.items()
            if width(bits) not in known
        ]
        if wrong:
            return f"it holds {part} of {listed(known)}; {some(wrong)}."
    return None


def words(bits: int) -> str:
    """A width in words: "4 bits", "float"."""
    if bits == FLOAT_BITS:
        return "float"
    return "1 bit" if bits == 1 else f"{bits} bits"


def listed(known: Collection[int]) -> str:
    """Widths in words: "4, 8 bits or float"."""
    numbers = [str(bits) for bits in sorted(known) if bits != FLOAT_BITS]
    parts = [f"{', '.join(numbers)} bits"] if numbers else []
    return " or ".join([*parts, *(["float"] if FLOAT_BITS in known else [])])


def some(items: Collection[str]) -> str:
    """The first few of a list, and how many more there are."""
    shown = list(items)[:SHOWN]
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(shown) + more


def shortened(name: str) -> str:
    """A layer's name, cut where it is longer than a message bears."""
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"
