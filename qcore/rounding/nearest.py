"""Every weight to the nearest code of its step, whatever the layer is given."""

from torch import Tensor

from qcore.quantizers import weight_codes


def nearest_codes(weights: Tensor, steps: Tensor, bits: int) -> Tensor:
    """Nearest codes of weights (..., n) with a step for each row (...)."""
    rows = weights.reshape(-1, weights.shape[-1])
    return weight_codes(rows, steps.reshape(-1), bits).view(weights.shape)


def nearest(weights: Tensor, moments: Tensor, steps: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Codes nearest to the weights, and the steps as they are; `moments` is not looked at."""
    return nearest_codes(weights, steps, bits), steps


def output_error(errors: Tensor, moments: Tensor) -> Tensor:
    """Mean squared error of each channel's output.

    Args:
        errors: Errors of its weights (groups, channels, n).
        moments: Second moments of their inputs (groups, n, n).

    Returns:
        (groups, channels).
    """
    return ((errors @ moments) * errors).sum(-1)
