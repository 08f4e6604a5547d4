"""Which bit-widths another tool's file can hold, said in words where it cannot."""

from collections.abc import Callable, Collection

from qcore.allocation import (
    GROUPED_WIDTHS,
    HALF_WIDTHS,
    LayerBits,
    in_order,
    is_float_width,
    stored_bits,
    width_text,
    width_words,
)
from qcore.formats.config import BitConfig
from qcore.widths import group_inputs

SHOWN = 5
NAME_LENGTH = 60


def unfit(config: BitConfig, weights: Collection[int], activations: Collection[int]) -> str | None:
    """Say which layers have widths a format cannot hold.

    Args:
        config: The configuration.
        weights: Weight widths the format can hold, of BIT_WIDTHS.
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
            f"{shortened(name)} has {width_words(width(bits))}"
            for name, bits in config.allocation.items()
            if width(bits) not in known
        ]
        if wrong:
            return f"it holds {part} of {listed(known)}; {some(wrong)}."
    return None


def without_halves(config: BitConfig, what: str) -> str | None:
    """Say which layers are floats of 16 bits, for a format that has none.

    Args:
        config: The configuration.
        what: Who has none, as the start of a sentence: "QONNX has".

    Returns:
        One sentence, or None where no layer is.
    """
    found = [
        f"{shortened(name)} has {bits.text}"
        for name, bits in config.allocation.items()
        if bits.weight in HALF_WIDTHS or bits.activation in HALF_WIDTHS
    ]
    if not found:
        return None
    return (
        f"{what} no floats of 16 bits; {some(found)} (weights/inputs). Give them 16 bits, or leave "
        "them in float."
    )


def without_groups(config: BitConfig, what: str) -> str | None:
    """Say which layers have scales of groups, for a format that has none.

    Args:
        config: The configuration.
        what: Who has none, as the start of a sentence: "QONNX has".

    Returns:
        One sentence, or None where no layer is.
    """
    found = [
        f"{shortened(name)} has {width_words(bits.weight)}"
        for name, bits in config.allocation.items()
        if bits.weight in GROUPED_WIDTHS
    ]
    if not found:
        return None
    return f"{what} one scale a channel; {some(found)}. Give them bits without groups."


def with_groups(bits: Collection[int]) -> tuple[int, ...]:
    """These widths, and each of them with a scale per group."""
    groups = (width for width in GROUPED_WIDTHS if stored_bits(width) in bits)
    return in_order((*bits, *groups))


def uneven(config: BitConfig) -> str | None:
    """Say which layers have rows that are no whole groups, for a format that needs them whole."""
    found = [
        f"{shortened(layer.name)} has {layer.row} inputs in groups of {group}"
        for layer in config.model.layers
        if (group := group_inputs(config.allocation[layer.name].weight)) and layer.row % group
    ]
    if not found:
        return None
    return f"it needs whole groups; {some(found)}. Give them bits without groups."


def listed(known: Collection[int]) -> str:
    """Widths in words: "4, 8 bits or float"."""
    numbers = [width_text(bits) for bits in in_order(known) if not is_float_width(bits)]
    floats = [width_text(bits) for bits in in_order(known) if is_float_width(bits)]
    return " or ".join([*([f"{', '.join(numbers)} bits"] if numbers else []), *floats])


def some(items: Collection[str]) -> str:
    """The first few of a list, and how many more there are."""
    shown = list(items)[:SHOWN]
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(shown) + more


def shortened(name: str) -> str:
    """A layer's name, cut where it is longer than a message bears."""
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"
