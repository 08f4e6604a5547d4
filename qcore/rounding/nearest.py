"""Every weight to the nearest code of its step, whatever the layer is given."""

from torch import Tensor

from qcore.quantizers import codes_of
from qcore.widths import group_inputs


def step_of_weights(steps: Tensor, bits: int, n: int) -> Tensor:
    """The step of every weight.

    Args:
        steps: Of each channel (groups, channels), or of each of its scales (groups, channels,
            scales) at a width with scales of groups.
        bits: The width.
        n: Weights of a channel.

    Returns:
        (groups, channels, n).
    """
    group = group_inputs(bits)
    if not group:
        return steps[..., None].expand(*steps.shape, n)
    return steps.repeat_interleave(group, -1)[..., :n]


def nearest_codes(weights: Tensor, each: Tensor, bits: int) -> Tensor:
    """Nearest codes of weights with the steps `each`, of any shape that broadcasts."""
    return codes_of(weights / each, bits)


def nearest(weights: Tensor, moments: Tensor, steps: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Codes nearest to the weights, and the steps as they are; `moments` is not looked at."""
    return nearest_codes(weights, step_of_weights(steps, bits, weights.shape[-1]), bits), steps


def output_error(errors: Tensor, moments: Tensor) -> Tensor:
    """Mean squared error of each channel's output.

    Args:
        errors: Errors of its weights (groups, channels, n).
        moments: Second moments of their inputs (groups, n, n).

    Returns:
        (groups, channels).
    """
    return ((errors @ moments) * errors).sum(-1)
