"""GGUF's tensor types: what they take in a file, and which stands for a width. Pure.

Sizes are those of ggml (`GGML_QUANT_SIZES` of the package gguf 0.19): a type stores blocks of so
many weights in so many bytes, scales included. Rows are made of whole blocks.
"""

from dataclasses import dataclass

from qcore.allocation import (
    BFLOAT16,
    FLOAT16,
    FLOAT_BITS,
    holds,
    is_float_width,
)
from qcore.widths import without_groups


@dataclass(frozen=True, slots=True)
class TensorType:
    """One type of ggml.

    Attributes:
        name: As ggml writes it, "q4_K".
        number: In GGUF files.
        block: Weights in a block; the length of a row is a multiple of it.
        size: Bytes of a block, scales included.
        width: The width that its codes have, a member of BIT_WIDTHS; the narrowest that holds them
            where they are no whole number of bits (ternary ones: 2).
        written: Whether llama-quantize makes it of any float tensor, without an importance matrix.
    """

    name: str
    number: int
    block: int
    size: int
    width: int
    written: bool = False

    @property
    def bits_per_weight(self) -> float:
        """Bits that a weight takes in a file, scales included: 4.5 for q4_K."""
        return 8 * self.size / self.block

    def bytes_of(self, weights: int) -> int:
        """Bytes of so many weights, whole blocks of them."""
        return -(-weights // self.block) * self.size


_TABLE = (
    TensorType("f32", 0, 1, 4, FLOAT_BITS, True),
    TensorType("f16", 1, 1, 2, FLOAT16, True),
    TensorType("q4_0", 2, 32, 18, 4, True),
    TensorType("q4_1", 3, 32, 20, 4),
    TensorType("q5_0", 6, 32, 22, 5, True),
    TensorType("q5_1", 7, 32, 24, 5),
    TensorType("q8_0", 8, 32, 34, 8, True),
    TensorType("q8_1", 9, 32, 40, 8),
    TensorType("q2_K", 10, 256, 84, 2, True),
    TensorType("q3_K", 11, 256, 110, 3, True),
    TensorType("q4_K", 12, 256, 144, 4, True),
    TensorType("q5_K", 13, 256, 176, 5, True),
    TensorType("q6_K", 14, 256, 210, 6, True),
    TensorType("q8_K", 15, 256, 292, 8),
    TensorType("iq2_xxs", 16, 256, 66, 2),
    TensorType("iq2_xs", 17, 256, 74, 2),
    TensorType("iq3_xxs", 18, 256, 98, 3),
    TensorType("iq1_s", 19, 256, 50, 2),
    TensorType("iq4_nl", 20, 32, 18, 4),
    TensorType("iq3_s", 21, 256, 110, 3),
    TensorType("iq2_s", 22, 256, 82, 2),
    TensorType("iq4_xs", 23, 256, 136, 4),
    TensorType("iq1_m", 29, 256, 56, 2),
    TensorType("bf16", 30, 1, 2, BFLOAT16, True),
    TensorType("tq1_0", 34, 256, 54, 2),
    TensorType("tq2_0", 35, 256, 66, 2),
    TensorType("mxfp4", 39, 32, 17, 4),
    TensorType("nvfp4", 40, 64, 36, 4),
    TensorType("q1_0", 41, 128, 18, 1),
)

TYPES: dict[str, TensorType] = {each.name: each for each in _TABLE}
"""Name to type, of those that hold weights."""

BY_NUMBER: dict[int, TensorType] = {each.number: each for each in _TABLE}
"""The same by their numbers in files."""

# of two that take as much the one of larger blocks, whose scales are finer
_OFFERED = sorted(
    (each for each in _TABLE if each.written),
    key=lambda each: (each.bits_per_weight, -each.block),
)


def type_for(width: int, row: int) -> TensorType:
    """The smallest type that holds a width.

    Its codes have at least as many bits, rows are whole blocks of it, and llama-quantize makes it
    without more than the float file. Floats of 16 bits and float stay what they are.

    Args:
        width: Of the weights, one of WEIGHT_WIDTHS.
        row: Weights in a row of the tensor: the inputs of a linear layer.

    Returns:
        The type; wider than asked where `type_for(...).width != width`.

    Example:
        >>> [type_for(4, row).name for row in (4096, 384, 100)], type_for(7, 4096).name
        (['q4_K', 'q4_0', 'f16'], 'q8_0')
    """
    # the blocks of every type are as fine as groups are, or finer
    width = without_groups(width)
    if is_float_width(width):
        return next(each for each in _OFFERED if each.width == width)
    return next(
        each
        for each in _OFFERED
        if holds(each.width, width) and row % each.block == 0 and each.width != BFLOAT16
    )
