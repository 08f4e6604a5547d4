"""The quantizers. QUANTIZERS lists the interchangeable weight quantizers by name."""

from qcore.quantizers.activations import ActivationGrid, Histogram, mse_grid
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

__all__ = [
    "ActivationGrid",
    "Histogram",
    "QUANTIZERS",
    "WeightQuantizer",
    "absmax_step",
    "code_range",
    "mse_grid",
    "mse_step",
    "quantize_rows",
    "weight_codes",
]
