"""What the reader has set on layers while dragging: widths that are allowed, and ties. Pure.

It comes from the browser and goes back to it as an ordered list, in which a later rule takes the
place of an earlier one on the same part of a layer:

    {"pattern": layer name, "part": "weight" or "activation", "allow": [widths]}
    {"tie": [layer names], "part": "weight" or "activation"}

A layer that is locked is allowed one width; layers that are tied share one. In the page's address
it is short: "w0.2-4b4.8_a1b8_w1.3" allows weights of the first and of the third to fifth layer 4 or
8 bits, inputs of the second 8, and ties the weights of the second and the fourth.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcore.allocation import (
    BIT_WIDTHS,
    WEIGHT_WIDTHS,
    BitAllocation,
    LayerBits,
    ModelSpec,
    in_order,
)
from qcore.rules.ties import PARTS, Part, Tie, merged

_RULE = re.compile(r"([wa])([0-9.\-]+)(?:b([0-9.]*))?")
KNOWN = {"weight": WEIGHT_WIDTHS, "activation": BIT_WIDTHS}
"""Widths that there are, by part."""

_DIGITS = 6
_MOST = 20_000
"""Rules that are read from one list, at most."""


@dataclass(frozen=True, slots=True)
class Allow:
    """Widths that one part of a layer may have, rising; none where nothing is allowed."""

    layer: str
    part: Part
    widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Together:
    """Widths of a layer's weights and activations that go together; only written rules say so."""

    layer: str
    pairs: tuple[LayerBits, ...]


@dataclass(frozen=True)
class Held:
    """What is set, in the order in which it was: a later rule takes the place of an earlier one.

    The browser and the page's address know nothing of pairs (`Together`).
    """

    rules: tuple[Allow | Tie | Together, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rules)

    def allowed(self) -> dict[tuple[str, str], tuple[int, ...]]:
        """(layer, part) to the widths it may have, of those that rules name."""
        return {(r.layer, r.part): r.widths for r in self.rules if isinstance(r, Allow)}

    def ties(self) -> list[Tie]:
        """Ties that share no layer: those that do are one."""
        order = list(dict.fromkeys(self._names()))
        return list(merged((rule for rule in self.rules if isinstance(rule, Tie)), order))

    def _names(self) -> Iterator[str]:
        for rule in self.rules:
            yield from rule.layers if isinstance(rule, Tie) else (rule.layer,)

    def _together(self) -> dict[str, tuple[LayerBits, ...]]:
        return {rule.layer: rule.pairs for rule in self.rules if isinstance(rule, Together)}

    def options(
        self, options: Mapping[str, Sequence[LayerBits]]
    ) -> dict[str, tuple[LayerBits, ...]]:
        """Those of the options of each layer whose widths are allowed; ties are not looked at."""
        allowed, together = self.allowed(), self._together()
        return {
            name: tuple(
                bits
                for bits in row
                if bits in together.get(name, row)
                and all(getattr(bits, p) in allowed.get((name, p), WEIGHT_WIDTHS) for p in PARTS)
            )
            for name, row in options.items()
        }

    def admits(self, allocation: BitAllocation) -> bool:
        """Whether an allocation has what is set."""
        return (
            all(
                getattr(allocation[layer], part) in widths
                for (layer, part), widths in self.allowed().items()
            )
            and all(allocation[layer] in pairs for layer, pairs in self._together().items())
            and all(
                len({getattr(allocation[layer], tie.part) for layer in tie.layers}) == 1
                for tie in self.ties()
            )
        )

    def allowing(self, layers: Sequence[str], part: Part, widths: Iterable[int]) -> "Held":
        """The same with what a part of some layers, and of those tied to them, may have."""
        named = self._tied_to(layers, part)
        kept = [r for r in self.rules if not _about(r, named, part, Allow)]
        found = [Allow(layer, part, in_order(widths)) for layer in named]
        return Held((*kept, *found))

    def tying(self, layers: Sequence[str], part: Part) -> "Held":
        """The same with some layers tied, and with them all that they are tied to."""
        named = self._tied_to(layers, part)
        kept = [r for r in self.rules if not _about(r, named, part, Tie)]
        return Held((*kept, Tie(part, named))) if len(named) > 1 else self

    def letting_go(self, layers: Sequence[str], part: Part) -> "Held":
        """The same with nothing set on a part of some layers; what they were tied to stays so."""
        kept: list[Allow | Tie | Together] = []
        for rule in self.rules:
            if isinstance(rule, Tie) and rule.part == part:
                left = tuple(layer for layer in rule.layers if layer not in layers)
                kept += [Tie(part, left)] if len(left) > 1 else []
            elif not _about(rule, layers, part, Allow):
                kept.append(rule)
        return Held(tuple(kept))

    def _tied_to(self, layers: Sequence[str], part: Part) -> tuple[str, ...]:
        """Some layers and all that are tied to them, each once."""
        found = dict.fromkeys(layers)
        for tie in self.ties():
            if tie.part == part and set(tie.layers) & set(layers):
                found |= dict.fromkeys(tie.layers)
        return tuple(found)

    def to_json(self) -> list[dict[str, Any]]:
        """The list that the browser takes and gives."""
        return [
            {"tie": list(rule.layers), "part": rule.part}
            if isinstance(rule, Tie)
            else {"pattern": rule.layer, "part": rule.part, "allow": list(rule.widths)}
            for rule in self._plain()
        ]

    def _plain(self) -> list[Allow | Tie]:
        return [rule for rule in self.rules if not isinstance(rule, Together)]

    def to_text(self, model: ModelSpec) -> str:
        """What the page's address says; "" where nothing is set."""
        place = {name: at for at, name in enumerate(model.names)}
        words = []
        runs = itertools.groupby(
            self._plain(), lambda r: (r.part, r.widths if isinstance(r, Allow) else None)
        )
        for (part, widths), group in runs:
            if widths is None:
                words += [
                    part[0] + _places(place[name] for name in tie.layers)
                    for tie in group
                    if isinstance(tie, Tie)
                ]
            else:
                named = {place[rule.layer] for rule in group if isinstance(rule, Allow)}
                words.append(f"{part[0]}{_places(named)}b{'.'.join(map(str, widths))}")
        return "_".join(words)


NOTHING = Held()


def _about(rule: Allow | Tie | Together, layers: Sequence[str], part: Part, kind: type) -> bool:
    named = rule.layers if isinstance(rule, Tie) else (rule.layer,)
    mine = isinstance(rule, kind) and getattr(rule, "part", part) == part
    return mine and bool(set(named) & set(layers))


def held_of(data: Any, model: ModelSpec) -> Held:
    """Read the browser's list, which may hold anything; what makes no sense is left out."""
    rules: list[Allow | Tie] = []
    names = {name: at for at, name in enumerate(model.names)}
    for entry in data[:_MOST] if isinstance(data, list) else []:
        if not isinstance(entry, Mapping) or entry.get("part") not in PARTS:
            continue
        part, tie, allow = entry["part"], entry.get("tie"), entry.get("allow")
        if isinstance(tie, list):
            named = {name for name in tie if isinstance(name, str) and name in names}
            if len(named) > 1:
                rules.append(Tie(part, tuple(sorted(named, key=names.__getitem__))))
        elif isinstance(allow, list) and isinstance(layer := entry.get("pattern"), str):
            widths = {w for w in allow if type(w) is int and w in KNOWN[part]}
            if layer in names:
                rules.append(Allow(layer, part, in_order(widths)))
    return Held(_shortened(rules))


def held_of_text(words: str, model: ModelSpec) -> Held:
    """Read what `Held.to_text` wrote; what makes no sense is left out."""
    rules: list[Allow | Tie] = []
    for word in words.split("_"):
        found = _RULE.fullmatch(word)
        if not found:
            continue
        part = PARTS[0] if found[1] == "w" else PARTS[1]
        layers = tuple(model.names[at] for at in _numbers(found[2], len(model.names)))
        if found[3] is not None:
            widths = {int(w) for w in found[3].split(".") if w and len(w) < _DIGITS}
            allowed = in_order(widths & set(KNOWN[part]))
            rules += [Allow(layer, part, allowed) for layer in layers]
        elif len(layers) > 1:
            rules.append(Tie(part, layers))
    return Held(_shortened(rules[:_MOST]))


def _shortened(rules: Sequence[Allow | Tie]) -> tuple[Allow | Tie, ...]:
    """The last two rules on each part of each layer, and each tie once: no more is ever asked."""
    kept: list[Allow | Tie] = []
    seen: dict[Any, int] = {}
    for rule in reversed(rules):
        key = rule if isinstance(rule, Tie) else (rule.layer, rule.part)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= (1 if isinstance(rule, Tie) else 2):
            kept.append(rule)
    return tuple(reversed(kept))


def _places(places: Iterable[int]) -> str:
    """Rising numbers as "0.2-4"."""
    ordered = sorted(places)
    runs = itertools.groupby(enumerate(ordered), lambda pair: pair[1] - pair[0])
    spans = [[at for _, at in run] for _, run in runs]
    return ".".join(f"{s[0]}-{s[-1]}" if len(s) > 1 else str(s[0]) for s in spans)


def _numbers(words: str, count: int) -> list[int]:
    """Read what `_places` wrote: rising, each once, all below `count`."""
    found: set[int] = set()
    for word in words.split("."):
        first, _, last = word.partition("-")
        if not all(part.isdigit() and len(part) < _DIGITS for part in (first, last or first)):
            continue
        found |= set(range(int(first), min(int(last or first) + 1, count)))
    return sorted(found)
