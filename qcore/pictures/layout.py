"""How the numbers of a sample are laid out to be drawn: planes or curves, made small enough.

Torch-free. What is made smaller keeps every so many-th place: each number shown is one that was
computed.
"""

import math

import numpy as np

MOST_SIDE, MOST_LENGTH, MOST_PLANES = 128, 1024, 8
"""Places along a side of a plane, along a row or curve, and planes or curves of a sample."""

PICTURE_PLANES = (1, 3, 4)


def planes(values: np.ndarray) -> np.ndarray:
    """Samples (n, ...) as (n, planes, height, width); a row of numbers has the height 1."""
    sizes = [size for size in values.shape[1:] if size > 1]
    if len(sizes) < 2:
        laid = values.reshape(len(values), 1, 1, -1)
    elif len(sizes) == 2:
        laid = values.reshape(len(values), 1, *sizes)
    else:
        laid = values.reshape(len(values), math.prod(sizes[:-2]), *sizes[-2:])
        if len(sizes) == 3 and sizes[2] in PICTURE_PLANES and sizes[0] not in PICTURE_PLANES:
            laid = np.moveaxis(values.reshape(len(values), *sizes), 3, 1)
    return _thinned(laid[:, :MOST_PLANES])


def curves(values: np.ndarray) -> np.ndarray:
    """Samples (n, ...) of at most two dimensions as (n, channels, length)."""
    sizes = [size for size in values.shape[1:] if size > 1] or [1]
    laid = values.reshape(len(values), *((1,) if len(sizes) == 1 else ()), *sizes)
    if laid.shape[1] > laid.shape[2]:
        laid = np.swapaxes(laid, 1, 2)
    return laid[:, :, _every(laid.shape[2], MOST_LENGTH)]


def form_of(shape: tuple[int, ...]) -> str:
    """How a sample of numbers is drawn best: "curves" for a few rows of them, else "planes"."""
    sizes = [size for size in shape if size > 1]
    if len(sizes) < 2 or (len(sizes) == 2 and min(sizes) <= MOST_PLANES):
        return "curves"
    return "planes"


def laid_out(values: np.ndarray, form: str) -> np.ndarray:
    """Samples (n, ...) in one of the two forms."""
    return curves(values) if form == "curves" else planes(values)


def _thinned(laid: np.ndarray) -> np.ndarray:
    height, width = laid.shape[2:]
    rows = _every(height, MOST_SIDE)
    columns = _every(width, MOST_LENGTH if height == 1 else MOST_SIDE)
    return laid[:, :, rows][:, :, :, columns]


def _every(size: int, most: int) -> np.ndarray:
    return np.linspace(0, size - 1, min(size, most)).round().astype(int)
