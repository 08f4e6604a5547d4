"""What the drawing of a network is handed: plain data, names as text. Pure.

`picture` is the same for as long as the model and its stored sensitivities are; `state` is what may
change with every rerun.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pages.network.facts import layer_facts, wiring_known
from pages.network.layout import SIZES, place
from pages.network.wiring import JOIN_WORDS, Node, read_wires
from pages.plots.style import bit_colour, digit_colour
from pages.shared.text import significant, tidy
from qcore.allocation import (
    BIT_WIDTHS,
    FLOAT_BITS,
    WEIGHT_WIDTHS,
    BitAllocation,
    LayerSpec,
    ModelSpec,
    in_order,
    stored_bits,
    width_text,
    width_words,
)
from qcore.problem import InputRange, SensitivityTable

HIGHEST = 60
"""Height of the tallest bar of a histogram, in whole numbers; bars are logarithmic."""


def picture(
    model: ModelSpec,
    table: SensitivityTable | None = None,
    ranges: Mapping[str, InputRange] | None = None,
) -> dict[str, Any]:
    """A model's graph with its places, and what to tell of each layer.

    Args:
        model: What is drawn.
        table: Gives each layer's sensitivity curve and its damage; None where none is stored.
        ranges: Layer name to what reaches its input, where that was measured.

    Returns:
        JSON data: "id" (the model's digest), "size" (width, height), "nodes", "lines", "layers",
        "widths", "looks", "unit", "damage" (what the damage is, in words), "note".
    """
    wires = read_wires(model)
    placed = place(wires)
    joined = {
        wires.nodes[target].layer: JOIN_WORDS[wires.nodes[source].sign]
        for source, target in wires.arrows
        if wires.nodes[source].kind == "join"
    }
    nodes = [
        {"kind": node.kind, "x": x, "y": y, "layer": node.layer, "words": _words(node, model)}
        | ({"sign": node.sign} if node.sign else {})
        for node, (x, y) in zip(wires.nodes, placed.centres, strict=True)
    ]
    lines = [
        {"path": [round(v, 1) for spot in line for v in spot], "look": look}
        for line, look in (
            *(
                (line, "passing" if passing else "next" if wires.known else "order")
                for line, passing in zip(placed.lines, placed.passing, strict=True)
            ),
            *((line, "again") for line in placed.again),
        )
    ]
    return {
        "id": model.digest,
        "size": [placed.width, placed.height],
        "sizes": {kind: list(size) for kind, size in SIZES.items()},
        "nodes": nodes,
        "lines": lines,
        "layers": [
            _layer(
                layer,
                layer_facts(layer, model, joined.get(at, "")),
                table,
                ranges or {},
                _zeros(table, layer.name),
            )
            for at, layer in enumerate(model.layers)
        ],
        "widths": {"weight": list(WEIGHT_WIDTHS), "activation": list(BIT_WIDTHS)},
        "names": {str(bits): width_text(bits) for bits in WEIGHT_WIDTHS},
        "stored": {str(bits): stored_bits(bits) for bits in WEIGHT_WIDTHS},
        "looks": {str(bits): [bit_colour(bits), digit_colour(bits)] for bits in WEIGHT_WIDTHS},
        "unit": "" if table is None else table.unit,
        "damage": "" if table is None else f"Predicted damage ({table.kind})",
        "note": _note(model, wires.known),
    }


def state(
    model: ModelSpec,
    allocation: BitAllocation | None = None,
    title: str = "",
    editable: bool = False,
    locked: Sequence[bool] = (),
) -> dict[str, Any]:
    """What may change while the picture stays.

    Args:
        model: What is drawn.
        allocation: The bits to show; None shows no bits until somebody on the page tells some.
        title: What they are.
        editable: Whether a reader may change bits and locks here.
        locked: Whether each layer is locked; none are where it is empty.

    Returns:
        JSON data: "bits" ({"weight", "activation"} in model order, or None), "title", "editable",
        "locked".
    """
    bits = None
    if allocation is not None:
        chosen = [allocation[name] for name in model.names]
        bits = {
            "weight": [each.weight for each in chosen],
            "activation": [each.activation for each in chosen],
        }
    held = list(locked) or [False] * len(model.layers)
    return {"bits": bits, "title": tidy(title, 120), "editable": editable, "locked": held}


def _note(model: ModelSpec, drawn: bool) -> str:
    if not wiring_known(model):
        return "Which layer feeds which is not known here; layers stand in execution order."
    if not drawn:
        return "More connections than can be drawn; layers stand in execution order."
    return ""


def _words(node: Node, model: ModelSpec) -> str:
    if node.kind == "input":
        return f"input {'x'.join(map(str, model.input_shape))}"
    if node.kind == "output":
        return f"output, {model.classes:,} values"
    return JOIN_WORDS[node.sign] if node.kind == "join" else ""


def _layer(
    layer: LayerSpec,
    facts: Sequence[tuple[str, str]],
    table: SensitivityTable | None,
    ranges: Mapping[str, InputRange],
    zeros: Mapping[int, float],
) -> dict[str, Any]:
    pruned = [f"{100 * share:.0f} % at {width_words(bits)}" for bits, share in zeros.items()]
    told = [*facts, ("Rounded to zero", ", ".join(pruned))] if pruned else facts
    return {
        "name": tidy(layer.name, 200),
        "weights": layer.weights,
        "facts": [list(fact) for fact in told],
        "curve": {
            "weight": _curve(table.weight, layer.name) if table else [],
            "activation": _curve(table.activation, layer.name) if table else [],
        },
        "range": _range(ranges.get(layer.name)),
    }


def _zeros(table: SensitivityTable | None, name: str) -> dict[int, float]:
    """Shares of weights rounded to zero, the narrowest width first."""
    row = {} if table is None else table.zeros.get(name, {})
    return {bits: row[bits] for bits in in_order(row) if math.isfinite(row[bits])}


def _curve(scores: Mapping[str, Mapping[int, float]], name: str) -> list[list[float]]:
    """[bits, damage] by rising bits; what is no number is left out."""
    row = sorted(scores.get(name, {}).items())
    return [[bits, float(f"{score:.4g}")] for bits, score in row if math.isfinite(score)]


def _range(seen: InputRange | None) -> dict[str, Any] | None:
    """Bars from 0 to HIGHEST on a logarithmic scale, and what each width's grid covers."""
    if seen is None:
        return None
    most = math.log1p(max(seen.counts, default=0)) or 1.0
    bars = [math.ceil(HIGHEST * math.log1p(count) / most) for count in seen.counts]
    grids = [
        {
            "bits": bits,
            "low": low,
            "high": high,
            "words": f"{_number(low)} to {_number(high)} in steps of {_number(step)}; "
            f"{significant(100 * outside, 2)} % of the values lie outside",
        }
        for bits, (low, high, step, outside) in sorted(seen.grids.items(), reverse=True)
        if bits != FLOAT_BITS
    ]
    return {
        "low": seen.smallest,
        "high": seen.largest,
        "words": f"Values from {_number(seen.smallest)} to {_number(seen.largest)}",
        "bars": bars,
        "grids": grids,
    }


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212")
