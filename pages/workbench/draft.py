"""Bits that are being edited by hand: what every layer has now, and where the editing began.

A draft may hold bits that make no sense, for as long as it takes to put them right: they are named
and never dropped. Pure functions; nothing is drawn here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from pages.shared.text import tidy
from qcore.allocation import (
    BIT_WIDTHS,
    FLOAT_BITS,
    GROUPED_WIDTHS,
    SHOWN,
    WEIGHT_WIDTHS,
    BitAllocation,
    LayerBits,
    LayerSpec,
    ModelSpec,
    parse_width,
    width_text,
)
from qcore.costs import COSTS
from qcore.errors import InvalidBits

LAYER, KIND = "Layer", "Kind"
WEIGHT, ACTIVATION, LOCKED = "Weight bits", "Activation bits", "Locked"
BYTES, SHARE, CHANGE = "Weights, B", "Share of weights, %", "Change"


@dataclass(frozen=True, slots=True)
class Row:
    """What one layer has in a draft.

    Attributes:
        weight: Width of its weights; the text as typed where that is no width, None where the
            cell was emptied.
        activation: The same of its input activation.
        locked: Whether rules for many layers leave it alone.
    """

    weight: int | str | None
    activation: int | str | None
    locked: bool = False

    @property
    def problem(self) -> str:
        """What is wrong with the row, in words; "" where nothing is."""
        wrong = [
            f"{what} bits {'missing' if bits is None else tidy(str(_text(bits)), SHOWN)}"
            for what, bits in (("weight", self.weight), ("activation", self.activation))
            if not isinstance(bits, int) or (what == "activation" and bits not in BIT_WIDTHS)
        ]
        return ", ".join(wrong)


@dataclass(frozen=True)
class Start:
    """Where editing began.

    Attributes:
        label: What it is, in words.
        allocation: Its bits.
        point: "RUN:POINT" where it is a measured point, else "".
    """

    label: str
    allocation: BitAllocation
    point: str = ""


@dataclass(frozen=True)
class Draft:
    """One state of the editor: a row per layer in execution order, and where it began."""

    rows: tuple[Row, ...]
    start: Start


def begin(start: Start, model: ModelSpec, locks: tuple[bool, ...] = ()) -> Draft:
    """The draft that is its own starting point.

    Args:
        start: Names exactly the model's layers.
        model: Gives their order.
        locks: Whether each layer is locked; none are where it is empty.
    """
    held = locks or (False,) * len(model.layers)
    bits = {name: start.allocation[name] for name in model.names}
    rows = (Row(b.weight, b.activation, lock) for b, lock in zip(bits.values(), held, strict=True))
    return Draft(tuple(rows), replace(start, allocation=BitAllocation(bits)))


def allocation_of(draft: Draft, model: ModelSpec) -> BitAllocation | None:
    """The draft's bits, or None while a row makes no sense; ids of embeddings stay as they are."""
    bits: dict[str, LayerBits] = {}
    for name, row in zip(model.names, draft.rows, strict=True):
        weight, activation = row.weight, row.activation
        if row.problem or not isinstance(weight, int) or not isinstance(activation, int):
            return None
        bits[name] = LayerBits(weight, activation)
    return BitAllocation(bits).with_float_ids(model.layers)


def problems(draft: Draft, model: ModelSpec) -> list[str]:
    """One line for each row that makes no sense: its number, layer and what is wrong."""
    return [
        f"row {place}, {tidy(name)}: {row.problem}"
        for place, (name, row) in enumerate(zip(model.names, draft.rows, strict=True), start=1)
        if row.problem
    ]


def edited(base: Draft, edits: Mapping[str, Any]) -> Draft:
    """The draft after what was typed into a table that showed `base`.

    Args:
        base: What the table was given.
        edits: What `st.data_editor` keeps: "edited_rows" maps row numbers to {column: value}.
    """
    rows = list(base.rows)
    for number, cells in edits.get("edited_rows", {}).items():
        at = int(number)
        if not 0 <= at < len(rows):
            continue
        names = {WEIGHT: "weight", ACTIVATION: "activation"}
        changes: dict[str, Any] = {
            names[column]: _width(value) for column, value in cells.items() if column in names
        }
        if LOCKED in cells:
            changes["locked"] = bool(cells[LOCKED])
        rows[at] = replace(rows[at], **changes)
    return Draft(tuple(rows), base.start)


def _width(typed: Any) -> int | str | None:
    if not isinstance(typed, str) or not typed.strip():
        return None
    try:
        return parse_width(typed)
    except InvalidBits:
        return typed


def _text(bits: int | str | None) -> str | None:
    return width_text(bits) if isinstance(bits, int) else bits


def width_options(draft: Draft, inputs: bool = False) -> list[str]:
    """What cells of weights or of inputs offer, as text: every width, and what the draft has."""
    had = (_text(row.activation if inputs else row.weight) for row in draft.rows)
    # whoever types 12 means 12 bits, and takes the first that has it in its name
    known = BIT_WIDTHS if inputs else (*BIT_WIDTHS, *GROUPED_WIDTHS)
    return list(dict.fromkeys([*map(width_text, known), *(each for each in had if each)]))


def editor_frame(shown: Draft, now: Draft, model: ModelSpec) -> pd.DataFrame:
    """The table to edit: cells as in `shown`, what follows from them as in `now`.

    The browser lays what was typed over `shown`, so those cells must not change while it does.

    Returns:
        Columns LAYER, WEIGHT, ACTIVATION (widths as text), LOCKED, CHANGE (against the starting
        point, or what is wrong), BYTES (of the weights now), SHARE (of all weight bytes), KIND;
        indexed from 1 in execution order.
    """
    sizes = [
        None
        if not isinstance(row.weight, int)
        else COSTS["weight_bytes"].layer_cost(layer, LayerBits(row.weight, FLOAT_BITS))
        for layer, row in zip(model.layers, now.rows, strict=True)
    ]
    total = max(1, sum(size or 0 for size in sizes))
    return pd.DataFrame(
        {
            LAYER: [tidy(name, 120) for name in model.names],
            WEIGHT: [_text(row.weight) for row in shown.rows],
            ACTIVATION: [_text(row.activation) for row in shown.rows],
            LOCKED: [row.locked for row in shown.rows],
            CHANGE: [
                _change(row, now.start.allocation[layer.name], layer)
                for layer, row in zip(model.layers, now.rows, strict=True)
            ],
            BYTES: pd.array(sizes, dtype="Int64"),
            SHARE: [0.0 if size is None else 100 * size / total for size in sizes],
            KIND: [layer.kind for layer in model.layers],
        },
        index=range(1, len(sizes) + 1),
    )


def _change(row: Row, before: LayerBits, layer: LayerSpec) -> str:
    if row.problem:
        return f"cannot be used: {row.problem}"
    if layer.looks_up and row.activation != FLOAT_BITS:
        return "reads ids, which have no bits: activations stay in float"
    if (row.weight, row.activation) == (before.weight, before.activation):
        return ""
    return f"{before.text} to {_text(row.weight)}/{_text(row.activation)}"


LONGEST = 220
"""Characters of a text that is still put into a link; deeper networks go without."""


_LETTERS = dict(
    zip((*BIT_WIDTHS, *GROUPED_WIDTHS), "123456789ABCDEFGbhfacdegijklmnopqrstuvwx", strict=True)
)
"""A letter for each width: digits, A to G for 10 to 16 bits, b and h for bf16 and fp16, f for
float, the others for those with groups."""

_WIDTHS = {letter: width for width, letter in _LETTERS.items()}


def link_text(draft: Draft) -> str:
    """The draft's bits as text.

    "" where the link's point says them already, with bits out of range, or where it is too long.
    """
    start = [(b.weight, b.activation) for b in draft.start.allocation.values()]
    rows = [(row.weight, row.activation) for row in draft.rows]
    said = rows == start and draft.start.point
    if said or any(row.problem for row in draft.rows):
        return ""
    words = ".".join(_column([row[part] for row in rows]) for part in (0, 1))
    return words if len(words) <= LONGEST else ""


def _column(bits: Sequence[int | str | None]) -> str:
    letters = [_LETTERS.get(width, "0") if isinstance(width, int) else "0" for width in bits]
    return letters[0] if len(set(letters)) == 1 else "".join(letters)


def bits_of_link(text: str, model: ModelSpec) -> BitAllocation | None:
    """Read what `link_text` wrote, or None where it is not for a model of so many layers."""
    parts = text.split(".")
    if len(parts) != 2 or len(text) > LONGEST:
        return None
    count = len(model.layers)
    columns = []
    for part, known in zip(parts, (WEIGHT_WIDTHS, BIT_WIDTHS), strict=True):
        widths = [_WIDTHS.get(letter, 0) for letter in part]
        widths = widths * count if len(widths) == 1 else widths
        if len(widths) != count or not set(widths) <= set(known):
            return None
        columns.append(widths)
    pairs = zip(model.names, *columns, strict=True)
    read = BitAllocation({name: LayerBits(weight, inputs) for name, weight, inputs in pairs})
    return read.with_float_ids(model.layers)
