"""What post-training quantization takes where nobody says otherwise. Torch-free."""

from dataclasses import dataclass

CORRECTION_IMAGES = 256
"""Calibration images, the first ones, on which norms and biases are corrected."""

OFF, PARALLEL, SEQUENTIAL, NORMED = "off", "parallel", "sequential", "normed"
CORRECTIONS = {
    OFF: "nothing is corrected",
    PARALLEL: "biases by what quantizing changes on average of each layer's inputs in the float "
    "network, b - E[W_hat x - W x]",
    SEQUENTIAL: "layer after layer: mean of every channel, and its spread where a batch norm was "
    "folded in",
    NORMED: "as sequential for layers with a batch norm behind them or before all their inputs, as "
    "parallel for others",
}
"""How layers are corrected after their bits were set."""


def held_out(images: int) -> int:
    """Calibration images, the first ones, that no rounding is fitted on: scores are taken there.

    Example:
        >>> held_out(1024), held_out(40), held_out(2)
        (256, 10, 1)
    """
    return min(CORRECTION_IMAGES, max(1, images // 4))


@dataclass(frozen=True, slots=True)
class TuningParams:
    """Settings of the tuning.

    Attributes:
        steps: Optimiser steps.
        rate: Adam's peak learning rate, falling to zero along a cosine.
        batch_images: Images per step.
        seed: Seed of the image order.
    """

    steps: int = 120
    rate: float = 6e-3
    batch_images: int = 64
    seed: int = 0
