"""Facts about floats of 16 bits and whole numbers of 9 to 16."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.allocation import BFLOAT16, FLOAT16, FLOAT_BITS
from qcore.models.zoo import load_model
from qcore.quantizers import (
    HALF_TYPES,
    QUANTIZERS,
    HalfGrid,
    Histogram,
    cast,
    code_range,
    mse_grid,
    mse_step,
    quantize_rows,
    weight_codes,
)

HALVES = (BFLOAT16, FLOAT16)


def normal(seed, shape=(4, 300), scale=1.0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("width", HALVES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-8, 1e-6, 1e-3, 1.0, 3000.0]))
def test_within_its_range_a_cast_is_torchs_own(width, seed, scale):
    x = normal(seed, scale=scale)
    wanted = x.to(HALF_TYPES[width]).float()
    assert torch.equal(cast(x, width), wanted)
    assert torch.equal(quantize_rows(x, torch.ones(4), width), wanted)
    assert torch.equal(HalfGrid(width).quantize(x), wanted)
    assert torch.equal(cast(wanted, width), wanted)
    assert cast(x, FLOAT_BITS) is x


@pytest.mark.parametrize("width", HALVES)
def test_beyond_its_range_a_value_is_the_largest_and_not_infinite(width):
    most = torch.finfo(HALF_TYPES[width]).max
    x = torch.tensor([3.3e38, -3.4e38, float("inf"), 1.0], requires_grad=True)
    y = cast(x, width)
    assert y.isfinite().all()
    assert y.detach()[2].item() == most
    y.sum().backward()
    assert x.grad.tolist()[3] == 1


@pytest.mark.parametrize("quantizer", QUANTIZERS.values(), ids=list(QUANTIZERS))
@pytest.mark.parametrize("scale", [1e-4, 1.0, 200.0])
def test_the_error_of_weights_falls_with_every_bit_up_to_sixteen(quantizer, scale):
    w = normal(0, scale=scale)
    errors = []
    for bits in range(2, 17):
        step = quantizer.step(w, bits)
        codes = weight_codes(w, step, bits)
        low, high = code_range(bits)
        assert low <= codes.min()
        assert codes.max() <= high
        assert torch.equal(codes, codes.round())
        errors.append(float((quantize_rows(w, step, bits) - w).double().square().mean()))
    assert all(wide < narrow / 2 for narrow, wide in itertools.pairwise(errors))
    # eleven bits of mantissa beat eight, and eight bits of a scale
    assert errors[14] < float((cast(w, FLOAT16) - w).double().square().mean()) < errors[6]
    assert float((cast(w, FLOAT16) - w).norm()) < float((cast(w, BFLOAT16) - w).norm())


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("tail", [1.0, 30.0])
def test_the_error_of_inputs_falls_with_every_bit_up_to_sixteen(signed, tail):
    x = normal(1, (200_000,))
    x[0] = 5.0 * tail
    x = x if signed else x.relu()
    histogram = Histogram()
    histogram.add(x)
    errors = []
    for bits in range(2, 17):
        grid = mse_grid(histogram, bits)
        assert grid.high - grid.low + 1 == 2**bits
        assert 0 in range(grid.low, grid.high + 1)
        errors.append(float((grid.quantize(x) - x).double().square().mean()))
    assert all(wide < narrow for narrow, wide in itertools.pairwise(errors))
    # every bit more halves the step, and the range may grow a little for it
    assert errors[-1] < errors[6] / 1000


@pytest.mark.parametrize("model", ["resnet8", "mobilenet"])
@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_floats_of_eight_bits_err_far_more_than_integers_on_trained_weights(model, kind):
    """Why they are no format here: what docs/methods.md says of them."""
    lost = {"integers": 0.0, "floats": 0.0}
    for name, weight in load_model(model).state_dict().items():
        if not name.endswith("weight") or weight.dim() < 2:
            continue
        rows = weight.flatten(1)
        step = mse_step(rows, 8)
        lost["integers"] += float((quantize_rows(rows, step, 8) - rows).square().sum())
        # its largest value at the row's largest, as scaled floats are used
        scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / torch.finfo(kind).max
        floats = (rows / scale).to(kind).float() * scale
        lost["floats"] += float((floats - rows).square().sum())
    assert lost["floats"] > 5 * lost["integers"]
