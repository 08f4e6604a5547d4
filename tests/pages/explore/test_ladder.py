"""The ladder's costs are those of the cost models, to the byte."""

from pages.explore import start
from qcore.allocation import BitAllocation
from qcore.costs import COSTS
from tests.pages import sample


def test_every_step_has_the_same_weight_bits_everywhere_and_float_activations():
    rows = start.ladder_frame(sample.MODEL)
    assert rows["method"].tolist() == ["2 bits", "3 bits", "4 bits", "8 bits"]
    for bits, allocation in zip((2, 3, 4, 8), rows["allocation"], strict=True):
        assert allocation == BitAllocation.uniform(sample.MODEL.layers, bits, 32)


def test_costs_are_exact():
    shown = start.costs_frame(sample.MODEL).set_index("Every weight")
    weights = sum(layer.weights for layer in sample.MODEL.layers)
    assert shown.loc["8 bits", "Weights (exact)"].startswith(f"{weights:,} B")
    four = COSTS["bit_ops"].total(sample.MODEL, sample.uniform(4))
    assert shown.loc["4 bits", "Compute (exact)"].startswith(f"{four:,} bit-ops")
