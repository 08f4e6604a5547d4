"""Energy and latency on two accelerators, from tables that `engine` made. Torch-free."""

from qcore.costs.accelerators.lookup import (
    ACCELERATOR_COSTS,
    price_on,
    refusal_on,
    rounding_on,
    smooth_price_on,
)

__all__ = ["ACCELERATOR_COSTS", "price_on", "refusal_on", "rounding_on", "smooth_price_on"]
