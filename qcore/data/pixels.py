"""Numbers as pixels: which arrays can be images, and how their values become 0..255 or 0..1."""

import torch
from torch import Tensor

from qcore.errors import InvalidData

HAIR = 1e-3
"""How far a float may lie outside 0..1 and still be a rounding error of one that lies inside."""

_HALF_HAIR = 2.0**-7
_DEPTHS = ((1023, 10), (4095, 12), (16383, 14))


def as_pixels(values: Tensor, what: str, notes: list[str]) -> Tensor:
    """Values as images hold them: uint8 in 0..255, or float32 in 0..1.

    Args:
        values: Of any shape and type; uint16 is divided by 65535, truth values become 0 and 1.
        what: What messages call them.
        notes: Gets a sentence where values were changed or look odd.

    Raises:
        InvalidData: another type, NaN or infinity, or values outside 0..1 by more than rounding.
    """
    if values.dtype == torch.uint8:
        return values
    if values.dtype == torch.bool:
        notes.append(f"{what} holds truth values; they became 0 and 1.")
        return values.float()
    if values.dtype == torch.uint16:
        return _from_16_bits(values.to(torch.int32), what, notes)
    if not values.is_floating_point():
        raise InvalidData(
            f"{what} is {values.dtype}; images are uint8 (0..255), uint16 (0..65535) or floats in "
            f"0..1. {_range_of_whole(values)}"
        )
    hair = HAIR if values.dtype.itemsize >= 4 else _HALF_HAIR
    values = values.float()
    if not bool(values.isfinite().all()):
        bad = int((~values.isfinite().flatten(1).all(1)).sum())
        raise InvalidData(f"{bad} images of {what} hold NaN or infinity; remove them.")
    low, high = float(values.min()), float(values.max())
    if low < -hair or high > 1 + hair:
        raise InvalidData(
            f"{what} reaches from {low:.9g} to {high:.9g}, not 0..1; {_hint(low, high)}."
        )
    if low < 0 or high > 1:
        outside = int(((values < 0) | (values > 1)).sum())
        notes.append(
            f"{outside:,} values of {what} lay outside 0..1 by rounding ({low:.9g} to {high:.9g}) "
            "and were cut to it."
        )
        return values.clamp(0, 1)
    return values


def _from_16_bits(values: Tensor, what: str, notes: list[str]) -> Tensor:
    high = int(values.max())
    if high <= 255:
        raise InvalidData(
            f"{what} is uint16, and its largest value is {high}: these look like 0..255. Save them "
            "as uint8."
        )
    notes.append(depth_note(high, what))
    return values.float() / 65535


def depth_note(high: int, what: str) -> str:
    """How 16-bit values were scaled, and whether fewer bits seem to be in use."""
    bits = next((bits for most, bits in _DEPTHS if high <= most), None)
    words = f"{what} holds 16 bits a value; 65535 became 1, the largest found is {high}"
    if bits is None:
        return f"{words}."
    return f"{words}: if yours have {bits} bits, multiply them by {65535 // (2**bits - 1)} first."


def _range_of_whole(values: Tensor) -> str:
    if values.is_complex():
        return "Save its real part, or its magnitude."
    if values.is_quantized:
        return "Save its dequantize()."
    # torch knows no least of unsigned numbers of 32 and 64 bits
    array = values.cpu().numpy()
    low, high = int(array.min()), int(array.max())
    if low >= 0 and high <= 255:
        return f"Its values reach from {low} to {high}: save them as uint8."
    return f"Its values reach from {low} to {high}."


def _hint(low: float, high: float) -> str:
    if low >= -0.25 and high <= 1.25:
        return (
            "so far out an interpolation reaches, or a wrong scale: cut them off before saving, "
            "x.clip(0, 1)"
        )
    if low >= 0 and high <= 255:
        return "these look like 0..255: save them as uint8"
    if low >= 0 and high <= 65535:
        return "these look like 0..65535: save them as uint16"
    return (
        "these look normalised already: save them as they were before, and give the mean and "
        "standard deviation with the network"
    )
