"""The network on a page: one call draws it, with the bits that the page has in hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.network import payload
from pages.network.component import drawn_network
from pages.shared import session
from qcore.allocation import BIT_WIDTHS, WEIGHT_WIDTHS, BitAllocation, LayerBits, ModelSpec
from qcore.problem import InputRange, SensitivityTable
from store import Store


@dataclass(frozen=True, slots=True)
class Change:
    """What a reader did to one layer in the picture.

    Attributes:
        layer: Its place, from 0.
        bits: Its bits now.
        locked: Whether it is locked now.
    """

    layer: int
    bits: LayerBits
    locked: bool


def network_view(
    store: Store,
    model: ModelSpec,
    allocation: BitAllocation | None = None,
    *,
    title: str = "",
    editable: bool = False,
    locked: Sequence[bool] = (),
    on_change: Callable[[Change], None] | None = None,
    key: str = "network",
) -> None:
    """Draw a network: who feeds whom, each layer in the colour of its bits, and what it is.

    Whatever changes bits in the browser recolours it at once: it listens to the event
    "bitdial:allocation" of the window, with {model (the digest), weight, activation (bits in model
    order), title, perhaps locked}, and asks for it with "bitdial:ask" {model} when it appears and
    when the server sends others, which may be older than what the page holds. What a reader edits
    here is told as "bitdial:edit" {model, layer, weight, activation} and "bitdial:lock" {model,
    layer, locked}; one that nobody takes with `preventDefault` goes to the server, to `on_change`.

    Args:
        store: Gives stored sensitivities and input ranges.
        model: What is drawn.
        allocation: The bits the page has in hand; None where there are none.
        title: What these bits are.
        editable: Whether bits and locks may be changed here.
        locked: Whether each layer is locked.
        on_change: Given what a reader changed.
        key: Name of the element, one for each on a page.
    """
    tables = list(session.sensitivity_tables(store, model).values())
    table = next((each for each in tables if each.unit == "nats"), next(iter(tables), None))
    measured = next((each for each in tables if each.ranges), None)
    drawn = _picture(model, table, measured, (model.digest, _stamp(table), _stamp(measured)))
    now = payload.state(model, allocation, title, editable, locked)

    def changed(value: Any) -> None:
        change = read_change(value, model)
        if change is not None and on_change is not None:
            on_change(change)

    drawn_network({**drawn, **now}, changed if editable else None, key)


def read_change(value: Any, model: ModelSpec) -> Change | None:
    """Read what the browser says was changed; None where it makes no sense."""
    if not isinstance(value, Mapping):
        return None
    numbers = [value.get(name) for name in ("layer", "weight", "activation")]
    locked = value.get("locked")
    whole = [each for each in numbers if isinstance(each, int) and not isinstance(each, bool)]
    if len(whole) < len(numbers) or not isinstance(locked, bool):
        return None
    layer, weight, activation = whole
    known = weight in WEIGHT_WIDTHS and activation in BIT_WIDTHS
    if not 0 <= layer < len(model.layers) or not known:
        return None
    return Change(layer, LayerBits(weight, activation), locked)


def _stamp(table: SensitivityTable | None) -> tuple[object, ...]:
    return () if table is None else (table.kind, table.n, table.seconds, len(table.ranges))


@st.cache_resource(show_spinner=False, max_entries=16)
def _picture(
    _model: ModelSpec,
    _table: SensitivityTable | None,
    _measured: SensitivityTable | None,
    stamp: tuple[object, ...],
) -> dict[str, Any]:
    ranges: Mapping[str, InputRange] = {} if _measured is None else _measured.ranges
    return payload.picture(_model, _table, ranges)
