"""Layers whose inputs are quantized once, where ties say that they are one tensor of one width."""

from collections.abc import Mapping, Sequence
from typing import Any

from qcore.allocation import LayerSpec
from qcore.formats.exports.torch_side.parts import Part


def read_together(layers: Sequence[LayerSpec], parts: Mapping[str, Part]) -> dict[str, str]:
    """Tied layer to the first of those that read one tensor on the same levels.

    Args:
        layers: In execution order; those whose input is counted at a tied layer say so.
        parts: Layer name to its part.

    Returns:
        An entry for each layer that has its tensor and levels in common with another, one of
        them counted and the others not. Inputs in float have none, nor layers whose levels
        differ, as where clips were learned for each.
    """
    first: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for layer in layers:
        grid = parts[layer.name].grid
        if not layer.tensor or grid is None:
            continue
        if layer.counted:
            first.setdefault(layer.tensor, []).append(layer.name)
            continue
        same = [name for name in first.get(layer.tensor, ()) if parts[name].grid == grid]
        if same:
            found |= {same[0]: same[0], layer.name: same[0]}
    return found


def said(
    layers: Sequence[LayerSpec], parts: Mapping[str, Part], once: Mapping[str, str]
) -> dict[str, Any]:
    """What a report says of them; nothing where no tensor is tied.

    Args:
        layers: In execution order.
        parts: Layer name to its part.
        once: Layer to the layer whose input it takes, as in the file.

    Returns:
        "quantized_once", which is `once`, and "quantized_apart": layers counted at a tied layer
        whose inputs have levels of their own, so that the file quantizes the tensor again.
    """
    shared = {*once, *once.values()}
    apart = [
        layer.name
        for layer in layers
        if not layer.counted and layer.name not in shared and parts[layer.name].grid is not None
    ]
    both = {"quantized_once": dict(once), "quantized_apart": apart}
    return {key: value for key, value in both.items() if value}
