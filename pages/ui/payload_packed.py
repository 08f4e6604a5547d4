"""Arrays as the budget explorer reads them. Pure."""

import base64
from typing import Any

import numpy as np


def packed(values: Any, kind: str) -> dict[str, str]:
    """An array of numbers as {kind: base64}; `kind` is "f8", "u4", "i4" or "u1", little-endian."""
    array = np.ascontiguousarray(values, f"<{kind}")
    return {kind: base64.b64encode(array.tobytes()).decode()}
