"""Learned quantizers: levels, straight-through gradients and where scales begin."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qcore.quantizers import LEARNED_QUANTIZERS, ActivationGrid, Histogram, mse_grid
from qcore.quantizers.learned_clip import mse_clip

CLIP, LSQ, DOREFA = (LEARNED_QUANTIZERS[name] for name in ("clip", "lsq", "dorefa"))
every = pytest.mark.parametrize("quantizer", LEARNED_QUANTIZERS.values(), ids=lambda q: q.name)
BITS = st.integers(1, 8)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def unsigned(bits: int) -> ActivationGrid:
    return ActivationGrid(0.1, 0, 2**bits - 1)


@every
@settings(max_examples=30, deadline=None)
@given(bits=BITS, scale=st.floats(0.01, 10), seed=st.integers(0, 99))
def test_weights_have_no_more_levels_than_their_bits_and_are_whole_steps(
    quantizer, bits, scale, seed
):
    weight, scale = normal(6, 40, seed=seed), torch.tensor(scale, dtype=torch.float64)
    quantized = quantizer.weight(weight, scale, bits)
    assert len(quantized.unique()) <= 2**bits
    codes = quantized / quantizer.weight_step(weight, scale, bits)
    assert torch.allclose(codes, codes.round(), atol=1e-9)


@every
@given(bits=BITS, scale=st.floats(0.05, 5))
def test_inputs_have_no_more_levels_than_their_bits_and_contain_zero(quantizer, bits, scale):
    x = normal(4, 50).relu()
    scale = torch.tensor(scale, dtype=torch.float64)
    grid = unsigned(bits)
    quantized = quantizer.inputs(x, scale, grid)
    assert len(quantized.unique()) <= 2**bits
    assert quantized[x == 0].abs().max() == 0
    codes = quantized / quantizer.input_step(scale, grid)
    assert torch.allclose(codes, codes.round(), atol=1e-9)


@pytest.mark.parametrize("quantizer", [CLIP, LSQ], ids=["clip", "lsq"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_zero_is_a_level_of_clip_and_lsq(quantizer, bits):
    weight = torch.tensor([0.0, 1.0, -1.0, 2.0])
    assert quantizer.weight(weight, torch.tensor(0.7), bits)[0] == 0


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_dorefa_levels_are_even_and_leave_zero_out(bits):
    weight = normal(1, 5000)
    levels = DOREFA.weight(weight, torch.tensor(1.0), bits).unique()
    assert len(levels) == 2**bits
    gaps = levels.diff()
    assert torch.allclose(gaps, gaps[:1].expand_as(gaps))
    assert torch.allclose(levels, -levels.flip(0))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_clip_is_symmetric_with_one_level_less(bits):
    weight = normal(1, 5000)
    levels = CLIP.weight(weight, torch.tensor(2.0, dtype=torch.float64), bits).unique()
    assert len(levels) == 2**bits - 1
    assert torch.allclose(levels[-1], 2 * weight.std(correction=0))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_clip_gradients_are_the_papers(bits):
    weight = normal(5, 30).requires_grad_(True)
    clip = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    g = normal(5, 30, seed=1)
    CLIP.weight(weight, clip, bits).backward(g)
    with torch.no_grad():
        deviation = weight.std(correction=0)
        u = weight / (clip * deviation)
        n = max(1, 2 ** (bits - 1) - 1)
        q = torch.where(u >= 0, 1.0, -1.0) if bits == 1 else (u.clamp(-1, 1) * n).round() / n
        wanted = (g * torch.where(u.abs() > 1, u.sign(), q - u)).sum() * deviation
    assert torch.allclose(clip.grad, wanted)
    assert torch.equal(weight.grad, g)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_clip_input_gradients_are_the_papers(bits):
    x = (normal(5, 3, 4, 4) * 2).contiguous(memory_format=torch.channels_last).requires_grad_(True)
    clip = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    g = normal(5, 3, 4, 4, seed=1)
    CLIP.inputs(x, clip, unsigned(bits)).backward(g)
    with torch.no_grad():
        u, n = x / clip, 2**bits - 1
        q = (u.clamp(0, 1) * n).round() / n
        inside = (u >= 0) & (u <= 1)
        wanted = (g * torch.where(u > 1, 1.0, torch.where(u < 0, 0.0, q - u))).sum()
    assert torch.allclose(clip.grad, wanted)
    assert torch.equal(x.grad, g * inside)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_lsq_gradients_are_the_papers(bits):
    weight = (normal(5, 30) * 3).requires_grad_(True)
    step = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    g = normal(5, 30, seed=1)
    LSQ.weight(weight, step, bits).backward(g)
    with torch.no_grad():
        v, low, high = weight / step, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        inside = (v >= low) & (v <= high)
        moved = torch.where(inside, v.round() - v, torch.where(v < 0, low, high).double())
        wanted = (g * moved).sum() / (weight.numel() * high) ** 0.5
    assert torch.allclose(step.grad, wanted)
    assert torch.equal(weight.grad, g * inside)


def test_dorefa_gradients_are_those_without_the_rounding():
    weight = normal(5, 30).requires_grad_(True)
    g = normal(5, 30, seed=1)
    DOREFA.weight(weight, torch.tensor(1.0), 3).backward(g)
    scale = DOREFA.weight_step(weight, torch.tensor(1.0), 3).detach()
    smooth = weight.detach().clone().requires_grad_(True)
    squeezed = torch.tanh(smooth)
    (squeezed / squeezed.abs().max() * 7 * scale).backward(g)
    assert torch.allclose(weight.grad, smooth.grad)


@settings(deadline=None)
@given(bits=st.integers(2, 8), step=st.floats(0.05, 2))
def test_quantizing_twice_changes_nothing(bits, step):
    x = normal(4, 50)
    scale, grid = torch.tensor(step, dtype=torch.float64), unsigned(bits)
    for quantizer in (CLIP, LSQ):
        once = quantizer.inputs(x, scale, grid)
        assert torch.equal(quantizer.inputs(once, scale, grid), once)
    once = LSQ.weight(x, scale, bits)
    assert torch.equal(LSQ.weight(once, scale, bits), once)


@pytest.mark.parametrize(("bits", "clip"), [(2, 1.2240), (3, 3 * 0.6508), (4, 7 * 0.3534)])
def test_the_clip_of_a_normal_weight_begins_at_its_known_optimum(bits, clip):
    # the exact minimum of the mean squared error for a standard normal variable
    assert mse_clip(normal(1, 200_000).float(), bits) == pytest.approx(clip, abs=0.08)


def test_the_best_clip_grows_with_the_bits():
    weight = normal(1, 20_000).float()
    clips = [mse_clip(weight, bits) for bits in (1, 2, 3, 4, 6, 8)]
    assert clips == sorted(clips)


def test_the_clip_follows_the_scale_of_the_weights():
    weight, clip = normal(4, 40), torch.tensor(1.5, dtype=torch.float64)
    assert torch.allclose(CLIP.weight(5 * weight, clip, 3), 5 * CLIP.weight(weight, clip, 3))


@every
def test_inputs_of_both_signs_keep_their_calibrated_codes(quantizer):
    x = normal(8, 100).float()
    histogram = Histogram()
    histogram.add(x)
    for bits in (1, 2, 4):
        grid = mse_grid(histogram, bits)
        start = torch.tensor(quantizer.input_start(histogram, grid))
        quantized = quantizer.inputs(x, start, grid)
        assert len(quantized.unique()) <= 2**bits
        codes = (quantized - grid.offset) / quantizer.input_step(start, grid)
        assert codes.min() >= grid.low - 1e-4
        assert codes.max() <= grid.high + 1e-4


@every
def test_a_constant_weight_is_quantized_without_nan(quantizer):
    for value in (0.0, 0.3):
        weight = torch.full((3, 4), value)
        for bits in (1, 2, 8):
            start = torch.tensor(quantizer.weight_start(weight, bits))
            assert torch.isfinite(quantizer.weight(weight, start, bits)).all()
