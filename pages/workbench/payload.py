"""What the picture of the bits is given: layers, prices, predictions. Pure.

Costs are priced here and nowhere else: the browser adds up what each layer costs. What a layer's
weights take is priced at every width; its compute is the product of both widths and its price at
one bit times one bit. All of these are whole numbers that a browser adds exactly.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pages.plots.style import USUAL_WIDTHS, bit_colour, digit_colour
from pages.shared.text import tidy
from pages.workbench.calibration import Calibration
from pages.workbench.draft import Draft
from qcore.allocation import (
    BIT_WIDTHS,
    FLOAT_BITS,
    WEIGHT_WIDTHS,
    BitAllocation,
    LayerBits,
    ModelSpec,
    in_order,
    stored_bits,
    width_text,
)
from qcore.costs import COSTS
from qcore.problem import SensitivityTable

PARTS = ("weight", "activation")


def bars_payload(
    model: ModelSpec,
    draft: Draft,
    shown: BitAllocation,
    prediction: Mapping[str, Any],
    heard: int,
) -> dict[str, Any]:
    """All that the picture draws and adds up, as JSON data.

    Args:
        model: Whose layers are edited.
        draft: What is edited: its locks, and where it began.
        shown: The bits to draw, one pair a layer.
        prediction: What `predicted` or `not_predicted` returned.
        heard: Number of the last edit that the server took over from this picture.
    """
    allocations = {"now": shown, "start": draft.start.allocation}
    return {
        "model": model.digest,
        "title": tidy(draft.start.label, 120),
        "heard": heard,
        "widths": list(WEIGHT_WIDTHS),
        "inputs": list(BIT_WIDTHS),
        "usual": list(USUAL_WIDTHS),
        "names": {str(bits): width_text(bits) for bits in WEIGHT_WIDTHS},
        "sizes": {str(bits): stored_bits(bits) for bits in WEIGHT_WIDTHS},
        "colours": {bits: [bit_colour(bits), digit_colour(bits)] for bits in WEIGHT_WIDTHS},
        "layers": [
            {"name": tidy(layer.name, 120), "kind": tidy(layer.kind), "locked": row.locked}
            for layer, row in zip(model.layers, draft.rows, strict=True)
        ],
        **{
            name: {part: [getattr(bits[at], part) for at in model.names] for part in PARTS}
            for name, bits in allocations.items()
        },
        "costs": {
            "weight": {**_words("weight_bytes"), "prices": _prices(model, "weight_bytes")},
            "activation": {**_words("bit_ops"), "prices": _unit_prices(model, "bit_ops")},
        },
        "prediction": dict(prediction),
    }


def predicted(
    table: SensitivityTable,
    model: ModelSpec,
    calibration: Calibration | None,
    words: str,
    lost: str = "points",
) -> dict[str, Any]:
    """Damage of every layer at every width, and what it is in lost score.

    Args:
        table: The sensitivities.
        model: Whose layers they are of.
        calibration: Damage to loss, or None where nothing measured tells.
        words: How far to believe it, in words.
        lost: Unit of a loss.
    """
    known: dict[str, Mapping[str, Mapping[int, float]]] = {
        "weight": table.weight,
        "activation": table.activation,
    }
    rows = {part: [known[part].get(name, {}) for name in model.names] for part in PARTS}
    return {
        "unit": table.unit,
        "lost": [lost, "pt" if lost == "points" else lost],
        "words": words,
        "damage": {part: [_row(filled(scores)) for scores in rows[part]] for part in PARTS},
        "guessed": {
            part: [sorted(set(filled(scores)) - set(scores)) for scores in rows[part]]
            for part in PARTS
        },
        "loss": calibration
        and {
            "at": calibration.at,
            "mean": calibration.mean,
            "low": calibration.low,
            "high": calibration.high,
            "n": calibration.n,
        },
    }


def not_predicted(words: str) -> dict[str, Any]:
    """The same where nothing is predicted, for the reason that the words give."""
    return {"unit": "", "words": words, "damage": None, "guessed": None, "loss": None}


def filled(scores: Mapping[int, float]) -> dict[int, float]:
    """Damage at the widths between those that are known too: by equal factors a bit.

    Damage falls by about the same factor with every bit; where it is not above 0, by equal steps.

    Example:
        >>> filled({2: 1.0, 4: 0.25})
        {2: 1.0, 3: 0.5, 4: 0.25}
    """
    known = sorted(bits for bits in scores if bits in range(1, 17))
    found = {bits: score for bits, score in scores.items() if bits != FLOAT_BITS}
    for low, high in pairwise(known):
        first, last = scores[low], scores[high]
        for bits in range(low + 1, high):
            share = (bits - low) / (high - low)
            by_factor = first > 0 and last > 0
            found[bits] = (
                first ** (1 - share) * last**share if by_factor else first + share * (last - first)
            )
    return {bits: found[bits] for bits in in_order(found)}


def _row(scores: Mapping[int, float]) -> list[float | None]:
    return [0.0 if bits == FLOAT_BITS else scores.get(bits) for bits in WEIGHT_WIDTHS]


def _words(name: str) -> dict[str, Any]:
    cost = COSTS[name]
    return {"title": cost.title, "unit": cost.unit, "scales": [list(pair) for pair in cost.scales]}


def _prices(model: ModelSpec, name: str) -> list[list[int]]:
    """A row a layer: its price at each of WEIGHT_WIDTHS; its activation makes no difference."""
    price = COSTS[name].layer_cost
    return [[price(layer, LayerBits(bits)) for bits in WEIGHT_WIDTHS] for layer in model.layers]


def _unit_prices(model: ModelSpec, name: str) -> list[int]:
    """A layer's price at one weight bit and one activation bit; widths multiply it."""
    price = COSTS[name].layer_cost
    return [price(layer, LayerBits(1, 1)) for layer in model.layers]


def read_edit(message: Any, model: ModelSpec) -> tuple[int, list[tuple[int, int, bool]]] | None:
    """Read what the picture told of an edit; it comes from a browser and may hold anything.

    Args:
        message: {"model", "number", "weight", "activation", "locked"}, of which the last three have
            a value a layer.
        model: Whose bits are edited.

    Returns:
        Its number, and of each layer weight bits, activation bits and whether it is locked; None
        where it makes no sense.
    """
    if not isinstance(message, Mapping) or message.get("model") != model.digest:
        return None
    number, count = message.get("number"), len(model.layers)
    columns = [message.get(name) for name in (*PARTS, "locked")]
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        return None
    if not all(isinstance(column, list) and len(column) == count for column in columns):
        return None
    rows = []
    for weight, activation, locked in zip(*columns, strict=True):
        known = _is_width(weight, WEIGHT_WIDTHS) and _is_width(activation, BIT_WIDTHS)
        if not known or not isinstance(locked, bool):
            return None
        rows.append((int(weight), int(activation), locked))
    return number, rows


def _is_width(bits: Any, known: Sequence[int]) -> bool:
    whole = isinstance(bits, (int, float)) and not isinstance(bits, bool)
    return whole and bits in known


def told_draft(draft: Draft, shown: BitAllocation, rows: Sequence[tuple[int, int, bool]]) -> Draft:
    """The draft after an edit in the picture.

    A layer that has the bits the picture was given keeps what was typed for it, which may be bits
    that make no sense and cannot be drawn.
    """
    changed = []
    pairs = zip(draft.rows, shown.values(), rows, strict=True)
    for row, bits, (weight, activation, locked) in pairs:
        same = (weight, activation) == (bits.weight, bits.activation)
        kept = (row.weight, row.activation) if same else (weight, activation)
        changed.append(type(row)(*kept, locked))
    return Draft(tuple(changed), draft.start)
