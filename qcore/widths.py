"""Every width that a weight or an activation may have, as a small whole number. Torch-free.

1 to 16 are bits of whole numbers with one scale per channel, 32 is float. Widths that are no number
of bits have codes, which only this file knows: the floats of 16 bits, and weights with a scale for
every so many inputs, "4g64" (4 bits, a scale for each 64 weights of a row).
"""

import re
from collections.abc import Iterable

import numpy as np

from qcore.errors import InvalidBits

FLOAT_BITS = 32
"""The bit-width that means "left in floating point"."""

BFLOAT16 = 17
"""The code of the width "bfloat16": no number of bits, it takes `stored_bits` of them."""

FLOAT16 = 18
"""The code of the width "float16", in the same sense."""

BIT_WIDTHS = (*range(1, 17), BFLOAT16, FLOAT16, FLOAT_BITS)
"""Every width that a weight and an activation may have, from the narrowest: 1 to 16 bits of whole
numbers, the two floats of 16 bits by their codes, and float."""

HALF_WIDTHS = (BFLOAT16, FLOAT16)
"""The floats of 16 bits: cast, without a scale and without a range."""

GROUPS = (32, 64, 128)
"""Weights of a row that may share a scale of their own."""

GROUPED_BITS = tuple(range(2, 9))
"""Bits that codes with a scale per group may have."""

_CODE = {
    (bits, group): bits + 32 * place
    for place, group in enumerate(reversed(GROUPS), start=1)
    for bits in GROUPED_BITS
}
_GROUPED = {code: pair for pair, code in _CODE.items()}

GROUPED_WIDTHS = tuple(_CODE[bits, group] for bits in GROUPED_BITS for group in reversed(GROUPS))
"""Widths of weights with a scale per group of inputs, fewest stored bits first."""

WIDTHS_IN_WORDS = (
    "1 to 16 bits, bf16, fp16 or float (32), or of weights such as 4g64: 2 to 8 bits with a scale "
    "for each 32, 64 or 128 inputs"
)
"""What a width may be, as errors and forms say it."""

_TEXTS = {BFLOAT16: "bf16", FLOAT16: "fp16", FLOAT_BITS: "float"}
_TEXTS_OF_GROUPS = {code: f"{bits}g{group}" for code, (bits, group) in _GROUPED.items()}
_NAMES = {
    **dict.fromkeys(("bf16", "bfloat16"), BFLOAT16),
    **dict.fromkeys(("fp16", "f16", "float16", "half"), FLOAT16),
    **dict.fromkeys(("float", "fp32", "f32", "float32"), FLOAT_BITS),
    **{text: code for code, text in _TEXTS_OF_GROUPS.items()},
}
_NUMBERED = re.compile(r"(?:u?int(?!32)|[wa])?([0-9]{1,2})(?:[ -]?bits?)?")
_IN_GROUPS = re.compile(r"(?:int|w)?([0-9])(?:[ -]?bits?)?[ _-]?g(?:roup)?[ _-]?([0-9]{2,3})")
_NUMBERS = (*range(1, 17), FLOAT_BITS)
SHOWN = 40
"""Characters of what a person wrote that a message repeats."""

_STORED = np.arange(max(FLOAT_BITS, *_GROUPED) + 1)
_STORED[list(HALF_WIDTHS)] = 16
_STORED[list(_GROUPED)] = [bits for bits, _ in _GROUPED.values()]


def stored_bits(width: int) -> int:
    """Bits that one value of a width takes, scales apart; 16 for both floats of 16 bits.

    Example:
        >>> [stored_bits(width) for width in (4, 16, BFLOAT16, parse_width("4g64"), FLOAT_BITS)]
        [4, 16, 16, 4, 32]
    """
    if width in _GROUPED:
        return _GROUPED[width][0]
    return 16 if width in HALF_WIDTHS else width


def stored_matrix(widths: np.ndarray) -> np.ndarray:
    """`stored_bits` of many widths at once: int64 of the same shape."""
    return np.asarray(_STORED[widths], np.int64)


def group_inputs(width: int) -> int:
    """Weights of a row that share a scale; 0 where the whole row does, and of floats.

    Example:
        >>> group_inputs(parse_width("4g64")), group_inputs(4)
        (64, 0)
    """
    return _GROUPED[width][1] if width in _GROUPED else 0


def without_groups(width: int) -> int:
    """The width with one scale a row; itself where it has no groups.

    Example:
        >>> without_groups(parse_width("4g64")), without_groups(FLOAT16) == FLOAT16
        (4, True)
    """
    return _GROUPED[width][0] if width in _GROUPED else width


def takes_gain(width: int) -> bool:
    """True where a channel's scale can take a gain: there is one scale, and it is kept exactly."""
    return width not in HALF_WIDTHS and width not in _GROUPED


def groups_of(width: int, row: int) -> int:
    """Scales of a row of so many weights at this width; 1 where it has no groups."""
    group = group_inputs(width)
    return -(-row // group) if group else 1


def grouped(bits: int, group: int) -> int:
    """The width with so many bits and a scale for so many inputs; the bits alone at group 0.

    Raises:
        InvalidBits: there is no such width.
    """
    if not group:
        return bits
    if (bits, group) not in _CODE:
        raise InvalidBits(f"A width must be {WIDTHS_IN_WORDS}; got {bits} bits in {group}s.")
    return _CODE[bits, group]


def width_order(width: int) -> float:
    """What widths are ordered by, from the narrowest: bits first, then how many scales.

    Example:
        >>> [width_text(w) for w in sorted(map(parse_width, ("5", "4g32", "4", "4g128")),
        ...  key=width_order)]
        ['4', '4g128', '4g32', '5']
    """
    if width in _GROUPED:
        bits, group = _GROUPED[width]
        return bits + 16 / group
    return width


def in_order(widths: Iterable[int]) -> tuple[int, ...]:
    """Each width once, from the narrowest."""
    return tuple(sorted(set(widths), key=width_order))


WEIGHT_WIDTHS = in_order((*BIT_WIDTHS, *GROUPED_WIDTHS))
"""Every width that a weight may have, from the narrowest."""


def is_float_width(width: int) -> bool:
    """True where values stay floats (bf16, fp16 and float), so that no scale belongs to them."""
    return width in _TEXTS


def holds(wider: int, width: int) -> bool:
    """True where every value of a width is also one of another, so that it can run as that.

    Floats hold the whole numbers that their mantissa does: bf16 those of 8 bits, fp16 of 11. A
    scale per group is held by finer groups alone, and of floats by those of 32 bits.

    Example:
        >>> holds(16, 8), holds(FLOAT16, 8), holds(FLOAT16, 16), holds(FLOAT16, BFLOAT16)
        (True, True, False, False)
        >>> holds(parse_width("4g32"), parse_width("4g64")), holds(8, parse_width("4g64"))
        (True, False)
    """
    if wider == FLOAT_BITS:
        return True
    finer, group = group_inputs(wider), group_inputs(width)
    if group:
        return bool(finer) and group % finer == 0 and stored_bits(wider) >= stored_bits(width)
    if wider in HALF_WIDTHS:
        return width == wider or width <= (8 if wider == BFLOAT16 else 11)
    if is_float_width(width):
        return False
    return width <= stored_bits(wider)


def width_text(width: int) -> str:
    """A width for people and for files: "bf16", "4g64", "float", else the number of bits.

    Example:
        >>> [width_text(width) for width in (8, FLOAT16, FLOAT_BITS)]
        ['8', 'fp16', 'float']
    """
    return _TEXTS.get(width) or _TEXTS_OF_GROUPS.get(width) or str(width)


def width_words(width: int) -> str:
    """The same with its unit: "1 bit", "8 bits", "4 bits in groups of 64", "fp16", "float"."""
    if is_float_width(width):
        return width_text(width)
    if width in _GROUPED:
        return "{} bits in groups of {}".format(*_GROUPED[width])
    return "1 bit" if width == 1 else f"{width} bits"


def width_json(width: int) -> int | str:
    """A width as JSON has it: the number of bits (32 for float), "bf16", "fp16" or "4g64"."""
    return width if width in _NUMBERS else width_text(width)


def is_written_width(written: str) -> bool:
    """True for the text of a width that is no number: "fp16", "4g64", "float"."""
    return written.strip().lower() in _NAMES


def parse_width(written: int | str, inputs: bool = False) -> int:
    """Read a width that a person or a file gives.

    Args:
        written: 1 to 16, or 32 for float; or a text such as "8", "int8", "4g64", "w4g128", "fp16",
            "float16", "half", "bf16", "bfloat16", "float" or "float32", whatever its case.
        inputs: Whether it is a width of activations, which have no groups.

    Returns:
        One of WEIGHT_WIDTHS, of activations one of BIT_WIDTHS.

    Raises:
        InvalidBits: it is none of these.

    Example:
        >>> parse_width("half") == FLOAT16, parse_width("int8"), parse_width(32)
        (True, 8, 32)
    """
    width: int | str | None = written
    if isinstance(written, str):
        text = written.strip().lower()
        in_groups = _IN_GROUPS.fullmatch(text)
        code = _CODE.get((int(in_groups[1]), int(in_groups[2]))) if in_groups else _NAMES.get(text)
        if code in _GROUPED and inputs:
            raise InvalidBits(
                f"Inputs have one scale, and no groups; got {written!r}. Groups are of weights: "
                f"give inputs {_GROUPED[code][0]} bits."
            )
        if code is not None:
            return code
        numbered = _NUMBERED.fullmatch(text)
        width = int(numbered[1]) if numbered else None
    # the codes are bitdial's own: a file that says 17 means 17 bits, which there are not
    if isinstance(width, bool) or not isinstance(width, int) or width not in _NUMBERS:
        shown = written if len(str(written)) <= SHOWN else f"{str(written)[:SHOWN]}…"
        raise InvalidBits(f"A width must be {WIDTHS_IN_WORDS}; got {shown!r}.")
    return width
