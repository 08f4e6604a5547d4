"""Every quantizer by name, and where `qcore.quantizers` makes it: what forms offer. Torch-free.

A line here and the function or record it names is all that a new quantizer needs.
"""

from dataclasses import dataclass

USUAL = "mse"
"""The post-training quantizer of whoever asks for none."""


@dataclass(frozen=True, slots=True)
class PostTraining:
    """A post-training (PTQ) quantizer of weights.

    Attributes:
        name: Key in POST_TRAINING and QUANTIZERS.
        title: What the pages call it.
        place: "module.function" in `qcore.quantizers`: (rows (channels, n), bits) to the step of
            each channel.
    """

    name: str
    title: str
    place: str


@dataclass(frozen=True, slots=True)
class Learned:
    """A quantizer that is learned in quantization-aware training (QAT).

    Attributes:
        name: Key in LEARNED and LEARNED_QUANTIZERS.
        place: "module.RECORD" in `qcore.quantizers`.
        searches: Searches whose form offers it; others may use it of themselves.
    """

    name: str
    place: str
    searches: tuple[str, ...] = ()


TRAINING = ("gradfreebits", "spnets", "bitmixer")
"""Searches that train with whichever quantizer is chosen."""

POST_TRAINING = {
    each.name: each
    for each in (
        PostTraining("mse", "Per channel, least squared error", "weights.mse_step"),
        PostTraining("absmax", "Per channel, largest magnitude", "weights.absmax_step"),
    )
}

LEARNED = {
    each.name: each
    for each in (
        Learned("clip", "learned_clip.QUANTIZER", TRAINING),
        Learned("lsq", "lsq.QUANTIZER", TRAINING),
        Learned("dorefa", "dorefa.QUANTIZER", TRAINING),
        Learned("dq", "dq.QUANTIZER"),
        Learned("power-of-two", "power_of_two.QUANTIZER"),
        Learned("sign", "sign.QUANTIZER", ("spnets",)),
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
