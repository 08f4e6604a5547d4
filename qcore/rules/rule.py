"""One rule: which layers, and what widths, locks and ties it gives them. Torch-free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcore.allocation import (
    FLOAT_BITS,
    GROUPED_WIDTHS,
    LayerBits,
    in_order,
    parse_width,
    width_json,
    width_text,
    width_words,
)
from qcore.errors import InvalidParams
from qcore.rules.pattern import Pattern, parse_pattern
from qcore.widths import without_groups

Pair = tuple[int | None, int | None]
"""Bits of weights and of activations; None says nothing of them."""

TIES = ("weights", "activations", "both")
KEYS = ("layers", "weights", "activations", "pairs", "min", "max", "lock", "tie")


@dataclass(frozen=True, slots=True)
class Rule:
    """What some layers may have.

    Attributes:
        layers: Pattern of the layers it is for; see `qcore.rules.pattern`.
        weights: Allowed weight widths; () leaves them as they are.
        activations: Allowed activation widths; () leaves them as they are.
        least: Fewest bits of weights and activations.
        most: Most bits of weights and activations; those in float stay there.
        lock: The one width of weights and activations.
        tie: One of TIES: whose width the layers share that have the same text behind the pattern's
            `*`, or all of them where no two have; "" ties nothing.
        pairs: Widths of weights and of activations that go together; () leaves them free of each
            other.

    Raises:
        InvalidParams: the pattern cannot be read, the rule says nothing or contradicts itself.
        InvalidBits: a width there is not.
    """

    layers: str
    weights: tuple[int, ...] = ()
    activations: tuple[int, ...] = ()
    least: Pair = (None, None)
    most: Pair = (None, None)
    lock: Pair = (None, None)
    tie: str = ""
    pairs: tuple[LayerBits, ...] = ()

    def __post_init__(self) -> None:
        parse_pattern(self.layers)
        if self.tie and self.tie not in TIES:
            raise InvalidParams(
                f"The rule for {self.layers!r} ties {self.tie!r}; tie one of {', '.join(TIES)}."
            )
        bounds = {self.least, self.most, self.lock} - {(None, None)}
        if not (self.weights or self.activations or self.pairs or bounds or self.tie):
            raise InvalidParams(
                f"The rule for {self.layers!r} says nothing. Give allowed weights or activations, "
                "pairs, min, max, lock or tie."
            )
        self._check_pairs()
        for what, allowed, place in (
            ("weights", self.weights, 0),
            ("activations", self.activations, 1),
        ):
            self._check(what, allowed, self.least[place], self.most[place], self.lock[place])

    def _check_pairs(self) -> None:
        if self.pairs and (self.weights or self.activations or self.lock != (None, None)):
            raise InvalidParams(
                f"The rule for {self.layers!r} contradicts itself: it gives pairs, "
                f"{pairs_text(self.pairs)}, and other widths or a lock beside them. Give the pairs "
                "alone, or the others in a rule of their own."
            )
        if self.pairs and not any(self.bounded(bits) for bits in self.pairs):
            raise InvalidParams(
                f"The rule for {self.layers!r} contradicts itself: of its pairs, "
                f"{pairs_text(self.pairs)}, none is within min and max."
            )

    def bounded(self, bits: LayerBits) -> bool:
        """Whether both widths keep its floor and its ceiling."""
        both = zip((bits.weight, bits.activation), self.least, self.most, strict=True)
        return all(within(width, least, most) for width, least, most in both)

    def _check(
        self, what: str, allowed: tuple[int, ...], least: int | None, most: int | None,
        lock: int | None,
    ) -> None:  # fmt: skip
        if least is not None and most is not None and least > most:
            raise InvalidParams(
                f"The rule for {self.layers!r} contradicts itself: {what} of at least "
                f"{width_text(least)} and at most {width_words(most)}."
            )
        left = [bits for bits in allowed if within(bits, least, most)]
        if allowed and not left:
            raise InvalidParams(
                f"The rule for {self.layers!r} contradicts itself: of its {what}, "
                f"{_listed(allowed)}, none is within min and max."
            )
        if lock is not None and ((allowed and lock not in left) or not within(lock, least, most)):
            raise InvalidParams(
                f"The rule for {self.layers!r} contradicts itself: it locks {what} at "
                f"{width_words(lock)}, which its allowed widths, min or max rule out."
            )

    @property
    def pattern(self) -> Pattern:
        """The pattern, read."""
        return parse_pattern(self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """Every width that it may give a layer."""
        together = (width for bits in self.pairs for width in (bits.weight, bits.activation))
        locked = (bits for bits in self.lock if bits is not None)
        return (*self.weights, *self.activations, *together, *locked)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data, as a file has it; `Rule.from_json` reads it back."""
        pairs = {"min": self.least, "max": self.most, "lock": self.lock}
        said: dict[str, Any] = {"layers": self.layers}
        said |= {
            k: [width_json(bits) for bits in v]
            for k, v in (("weights", self.weights), ("activations", self.activations))
            if v
        }
        said |= {"pairs": [bits.text for bits in self.pairs]} if self.pairs else {}
        said |= {key: _written(pair) for key, pair in pairs.items() if pair != (None, None)}
        return said | ({"tie": self.tie} if self.tie else {})

    @classmethod
    def from_json(cls, data: Any) -> "Rule":
        """Read a rule as a file has it.

        Widths are a number or a list, pairs texts such as "4/8" in a list or with commas; min, max
        and lock a number or "weights/activations", such as "4/8" or "4/-". A number alone is for
        the weights; a lock's also for the activations, where those are quantized.

        Raises:
            InvalidParams: no mapping with "layers", a key there is not, or a value of a wrong type.
            InvalidBits: a width there is not.
        """
        if not isinstance(data, Mapping):
            raise InvalidParams(f"A rule must be a mapping with {', '.join(KEYS)}; got {data!r}.")
        unknown = [str(key) for key in data if key not in KEYS]
        if unknown:
            raise InvalidParams(
                f"A rule knows {', '.join(KEYS)}; got {unknown[0]!r}. Is it misspelt?"
            )
        layers = data.get("layers")
        if isinstance(layers, Sequence) and not isinstance(layers, str):
            layers = ", ".join(map(str, layers))
        if not isinstance(layers, str) or not layers.strip():
            raise InvalidParams(
                'A rule needs "layers", a pattern such as "conv1" or "kind:linear".'
            )
        tie = data.get("tie") or ""
        return cls(
            layers=layers.strip(),
            weights=_widths(data.get("weights")),
            activations=_widths(data.get("activations"), inputs=True),
            least=_pair(data.get("min"), "min"),
            most=_pair(data.get("max"), "max"),
            lock=_pair(data.get("lock"), "lock"),
            tie="both" if tie is True else str(tie).strip(),
            pairs=_pairs(data.get("pairs")),
        )


def within(bits: int, least: int | None, most: int | None) -> bool:
    """Whether a width keeps a floor and a ceiling; float is above all and over no ceiling.

    Scales of groups do not count: 4g64 is neither below 4 bits nor above.
    """
    low = least is None or without_groups(bits) >= without_groups(least)
    return low and (
        most is None or bits == FLOAT_BITS or without_groups(bits) <= without_groups(most)
    )


def _widths(value: Any, inputs: bool = False) -> tuple[int, ...]:
    if value in (None, "", [], ()):
        return ()
    if isinstance(value, str):
        value = [part for part in value.replace(";", ",").split(",") if part.strip()]
    listed = value if isinstance(value, Sequence) else [value]
    return in_order(parse_width(one, inputs) for one in listed)


def _pairs(value: Any) -> tuple[LayerBits, ...]:
    if value in (None, "", [], ()):
        return ()
    if isinstance(value, str):
        value = [part for part in value.replace(";", ",").split(",") if part.strip()]
    found = set()
    for one in value if isinstance(value, Sequence) else [value]:
        weight, slash, activation = str(one).rpartition("/")
        if not slash or not isinstance(one, str):
            raise InvalidParams(
                'pairs must be widths of weights and of activations that go together, as in "8/8, '
                f'4/float"; got {one!r}.'
            )
        found.add(LayerBits(parse_width(weight), parse_width(activation, inputs=True)))
    return tuple(sorted(found))


def pairs_text(pairs: Sequence[LayerBits]) -> str:
    """Pairs as they are written: "4/float, 8/8"."""
    return ", ".join(bits.text for bits in pairs)


def _pair(value: Any, key: str) -> Pair:
    if value in (None, "", [], ()):
        return (None, None)
    if isinstance(value, Mapping):
        unknown = [k for k in value if k not in ("weights", "activations")]
        if unknown:
            raise InvalidParams(
                f"{key} may be given for weights and activations; got {unknown[0]!r}."
            )
        value = [value.get("weights"), value.get("activations")]
    elif isinstance(value, str) and "/" in value:
        value = value.split("/")
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise InvalidParams(f'{key} must be one width or two, as in "4/8"; got {value!r}.')
        first, second = (
            None if one is None or str(one).strip() in ("", "-", "*") else parse_width(one, inputs)
            for one, inputs in zip(value, (False, True), strict=True)
        )
        return first, second
    width = parse_width(value)
    # inputs have no groups
    return width, (width if key == "lock" and width not in GROUPED_WIDTHS else None)


def _written(pair: Pair) -> str:
    """A pair as text, "4/8"; always both, as a number alone means more in a lock."""
    return "/".join("-" if bits is None else width_text(bits) for bits in pair)


def _listed(widths: Sequence[int]) -> str:
    return ", ".join(map(width_text, widths))
