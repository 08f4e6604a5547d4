"""How many of a layer's weights are rounded to zero: what a width prunes on its way."""

from collections.abc import Iterable

from qcore.allocation import is_float_width
from qcore.ptq.model import QuantizedModel


def zero_shares(model: QuantizedModel, weight_bits: Iterable[int]) -> dict[str, dict[int, float]]:
    """Layer name to {bits: share of its weights whose code is zero, 0..1}; floats have no codes.

    Args:
        model: Its codes are those of its quantizer and its rounding.
        weight_bits: The widths.
    """
    widths = [bits for bits in dict.fromkeys(weight_bits) if not is_float_width(bits)]
    return {
        name: {
            bits: float((model.prepared_weight(name, bits) == 0).double().mean()) for bits in widths
        }
        for name in model.layers
    }
