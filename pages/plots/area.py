"""Where the cost of an allocation lies: one block per layer whose area is its share of the cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import plotly.graph_objects as go

from pages.plots.style import GREY, bit_colour, digit_colour, lay_out, plain
from pages.shared.text import bits_text, cost_text, tidy
from qcore.allocation import (
    FLOAT_BITS,
    LayerBits,
    LayerSpec,
    ModelSpec,
    stored_bits,
    width_words,
)
from qcore.costs import COSTS
from qcore.errors import InvalidParams


@dataclass(frozen=True, slots=True)
class Area:
    """A cost as width times height.

    Attributes:
        width: A layer's width; the bits do not change it.
        height: What the bits make of its height.
        colour: The bit-width that colours it.
        x: What the horizontal axis shows a share of.
        y: Title of the vertical axis, with unit.
    """

    width: Callable[[LayerSpec], int]
    height: Callable[[LayerBits], int]
    colour: Callable[[LayerBits], int]
    x: str
    y: str


AREAS: dict[str, Area] = {
    "weight_bytes": Area(
        lambda layer: layer.weights,
        lambda bits: stored_bits(bits.weight),
        lambda bits: bits.weight,
        "weights",
        "Bits per weight",
    ),
    "bit_ops": Area(
        lambda layer: layer.macs,
        lambda bits: stored_bits(bits.weight) * stored_bits(bits.activation),
        lambda bits: bits.weight,
        "multiply-accumulates",
        "Weight bits x activation bits",
    ),
    "activation_bytes_sum": Area(
        lambda layer: layer.inputs,
        lambda bits: stored_bits(bits.activation),
        lambda bits: bits.activation,
        "input activations",
        "Bits per activation",
    ),
}
"""Costs that are an area: cost name to its sides."""


def area_figure(
    model: ModelSpec,
    allocation: Mapping[str, LayerBits],
    cost: str,
    outline: Mapping[str, LayerBits] | None = None,
) -> go.Figure:
    """Blocks side by side in execution order; area is proportional to the layer's cost.

    Args:
        model: Gives layers and their sizes.
        allocation: Bits of every layer.
        cost: Key of AREAS.
        outline: Bits of every layer of an allocation to compare with, drawn as a line.

    Returns:
        One bar trace per bit-width, then the outline; x in percent of all weights (or
        multiply-accumulates, or activations), y in bits.

    Raises:
        InvalidParams: the cost is no area.
    """
    if cost not in AREAS:
        raise InvalidParams(f"{cost} is no area of bits; those that are: {', '.join(AREAS)}.")
    area = AREAS[cost]
    whole = max(1, sum(area.width(layer) for layer in model.layers))
    lefts, widths, passed = [], [], 0
    for layer in model.layers:
        lefts.append(100 * passed / whole)
        widths.append(100 * area.width(layer) / whole)
        passed += area.width(layer)
    shown = [area.colour(allocation[layer.name]) for layer in model.layers]
    figure = go.Figure()
    for bits in sorted(set(shown)):
        at = [place for place, colour in enumerate(shown) if colour == bits]
        layers = [model.layers[place] for place in at]
        figure.add_bar(
            name=width_words(bits),
            x=[lefts[place] for place in at],
            width=[widths[place] for place in at],
            offset=0,
            y=[area.height(allocation[layer.name]) for layer in layers],
            text=[_digits(allocation[layer.name], cost) for layer in layers],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": digit_colour(bits)},
            marker={
                "color": bit_colour(bits),
                "line": {"color": GREY, "width": 0.5},
                "pattern": {"shape": "/" if bits == FLOAT_BITS else "", "fgcolor": GREY},
            },
            hovertext=[_words(layer, allocation[layer.name], cost) for layer in layers],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    if outline is not None:
        heights = [area.height(outline[layer.name]) for layer in model.layers]
        figure.add_scatter(
            x=[*lefts, 100.0],
            y=[*heights, *heights[-1:]],
            name="starting point",
            mode="lines",
            line={"shape": "hv", "color": "#D55E00", "width": 2, "dash": "dash"},
            hoverinfo="skip",
        )
    lay_out(figure, 320)
    figure.update_layout(barmode="overlay", uniformtext={"mode": "hide", "minsize": 10})
    figure.update_xaxes(
        title_text=f"Share of {area.x}, %, layers in execution order", range=[0, 100]
    )
    figure.update_yaxes(title_text=area.y, rangemode="tozero")
    return figure


def _digits(bits: LayerBits, cost: str) -> str:
    if cost == "bit_ops":
        return f"{bits_text(bits.weight)}x{bits_text(bits.activation)}"
    return bits_text(bits.weight if cost == "weight_bytes" else bits.activation)


def _words(layer: LayerSpec, bits: LayerBits, cost: str) -> str:
    priced = COSTS[cost]
    return (
        f"<b>{plain(tidy(layer.name, 80))}</b> ({plain(layer.kind)})"
        f"<br>weights {bits_text(bits.weight)}, activations {bits_text(bits.activation)} bits"
        f"<br>{priced.title}: {cost_text(priced, priced.layer_cost(layer, bits))}"
    )
