"""Every quantizer by name, where `qcore.quantizers` makes it, and its facts. Torch-free.

A line here and the function or record it names is all that a new quantizer needs.
"""

from dataclasses import dataclass

USUAL = "mse"
"""The post-training quantizer of whoever asks for none."""


EVERY_CODE = tuple(2**bits for bits in range(1, 9))
"""Codes of 1, 2, .. 8 bits where none is left unused."""

SYMMETRIC = (2, *(2**bits - 1 for bits in range(2, 9)))
"""The same where both signs have as many codes, and one is left unused from two bits up."""

PER_CHANNEL, PER_LAYER = "one per output channel", "one per layer and width"
"""How many steps weights have."""

LEARNED_RANGE = "one per layer input and width, learned"
CALIBRATED_RANGE = "one per layer input and width, as calibrated"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a quantizer does that its name does not say; tests hold it against the quantizer.

    Attributes:
        codes: Most distinct codes of a step's weights at 1, 2, .. 8 bits.
        scales: How many steps the weights of a layer have.
        rounding: How a weight becomes a code.
        inputs: How many steps a layer's input has, and where they come from.
    """

    codes: tuple[int, ...] = EVERY_CODE
    scales: str = PER_CHANNEL
    rounding: str = "to the nearest code, half to even"
    inputs: str = CALIBRATED_RANGE


@dataclass(frozen=True, slots=True)
class PostTraining:
    """A post-training (PTQ) quantizer of weights.

    Attributes:
        name: Key in POST_TRAINING and QUANTIZERS.
        title: What the pages call it.
        place: "module.function" in `qcore.quantizers`: (rows (channels, n), bits) to the step of
            each channel.
        facts: What else it does.
    """

    name: str
    title: str
    place: str
    facts: Facts = Facts()


@dataclass(frozen=True, slots=True)
class Learned:
    """A quantizer that is learned in quantization-aware training (QAT).

    Attributes:
        name: Key in LEARNED and LEARNED_QUANTIZERS.
        place: "module.RECORD" in `qcore.quantizers`.
        facts: What else it does.
        searches: Searches whose form offers it; others may use it of themselves.
    """

    name: str
    place: str
    facts: Facts
    searches: tuple[str, ...] = ()


TRAINING = ("gradfreebits", "spnets", "bitmixer")
"""Searches that train with whichever quantizer is chosen."""

POST_TRAINING = {
    each.name: each
    for each in (
        PostTraining("mse", "Per channel, least squared error", "weights.mse_step"),
        PostTraining(
            "absmax", "Per channel, largest magnitude", "weights.absmax_step", Facts(SYMMETRIC)
        ),
    )
}

_LEARNED_CLIP = Facts(SYMMETRIC, PER_LAYER, inputs=LEARNED_RANGE)
_TANH = "tanh of the weight, to the nearest odd multiple of the step: zero is no code"
_POWERS = "to the nearest power of two: zero is no code"
_LEADING = "to the middle of its cell, zero being none; codes of fewer bits are its leading bits"

LEARNED = {
    each.name: each
    for each in (
        Learned("clip", "learned_clip.QUANTIZER", _LEARNED_CLIP, TRAINING),
        Learned(
            "lsq",
            "lsq.QUANTIZER",
            Facts(EVERY_CODE, PER_LAYER, inputs=LEARNED_RANGE),
            TRAINING,
        ),
        Learned("dorefa", "dorefa.QUANTIZER", Facts(EVERY_CODE, PER_LAYER, _TANH), TRAINING),
        Learned(
            "nested",
            "nested.QUANTIZER",
            Facts(EVERY_CODE, PER_LAYER, _LEADING, LEARNED_RANGE),
            ("spnets", "bitmixer"),
        ),
        Learned("dq", "dq.QUANTIZER", Facts(SYMMETRIC, PER_LAYER)),
        Learned(
            "power-of-two",
            "power_of_two.QUANTIZER",
            Facts((2, 4, 8, 16, 30, 30, 30, 30), PER_LAYER, _POWERS),
        ),
        Learned("sign", "sign.QUANTIZER", _LEARNED_CLIP, ("spnets",)),
    )
}


def learned_for(search: str) -> tuple[str, ...]:
    """Names of the learned quantizers that the form of a search offers, in the order of LEARNED."""
    return tuple(each.name for each in LEARNED.values() if search in each.searches)


_IN_KEY = "/quantizer="


def key_part(quantizer: str) -> str:
    """What the name of something stored says of the quantizer: nothing where it is the usual one.

    Example:
        >>> key_part("mse"), key_part("absmax")
        ('', '/quantizer=absmax')
    """
    return "" if quantizer == USUAL else f"{_IN_KEY}{quantizer}"


def quantizer_of(key: str) -> str:
    """The quantizer that a stored name tells, as `key_part` wrote it."""
    return key.partition(_IN_KEY)[2].partition("/")[0] or USUAL
