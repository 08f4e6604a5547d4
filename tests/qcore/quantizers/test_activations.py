"""Facts about activation grids and the histogram they come from."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.errors import InvalidBits, InvalidData, NotCalibrated
from qcore.quantizers import Histogram, mse_grid

WIDTHS = st.integers(1, 8)


def values(seed: int, signed: bool, scale: float) -> torch.Tensor:
    x = torch.randn(3000, generator=torch.Generator().manual_seed(seed)) * scale
    return x if signed else x.relu()


def histogram_of(*parts: torch.Tensor) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    signed=st.booleans(),
    scale=st.sampled_from([1e-3, 1, 50]),
    bits=WIDTHS,
)
def test_a_tensor_never_has_more_than_two_to_the_bits_levels(seed, signed, scale, bits):
    x = values(seed, signed, scale)
    quantized = mse_grid(histogram_of(x), bits).quantize(x)
    assert len(quantized.unique()) <= 2**bits


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), signed=st.booleans(), bits=st.integers(2, 8))
def test_zero_stays_exactly_zero(seed, signed, bits):
    grid = mse_grid(histogram_of(values(seed, signed, 1.0)), bits)
    assert float(grid.quantize(torch.zeros(1))) == 0.0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), bits=WIDTHS)
def test_the_searched_grid_beats_the_full_range(seed, bits):
    x = values(seed, False, 1.0)
    grid = mse_grid(histogram_of(x), bits)
    step = float(x.max()) / (2**bits - 1)
    full = (x / step).round() * step
    # bins are 1/2048 of the range wide: that much the histogram may mistake
    slack = (float(x.max()) / 2048) ** 2
    assert (grid.quantize(x) - x).square().mean() <= (full - x).square().mean() + slack


def test_one_pass_in_parts_sees_every_value_whatever_the_order():
    small, large = torch.rand(500) * 0.01, torch.rand(700) * 40
    histogram = histogram_of(small, large, -large)
    assert int(histogram.counts.sum()) == 1900
    assert histogram.smallest == float(-large.max())


def test_gradients_pass_inside_the_range_and_stop_outside():
    grid = mse_grid(histogram_of(torch.linspace(0, 3, 4000)), 2)
    x = torch.tensor([1.1, 100.0, -5.0], requires_grad=True)
    grid.quantize(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([1.0, 0.0, 0.0])


def test_two_signed_levels_split_a_two_point_tensor_exactly():
    x = torch.tensor([-2.0] * 50 + [6.0] * 50)
    quantized = mse_grid(histogram_of(x), 1).quantize(x)
    assert quantized.unique().tolist() == pytest.approx([-2.0, 6.0], abs=0.01)


def test_an_empty_histogram_says_calibrate_first():
    with pytest.raises(NotCalibrated, match="calibrate first"):
        mse_grid(Histogram(), 4)


def test_nan_is_refused_before_it_spoils_a_range():
    with pytest.raises(InvalidData, match="NaN"):
        Histogram().add(torch.tensor([1.0, float("nan")]))


@pytest.mark.parametrize("bits", [0, 17, 32])
def test_impossible_widths_are_refused(bits):
    with pytest.raises(InvalidBits, match="1 to 16"):
        mse_grid(histogram_of(torch.rand(5)), bits)
