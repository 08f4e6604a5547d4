"""Facts about weight grids, on arbitrary weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.errors import InvalidBits
from qcore.quantizers import QUANTIZERS, absmax_step, code_range, mse_step, quantize_rows

WIDTHS = st.integers(1, 8)


@st.composite
def rows(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 40)))
    seed = draw(st.integers(0, 2**31))
    scale = draw(st.sampled_from([1e-6, 0.02, 1.0, 300.0]))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("quantizer", QUANTIZERS.values(), ids=list(QUANTIZERS))
@settings(max_examples=40, deadline=None)
@given(w=rows(), bits=WIDTHS)
def test_a_channel_never_has_more_than_two_to_the_bits_levels(quantizer, w, bits):
    quantized = quantize_rows(w, quantizer.step(w, bits), bits)
    assert all(len(channel.unique()) <= 2**bits for channel in quantized)


@settings(max_examples=40, deadline=None)
@given(w=rows(), bits=WIDTHS)
def test_quantizing_twice_changes_nothing(w, bits):
    step = mse_step(w, bits)
    once = quantize_rows(w, step, bits)
    assert torch.equal(quantize_rows(once, step, bits), once)


@settings(max_examples=40, deadline=None)
@given(w=rows(), bits=WIDTHS)
def test_each_weight_moves_to_its_nearest_level(w, bits):
    step = mse_step(w, bits)
    low, high = code_range(bits)
    codes = torch.tensor([low, high]) if bits == 1 else torch.arange(low, high + 1)
    levels = step[:, None, None] * codes
    nearest = (levels - w[:, :, None]).abs().amin(2)
    moved = (quantize_rows(w, step, bits) - w).abs()
    assert torch.allclose(moved, nearest, rtol=1e-4, atol=1e-6 * float(w.abs().max() + 1e-30))


@settings(max_examples=40, deadline=None)
@given(w=rows(), bits=WIDTHS)
def test_the_searched_step_is_never_worse_than_the_largest_magnitude(w, bits):
    def error(step):
        return (quantize_rows(w, step, bits) - w).square().sum(1)

    assert (error(mse_step(w, bits)) <= error(absmax_step(w, bits)) * (1 + 1e-6) + 1e-30).all()


@settings(max_examples=20, deadline=None)
@given(w=rows(), bits=WIDTHS)
def test_channels_do_not_influence_each_other(w, bits):
    together = quantize_rows(w, mse_step(w, bits), bits)
    alone = [quantize_rows(c[None], mse_step(c[None], bits), bits)[0] for c in w]
    assert torch.allclose(together, torch.stack(alone), rtol=1e-5, atol=0)


def test_one_bit_is_the_sign_times_the_mean_magnitude():
    w = torch.tensor([[0.5, -1.5, 1.0, -1.0]])
    assert quantize_rows(w, mse_step(w, 1), 1).tolist() == [[1.0, -1.0, 1.0, -1.0]]


def test_thirty_two_bits_returns_the_weights_themselves():
    w = torch.randn(2, 3)
    assert quantize_rows(w, torch.ones(2), 32) is w


# least squared error of a two's complement grid lies between those of the symmetric grids with
# 2^b - 1 levels (mid-tread) and 2^b levels (mid-rise), whose optima are known in closed form
GAUSSIAN = {1: (0.3634, 0.3634), 2: (0.1188, 0.1902), 3: (0.0374, 0.0469), 4: (0.01154, 0.01289)}


@pytest.mark.parametrize(("bits", "bounds"), GAUSSIAN.items())
def test_error_on_a_gaussian_matches_the_exact_integrals(bits, bounds):
    w = torch.randn(1, 200_000, generator=torch.Generator().manual_seed(0))
    error = float((quantize_rows(w, mse_step(w, bits), bits) - w).square().mean() / w.var())
    assert bounds[0] * 0.98 <= error <= bounds[1] * 1.02


@pytest.mark.parametrize("bits", [0, 17, -1])
def test_impossible_widths_are_refused(bits):
    with pytest.raises(InvalidBits, match="1 to 16"):
        code_range(bits)


@pytest.mark.parametrize("quantizer", [absmax_step, mse_step])
@pytest.mark.parametrize("bits", range(1, 9))
def test_channels_of_zeros_have_steps_that_are_normal_numbers(quantizer, bits):
    w = torch.zeros(3, 9)
    w[1] = 1e-39
    w[2, 0] = 1e-38
    step = quantizer(w, bits)
    tiny = torch.finfo(torch.float32).tiny
    assert (step.abs() >= tiny).all()
    assert (quantize_rows(w, step, bits)[0].abs() <= tiny).all()
