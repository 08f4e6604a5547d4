"""Every sensitivity by name, in a few words, and where it is computed. Torch-free, pure.

A line here and the function it names is all that a new sensitivity needs.
"""

from collections.abc import Callable
from dataclasses import dataclass

Step = Callable[[int, int], None]
"""Told how many of how many steps of a table are done."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A sensitivity: what it is called, and where it is computed.

    Attributes:
        name: Key in SENSITIVITIES.
        words: What the pages call it.
        place: "module.function" in `qcore.sensitivity`: (evaluator, widths of weights, widths of
            activations, told of steps) to a SensitivityTable.
    """

    name: str
    words: str
    place: str


SENSITIVITIES = {
    each.name: each
    for each in (
        Kind("gradient", "gradients of single images (fast)", "gradient.gradient_table"),
        Kind("kl", "measured divergence, one layer at a time", "measured.kl_table"),
        Kind("loss", "measured loss, one layer at a time (needs labels)", "measured.loss_table"),
        Kind(
            "hessian",
            "curvature of the loss (needs labels for its best)",
            "hessian.hessian_table",
        ),
        Kind(
            "weight_mse",
            "error of the weights alone (instant, weakest)",
            "measured.weight_mse_table",
        ),
        Kind(
            "gradient_elementwise",
            "gradients of single values (fast, for comparison)",
            "gradient_elementwise.elementwise_table",
        ),
        Kind(
            "logit_gram",
            "measured changes of the answers, one layer at a time, with pairs",
            "logit_gram.logit_gram_table",
        ),
        Kind(
            "autoround",
            "AutoRound's first-order score (for comparison)",
            "autoround.autoround_table",
        ),
        Kind(
            "higgs",
            "HIGGS: measured cost of noise times the error of the codes (for comparison)",
            "higgs.higgs_table",
        ),
    )
}
