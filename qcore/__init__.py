"""The quantization core of bitdial. Importing it does not import torch.

    >>> from qcore import apply_bits, load_bits, load_model

`load_bits` reads a configuration; `load_model` and `apply_bits` load torch when first called.
"""

from typing import Any

from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.errors import QcoreError
from qcore.formats.config import BitConfig, load_bits

__version__ = "0.1.0"

__all__ = [
    "COSTS",
    "BitAllocation",
    "BitConfig",
    "Budget",
    "LayerBits",
    "LayerSpec",
    "ModelSpec",
    "QcoreError",
    "apply_bits",
    "load_bits",
    "load_model",
]


def __getattr__(name: str) -> Any:
    """Import the torch half only when one of its two verbs is asked for (PEP 562)."""
    if name == "apply_bits":
        from qcore.formats.apply import apply_bits

        return apply_bits
    if name == "load_model":
        from qcore.models.zoo import load_model

        return load_model
    raise AttributeError(f"module 'qcore' has no attribute {name!r}")
