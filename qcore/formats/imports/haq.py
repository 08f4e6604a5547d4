"""HAQ's strategy: [[weight bits, activation bits], ...] or [weight bits, ...] without names.

Its order is that in which the network defines its modules (HAQ's lib/env/linear_quantize_env.py and
finetune.py go through `model.modules()`), which need not be the order they run in.
"""

import math
from collections.abc import Sequence
from typing import Any

from qcore.allocation import FLOAT_BITS, BitAllocation, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.config import FORMAT
from qcore.formats.exports.haq import FLOAT_MARK, order
from qcore.formats.exports.widths import shortened, some
from qcore.formats.imports.base import Import, Reading, Readings, checked_bits, whole
from qcore.formats.imports.document import Document

DEEPEST = 4
"""Most dictionaries around a list."""


def recognise(value: Any) -> bool:
    """True for a list of numbers or pairs, or a value with one under a name."""
    return any(_is_strategy(entry) for entry in _candidates(value).values())


def _candidates(value: Any, name: str = "", depth: int = 0) -> dict[str, Any]:
    """Lists and tuples, at any depth of dictionaries, by the names that lead to them."""
    if not isinstance(value, dict) or value.get("format") == FORMAT:
        return {name: value} if isinstance(value, (list, tuple)) else {}
    found: dict[str, Any] = {}
    for key, entry in value.items() if depth < DEEPEST else ():
        found |= _candidates(entry, f"{name}.{key}" if name else str(key), depth + 1)
    return found


def _is_strategy(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return all(_is_number(entry) for entry in value) or all(
        isinstance(entry, (list, tuple)) and len(entry) == 2 and all(map(_is_number, entry))
        for entry in value
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def read(document: Document, model: ModelSpec) -> Readings:
    """Its bits, layers taken in the order of their definition; -1 is float.

    Raises:
        InvalidConfig: another number of layers, or a width that is not known.
    """
    lists = {n: v for n, v in _candidates(document.value).items() if _is_strategy(v)}
    fitting = {n: v for n, v in lists.items() if len(v) == len(model.names)}
    if not fitting:
        _refuse_endless(lists)
        lengths = some(list(dict.fromkeys(str(len(entry)) for entry in lists.values()))) or "no"
        raise InvalidConfig(
            f"The strategy has {lengths} entries, and {model.name} has {len(model.names)} layers "
            f"({model.names[0]} to {model.names[-1]}). Choose the model it was made for."
        )
    found: dict[str, Reading] = {}
    first: InvalidConfig | None = None
    for name, entries in fitting.items():
        try:
            found[name] = Reading(_read_one(entries, model), _order_notes(model))
        except InvalidConfig as error:  # a script has other lists too
            first = first or error
    if first is not None and not found:
        raise first
    return found


def _refuse_endless(lists: dict[str, Any]) -> None:
    for name, entries in lists.items():
        numbers = [n for e in entries for n in (e if isinstance(e, (list, tuple)) else (e,))]
        wrong = next((n for n in numbers if not -math.inf < n < math.inf), None)
        if wrong is not None:
            named = f" {name[:80]!r}" if name else ""
            raise InvalidConfig(
                f"The list{named} holds {wrong:g}, which is no number of bits. Write 1 to 16, or "
                f"{FLOAT_MARK} for float."
            )


def _read_one(entries: Sequence[Any], model: ModelSpec) -> BitAllocation:
    bits = {}
    for name, entry in zip(order(model), entries, strict=True):
        pair = entry if isinstance(entry, (list, tuple)) else (entry, FLOAT_MARK)
        weight, activation = (FLOAT_BITS if width == FLOAT_MARK else whole(width) for width in pair)
        bits[name] = checked_bits(name, weight, activation)
    return BitAllocation({name: bits[name] for name in model.names})


def _order_notes(model: ModelSpec) -> tuple[str, ...]:
    """What a list without names leaves open: which entry is which layer's."""
    if not model.defined:
        return (
            f"The list has no names, and it is not known in which order {model.name} defines its "
            "layers: entries are taken in the order the layers run. Add the network again to have "
            "the other order kept, or compare the bits layer by layer.",
        )
    if model.defined == model.names:
        return ()
    pairs = zip(model.defined, model.names, strict=True)
    first = next(place for place, (one, other) in enumerate(pairs) if one != other)
    return (
        f"{model.name} runs its layers in another order than it defines them. HAQ's lists go by "
        f"definition, so entry {first + 1} is for {shortened(model.defined[first])}, though "
        f"{shortened(model.names[first])} runs in that place.",
    )


IMPORT = Import(
    "haq",
    "HAQ strategy (list of bits)",
    recognise,
    read,
    "Has no names: entry by entry in the order in which the network defines its layers. -1 is "
    "float; a list of single numbers holds weight bits, and activations stay in float.",
)
