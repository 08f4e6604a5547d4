"""Weights in memory words: as many whole values as fit into a word, none split. Torch-free.

Klhufek et al., Exploring Quantization and Mapping Synergy in Hardware-Aware Deep Neural Network
Accelerators, 2024, section 3: v = floor(word / bits) values a word. Most processors load words, so
some bit-widths cost alike: in 16-bit words 6, 7 and 8 bits all go two to a word.
"""

from qcore.allocation import LayerBits, LayerSpec

WORDS = (16, 32, 64)
"""Widths of a word that have a cost model, bits."""


def values_per_word(bits: int, word: int) -> int:
    """Whole values of this width that fit into one word; 0 where a value needs several words.

    Example:
        >>> [values_per_word(bits, 16) for bits in (2, 3, 4, 5, 6, 7, 8)]
        [8, 5, 4, 3, 2, 2, 2]
    """
    return word // bits


def packed_bytes(values: int, bits: int, word: int) -> int:
    """Bytes of so many values in whole words; a value wider than a word takes several."""
    fitting = values_per_word(bits, word)
    words = -(-values // fitting) if fitting else values * -(-bits // word)
    return words * word // 8


def wasted_bits(bits: int, word: int) -> int:
    """Bits of a full word that hold nothing.

    Example:
        >>> [wasted_bits(bits, 16) for bits in (2, 3, 4, 5, 6, 7, 8)]
        [0, 1, 0, 1, 4, 2, 0]
    """
    return word % bits if bits <= word else -bits % word


def plateaus(word: int) -> tuple[tuple[int, ...], ...]:
    """Bit-widths 1..8 grouped by what they cost.

    Example:
        >>> plateaus(16)
        ((1,), (2,), (3,), (4,), (5,), (6, 7, 8))
    """
    groups: dict[int, list[int]] = {}
    for bits in range(1, 9):
        groups.setdefault(values_per_word(bits, word), []).append(bits)
    return tuple(tuple(group) for group in groups.values())


def price_in_words(word: int, layer: LayerSpec, bits: LayerBits) -> int:
    """Bytes of a layer's weights in words of this width."""
    return packed_bytes(layer.weights, bits.weight, word)
