"""The quantizers: QUANTIZERS after training, LEARNED_QUANTIZERS while training, by name."""

from qcore.quantizers import dorefa, dq, learned_clip, lsq, power_of_two, sign
from qcore.quantizers.activations import ActivationGrid, Histogram, mse_grid
from qcore.quantizers.straight_through import LearnedQuantizer
from qcore.quantizers.weights import (
    WeightQuantizer,
    absmax_step,
    code_range,
    mse_step,
    quantize_rows,
    weight_codes,
)

QUANTIZERS: dict[str, WeightQuantizer] = {
    quantizer.name: quantizer
    for quantizer in (
        WeightQuantizer("mse", "Per channel, least squared error", mse_step),
        WeightQuantizer("absmax", "Per channel, largest magnitude", absmax_step),
    )
}

LEARNED_QUANTIZERS: dict[str, LearnedQuantizer] = {
    quantizer.name: quantizer
    for quantizer in (
        learned_clip.QUANTIZER,
        lsq.QUANTIZER,
        dorefa.QUANTIZER,
        dq.QUANTIZER,
        power_of_two.QUANTIZER,
        sign.QUANTIZER,
    )
}

__all__ = [
    "ActivationGrid",
    "Histogram",
    "LEARNED_QUANTIZERS",
    "LearnedQuantizer",
    "QUANTIZERS",
    "WeightQuantizer",
    "absmax_step",
    "code_range",
    "mse_grid",
    "mse_step",
    "quantize_rows",
    "weight_codes",
]
