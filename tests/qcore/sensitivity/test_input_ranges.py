"""What is kept of a layer's inputs: every value counted once, shares outside by brute force."""

import json

import pytest
import torch

from qcore.problem import InputRange
from qcore.quantizers import Histogram
from qcore.sensitivity.input_ranges import BINS, WIDTHS, input_ranges


class Fed:
    """Stands for a calibrated model: histograms, and their grids."""

    def __init__(self, **inputs):
        from qcore.quantizers import mse_grid

        self.values = inputs
        self.histograms = {name: Histogram() for name in inputs}
        for name, x in inputs.items():
            if len(x):
                self.histograms[name].add(x)
        self.activation_grid = lambda name, bits: mse_grid(self.histograms[name], bits)


@pytest.fixture(scope="module")
def fed():
    torch.manual_seed(0)
    relu = torch.randn(20_000).clamp_min(0)
    return Fed(signed=torch.randn(20_000) - 0.3, relu=relu, unseen=torch.empty(0))


def test_every_value_is_counted_once_and_what_saw_nothing_is_left_out(fed):
    found = input_ranges(fed, (5, 32))
    assert set(found) == {"signed", "relu"}
    for name, seen in found.items():
        x = fed.values[name]
        assert len(seen.counts) == BINS
        assert sum(seen.counts) == len(x)
        assert (seen.smallest, seen.largest) == (float(x.min()), float(x.max()))
        assert set(seen.grids) == {*WIDTHS, 5}


def test_shares_outside_are_those_of_the_values_and_fall_with_more_bits(fed):
    for name, seen in input_ranges(fed).items():
        x = fed.values[name].double()
        for low, high, step, outside in seen.grids.values():
            wanted = ((x < low - step / 2) | (x > high + step / 2)).double().mean()
            # the histogram knows values to a bin of 1/2048 of their reach
            assert outside == pytest.approx(float(wanted), abs=2e-3)
        shares = [seen.grids[bits][3] for bits in (2, 4, 8)]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > 0
        assert seen.grids[8][2] < seen.grids[2][2]


def test_json_gives_it_back(fed):
    for seen in input_ranges(fed).values():
        assert InputRange.from_json(json.loads(json.dumps(seen.to_json()))) == seen
