"""Every rounding by name, where `qcore.rounding` makes it, and what is said of it. Torch-free.

A line here and the function it names is all that a new rounding needs.
"""

from dataclasses import dataclass

NEAREST = "nearest"
"""The rounding that looks at nothing but the weight: what files from before there was a choice
mean."""

PLAIN_FROM = 8
"""Bits from which every rounding is to the nearest code: there is nothing left to gain."""


@dataclass(frozen=True, slots=True)
class RoundingFacts:
    """A way to turn weights into codes.

    Attributes:
        name: Key in ROUNDING_FACTS and ROUNDINGS.
        title: What the pages call it.
        place: "module.function" in `qcore.rounding`; see `qcore.rounding.Rounding`.
        words: How a weight becomes a code, for the card.
        refits: Whether it chooses the steps anew, so that every code may be used.
    """

    name: str
    title: str
    place: str
    words: str
    refits: bool = False


ROUNDING_FACTS = {
    each.name: each
    for each in (
        RoundingFacts(
            NEAREST, "To the nearest code", "nearest.nearest", "to the nearest code, half to even"
        ),
        RoundingFacts(
            "gpfq",
            "Greedy path following (GPFQ)",
            "gpfq.gpfq",
            "one weight after the other, each making up for the output error so far (GPFQ)",
        ),
        RoundingFacts(
            "gptq",
            "Least output error (GPTQ)",
            "gptq.gptq",
            "to least error of the layer's output: GPTQ, coordinate descent, steps fitted anew",
            refits=True,
        ),
    )
}

_IN_KEY = "/rounding="


def key_part(rounding: str) -> str:
    """What the name of something stored says of the rounding: nothing where it is the nearest.

    Example:
        >>> key_part("nearest"), key_part("gptq")
        ('', '/rounding=gptq')
    """
    return "" if rounding == NEAREST else f"{_IN_KEY}{rounding}"


def rounding_of(key: str) -> str:
    """The rounding that a stored name tells, as `key_part` wrote it."""
    return key.partition(_IN_KEY)[2].partition("/")[0] or NEAREST
