"""By name: QUANTIZERS after training (PTQ), LEARNED_QUANTIZERS while training (QAT).

They are listed in `qcore.quantizer_names`, which needs no torch.
"""

from importlib import import_module
from typing import Any

from qcore.quantizer_names import LEARNED, POST_TRAINING
from qcore.quantizers.activations import ActivationGrid, Histogram, mse_grid
from qcore.quantizers.half import HALF_TYPES, HalfGrid, cast
from qcore.quantizers.straight_through import LearnedQuantizer
from qcore.quantizers.weights import (
    WeightQuantizer,
    absmax_step,
    code_range,
    codes_of,
    in_groups,
    in_rows,
    kept_step,
    mse_step,
    quantize_rows,
    step_of_each,
    weight_codes,
)


def _made(place: str) -> Any:
    module, _, name = place.rpartition(".")
    return getattr(import_module(f"{__name__}.{module}"), name)


QUANTIZERS: dict[str, WeightQuantizer] = {
    name: WeightQuantizer(name, each.title, _made(each.place))
    for name, each in POST_TRAINING.items()
}

LEARNED_QUANTIZERS: dict[str, LearnedQuantizer] = {
    name: _made(each.place) for name, each in LEARNED.items()
}

__all__ = [
    "ActivationGrid",
    "HALF_TYPES",
    "HalfGrid",
    "Histogram",
    "LEARNED_QUANTIZERS",
    "LearnedQuantizer",
    "QUANTIZERS",
    "WeightQuantizer",
    "absmax_step",
    "cast",
    "code_range",
    "codes_of",
    "in_groups",
    "in_rows",
    "kept_step",
    "mse_grid",
    "mse_step",
    "quantize_rows",
    "step_of_each",
    "weight_codes",
]
