"""What the budget explorer is given: layers, budgets, points and predictions as plain JSON. Pure.

Arrays travel as base64 of little-endian numbers. Everything that stays the same while a budget is
dragged is worked out here: fronts, axes and their ticks, words, looks. Names arrive cleaned.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from pages.explore.payload.looks import (
    AREAS,
    HINTS,
    LONGEST_LAYER,
    LONGEST_SHORT,
    LONGEST_TAG,
    clean,
)
from pages.explore.payload.measured import marked as marked
from pages.explore.payload.measured import measured_body as measured_body
from pages.explore.payload.predicted import predicted_payload as predicted_payload
from pages.explore.payload.predicted import summed_costs as summed_costs
from pages.explore.view import View
from pages.plots.style import bit_colour, digit_colour
from pages.shared.held import NOTHING, Held
from pages.shared.judged import CLASSIFIER, Words
from pages.shared.ranges import Range, loss_spans
from qcore.allocation import WEIGHT_WIDTHS, BitAllocation, LayerSpec, ModelSpec, stored_bits
from qcore.costs import COSTS
from qcore.problem import SensitivityTable

VERSION = 4
KEY_STEPS = 1000
"""Arrow keys that move a budget over its whole range, at least."""


def shared_payload(
    identity: str,
    model: ModelSpec,
    view: View,
    spans: Mapping[str, Range],
    *,
    locked: bool = False,
    table: SensitivityTable | None = None,
    words: Words = CLASSIFIER,
    held: Held = NOTHING,
) -> dict[str, Any]:
    """What measured and predicted payloads have in common.

    Args:
        identity: Changes when the reader's settings no longer apply: another model or data.
        model: Whose layers are drawn.
        view: What the reader has set when the page was opened.
        spans: Cost name to the range of its slider.
        locked: Whether the first and the last layer are fixed in every search shown.
        table: Sensitivities that rank the layers, where known.
        words: What figures are called.
        held: What is set on layers when the page is opened.
    """
    ranks = _ranks(model, table)
    last = len(model.layers) - 1
    starts = {
        "bytes": _starts([layer.weights for layer in model.layers]),
        "ops": _starts([layer.macs for layer in model.layers]),
    }
    return {
        "v": VERSION,
        "id": identity,
        "model": model.digest,
        "layers": [
            {
                **_layer(place, layer, ranks, locked and place in (0, last)),
                "from": {name: start[place] for name, start in starts.items()},
            }
            for place, layer in enumerate(model.layers)
        ],
        "stages": _stages(model),
        "heat": (
            f"Weight and activation bits of {len(model.layers)} layers, a row for each method. "
            "The table below the plots has the same numbers."
        ),
        "budgets": [_budget(name, span, model, view) for name, span in spans.items()],
        "losses": [_loss(unit, span, view, words) for unit, span in loss_spans(words).items()],
        "words": {"symbol": words.symbol, "lost": words.lost, "far": words.behind},
        "cmap": {str(bits): bit_colour(bits) for bits in WEIGHT_WIDTHS},
        "sizes": {str(bits): stored_bits(bits) for bits in WEIGHT_WIDTHS},
        "ink": {str(bits): digit_colour(bits) for bits in WEIGHT_WIDTHS},
        "areas": AREAS,
        "init": {
            "x": view.x,
            "y": view.y,
            "log": False,
            "widths": "bytes",
            "focus": view.focus,
            "held": held.to_json(),
        },
        "file": "bitdial-explorer",
        "hints": list(HINTS),
        "proxy": None,
        "settled": None,
        "pairs": None,
        "refs": [],
    }


def _layer(place: int, layer: LayerSpec, ranks: Mapping[str, int], locked: bool) -> dict[str, Any]:
    stage, _, rest = layer.name.partition(".")
    rank = ranks.get(layer.name)
    facts = [
        f"{layer.weights:,} weights, {layer.macs:,} MACs per sample",
        *([f"sensitivity: {rank} of {len(ranks)}"] if rank else []),
        *(["fixed by the search's settings"] if locked else []),
    ]
    return {
        "name": f"{clean(layer.name, LONGEST_LAYER)} ({layer.kind}, layer {place + 1})",
        "key": layer.name,
        "short": clean(layer.name, LONGEST_SHORT),
        "tag": clean(rest or stage, LONGEST_TAG),
        "weights": layer.weights,
        "lock": locked,
        "facts": facts,
    }


def _starts(sizes: Sequence[int]) -> list[float]:
    """Where each layer's block begins, in percent of all."""
    ends = np.cumsum([0, *sizes])
    return (100.0 * ends[:-1] / max(int(ends[-1]), 1)).tolist()


def _stages(model: ModelSpec) -> list[list[Any]]:
    """Name and first layer of each run of layers below one module, and where the next begins."""
    found: list[list[Any]] = []
    for stage, layers in groupby(model.names, key=lambda name: name.partition(".")[0]):
        start = found[-1][2] if found else 0
        found.append([clean(stage, LONGEST_LAYER), start, start + len(list(layers))])
    return found


def _ranks(model: ModelSpec, table: SensitivityTable | None) -> dict[str, int]:
    if table is None:
        return {}
    harm = {name: max(table.weight.get(name, {}).values(), default=0.0) for name in model.names}
    order = sorted(harm, key=lambda name: -harm[name])
    return {name: place for place, name in enumerate(order, start=1)}


def _budget(name: str, span: Range, model: ModelSpec, view: View) -> dict[str, Any]:
    eight = COSTS[name].total(model, BitAllocation.uniform(model.layers, 8, 8)) / span.factor
    words = (
        (8 / eight, " bits a weight") if name == "weight_bytes" else (100 / eight, " % of 8 bits")
    )
    title = COSTS[name].title
    return {
        "id": name,
        "unit": span.unit,
        "factor": span.factor,
        "words": words,
        "label": f"Limit {title.lower()}",
        "aria": f"{title} at most, {span.unit}",
        "decimals": span.decimals,
        "lo": span.low,
        "hi": span.high,
        "step": max((span.high - span.low) / KEY_STEPS, 10.0**-span.decimals),
        "value": view.values[name],
        "on": view.on[name],
    }


def _loss(unit: str, span: Range, view: View, words: Words) -> dict[str, Any]:
    told = {
        "points": f"{words.title} that may be lost against the float network, {words.lost}",
        "nats": f"{words.divergence} from the float network at most, {words.unit}",
    }
    return {
        "id": unit,
        "unit": span.unit,
        "factor": 1.0,
        "label": "Lose at most",
        "aria": told[unit],
        "decimals": span.decimals,
        "lo": span.low,
        "hi": span.high,
        "step": span.step,
        "value": view.values[unit],
        "on": view.on[unit],
    }
