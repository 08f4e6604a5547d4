"""What a page says about one layer: shapes, size, neighbours. Pure: facts in, words out."""

import math
from collections.abc import Sequence

from pages.shared.text import tidy
from qcore.allocation import LayerSpec, ModelSpec

MOST_NAMED = 6
"""Neighbours that are named; of more their number is told."""


def layer_facts(layer: LayerSpec, model: ModelSpec, joined: str = "") -> list[tuple[str, str]]:
    """(what, words) of one layer, in the order to read them.

    Args:
        layer: The layer.
        model: Its model.
        joined: How what it reads is joined, where it reads several.

    Places are told as height x width only where they must be a square, as in a model whose input is
    one: the facts hold their number alone.
    """
    everything = sum(each.weights for each in model.layers)
    size = model.input_shape[1:]
    square = len(size) == 2 and size[0] == size[1] and layer.kind.endswith("2d")
    facts = [
        ("Kind", _kind(layer)),
        ("Channels", f"{layer.in_channels:,} in, {layer.channels:,} out"),
    ]
    if layer.looks_up:
        each = layer.weights // max(1, layer.channels)
        facts[1:] = [("Rows", f"{layer.channels:,} of {each:,} values")]
    kernel = _kernel(layer)
    if kernel:
        facts.append(("Kernel", kernel))
    shown = _shape(layer.inputs, layer.in_channels, square)
    facts += [
        ("Input", "ids, which have no bits" if layer.looks_up else shown),
        ("Output", _shape(layer.outputs, layer.channels, square)),
        ("Weights", f"{layer.weights:,} ({100 * layer.weights / max(1, everything):.1f} % of all)"),
        ("Multiply-accumulates", f"{layer.macs:,} for one {'sample' if model.inputs else 'image'}"),
        ("Reads", (_names(layer.producers) or _unread(model)) + (f"; {joined}" if joined else "")),
        ("Feeds", _names(layer.consumers) or _unfed(model)),
    ]
    return facts


def wiring_known(model: ModelSpec) -> bool:
    """Whether the facts tell which layer feeds which."""
    return len(model.layers) < 2 or any(layer.producers for layer in model.layers)


def _unread(model: ModelSpec) -> str:
    return "the input" if wiring_known(model) else "not known"


def _unfed(model: ModelSpec) -> str:
    return "the output" if wiring_known(model) else "not known"


def _kind(layer: LayerSpec) -> str:
    if layer.depthwise:
        return f"{layer.kind}, depthwise"
    return layer.kind if layer.groups == 1 else f"{layer.kind} in {layer.groups:,} groups"


def _kernel(layer: LayerSpec) -> str:
    """The window of a convolution, or "" of any other layer."""
    if not layer.kind.startswith("conv"):
        return ""
    places = layer.weights * layer.groups // max(1, layer.channels * layer.in_channels)
    side = math.isqrt(places)
    if layer.kind.endswith("2d") and side * side == places:
        return f"{side}x{side}"
    return f"{places:,} places"


def _shape(values: int, channels: int, square: bool) -> str:
    places = values // max(1, channels)
    if places * channels != values or places == 1:
        return f"{values:,} values"
    side = math.isqrt(places)
    if square and side * side == places:
        return f"{channels:,} x {side} x {side}"
    return f"{channels:,} channels x {places:,} places"


def _names(names: Sequence[str]) -> str:
    said = ", ".join(tidy(name) for name in names[:MOST_NAMED])
    left = len(names) - MOST_NAMED
    return f"{said} and {left:,} more" if left > 0 else said
