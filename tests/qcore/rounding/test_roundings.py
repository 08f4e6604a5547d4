"""Facts about roundings, on arbitrary weights and inputs."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.ptq.rounding_names import NEAREST, ROUNDING_FACTS, key_part, rounding_of
from qcore.quantizers import QUANTIZERS, code_range, mse_step, weight_codes
from qcore.rounding import ROUNDINGS
from qcore.rounding.gptq import damp, descend, feed_forward, gptq, refit
from qcore.rounding.nearest import nearest_codes, output_error

WIDTHS = st.integers(1, 8)


@st.composite
def layers(draw):
    """Weights (groups, channels, n), inputs (groups, samples, n), steps and bits."""
    groups, channels, n = draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 24)))
    samples = draw(st.integers(1, 60))
    bits = draw(WIDTHS)
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    mixing = torch.randn(groups, n, n, generator=random)
    x = torch.randn(groups, samples, n, generator=random) @ mixing
    if draw(st.booleans()):
        x = x.relu()
    x = x * draw(st.sampled_from([1e-4, 1.0, 200.0]))
    dead = draw(st.sets(st.integers(0, n - 1), max_size=2))
    x[..., sorted(dead)] = 0
    scale = draw(st.sampled_from([1e-3, 1.0, 50.0]))
    weights = torch.randn(groups, channels, n, generator=random) * scale
    name = draw(st.sampled_from(sorted(QUANTIZERS)))
    steps = QUANTIZERS[name].step(weights.flatten(0, 1), bits).view(groups, channels)
    return weights, x, steps, bits


def moments(x):
    return x.transpose(1, 2) @ x / x.shape[1]


def errors(weights, codes, steps, second):
    return output_error(weights - codes * steps[..., None], second)


def test_every_name_is_made():
    assert list(ROUNDINGS) == list(ROUNDING_FACTS)
    assert [rounding_of(f"v2/kl{key_part(name)}/pinNone") for name in ROUNDINGS] == list(ROUNDINGS)
    assert key_part(NEAREST) == ""


@pytest.mark.parametrize("name", ROUNDINGS)
@settings(max_examples=30, deadline=None)
@given(layer=layers())
def test_codes_are_whole_and_in_range_and_steps_are_never_zero(name, layer):
    weights, x, steps, bits = layer
    codes, fitted = ROUNDINGS[name](weights, moments(x), steps, bits)
    low, high = code_range(bits)
    assert codes.shape == weights.shape
    assert fitted.shape == steps.shape
    assert torch.equal(codes, codes.round())
    assert codes.min() >= low
    assert codes.max() <= high
    assert bits > 1 or codes.abs().min() == 1
    assert torch.isfinite(fitted).all()
    assert (fitted != 0).all()
    assert ROUNDING_FACTS[name].refits or torch.equal(fitted, steps)


@settings(max_examples=30, deadline=None)
@given(layer=layers())
def test_gptq_is_in_no_channel_worse_than_the_nearest_codes(layer):
    weights, x, steps, bits = layer
    second = moments(x)
    found = errors(weights, *gptq(weights, second, steps, bits), second)
    plain = errors(weights, nearest_codes(weights, steps[..., None], bits), steps, second)
    assert (found <= plain).all()


@pytest.mark.parametrize("name", ROUNDINGS)
@settings(max_examples=30, deadline=None)
@given(layer=layers())
def test_inputs_that_have_nothing_in_common_leave_every_weight_to_its_nearest_code(name, layer):
    weights, x, steps, bits = layer
    second = torch.diag_embed(x.square().mean(1))
    rounding = ROUNDINGS[name]
    more = {"refits": 0} if name == "gptq" else {}
    codes, fitted = rounding(weights, second, steps, bits, **more)
    assert torch.equal(fitted, steps)
    # halves may go either way
    distance = (weights - codes * steps[..., None]).abs()
    least = (weights - nearest_codes(weights, steps[..., None], bits) * steps[..., None]).abs()
    torch.testing.assert_close(distance, least, rtol=1e-4, atol=1e-6 * float(weights.abs().max()))


@settings(max_examples=30, deadline=None)
@given(layer=layers())
def test_no_sweep_and_no_new_step_raises_the_error(layer):
    weights, x, steps, bits = (v.double() if isinstance(v, torch.Tensor) else v for v in layer)
    second = damp(moments(x))
    codes = nearest_codes(weights, steps[..., None], bits)
    seen = [errors(weights, codes, steps, second)]
    for _ in range(3):
        steps = refit(weights, second, steps, bits, codes)
        seen.append(errors(weights, codes, steps, second))
        codes = descend(weights, second, steps[..., None].expand_as(weights), bits, codes)
        seen.append(errors(weights, codes, steps, second))
    for before, after in itertools.pairwise(seen):
        assert (after <= before + 1e-12 * output_error(weights, second)).all()


@settings(max_examples=30, deadline=None)
@given(layer=layers())
def test_what_sweeps_end_in_no_other_code_of_one_weight_betters(layer):
    weights, x, steps, bits = (v.double() if isinstance(v, torch.Tensor) else v for v in layer)
    bits = min(bits, 3)
    second = damp(moments(x))
    codes = feed_forward(weights, second, steps[..., None].expand_as(weights), bits)
    for _ in range(100):
        moved = descend(weights, second, steps[..., None].expand_as(weights), bits, codes)
        if torch.equal(moved, codes):
            break
        codes = moved
    least = errors(weights, codes, steps, second)
    low, high = code_range(bits)
    for t, code in itertools.product(range(weights.shape[-1]), range(low, high + 1)):
        if bits == 1 and code == 0:
            continue
        other = codes.clone()
        other[..., t] = code
        spare = 1e-12 * output_error(weights, second)
        assert (errors(weights, other, steps, second) >= least - spare).all()


def test_few_weights_get_the_best_codes_of_all():
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(1, 50, 5, generator=random)
    x = torch.randn(1, 40, 5, generator=random) @ torch.randn(5, 5, generator=random)
    second, steps = moments(x), mse_step(weights[0], 2)[None]
    every = torch.tensor(list(itertools.product(range(-2, 2), repeat=5))).float()
    tried = (weights[0, :, None] - every * steps[0, :, None, None])[None].flatten(1, 2)
    best = output_error(tried, second).view(50, -1).amin(1)
    plain = errors(weights, nearest_codes(weights, steps[..., None], 2), steps, second)[0]
    found = errors(weights, *gptq(weights, second, steps, 2, sweeps=8, refits=0), second)[0]
    # sweeps end where no single code helps, which is not always the best there is
    assert (found >= best * (1 - 1e-5)).all()
    assert (found - best).mean() < 0.4 * (plain - best).mean()
    assert (found <= best * (1 + 1e-5)).float().mean() > 0.5


def test_gpfq_follows_the_path_of_the_outputs_themselves():
    random = torch.Generator().manual_seed(1)
    weights = torch.randn(2, 3, 17, generator=random, dtype=torch.float64)
    x = torch.randn(2, 50, 17, generator=random, dtype=torch.float64).relu()
    steps = mse_step(weights.flatten(0, 1), 2).view(2, 3)
    codes, _ = ROUNDINGS["gpfq"](weights, moments(x), steps, 2)
    for group, channel in itertools.product(range(2), range(3)):
        u = torch.zeros(50, dtype=torch.float64)
        step = steps[group, channel]
        for t in range(17):
            column, w = x[group, :, t], weights[group, channel, t]
            wanted = column @ (u + w * column) / (column @ column)
            code = weight_codes(wanted.view(1, 1), step.view(1), 2).item()
            assert code == codes[group, channel, t]
            u = u + w * column - code * step * column


def test_gptq_makes_up_for_each_weight_with_all_that_are_left():
    random = torch.Generator().manual_seed(2)
    n = 150  # more than one block
    weights = torch.randn(1, 2, n, generator=random, dtype=torch.float64)
    x = torch.randn(1, 400, n, generator=random, dtype=torch.float64).relu()
    second, steps = damp(moments(x)), mse_step(weights[0], 2)[None]
    codes = feed_forward(weights, second, steps[..., None].expand_as(weights), 2)
    left = weights[0].clone()
    for t in range(n):
        code = weight_codes(left[:, t, None], steps[0], 2)[:, 0]
        assert torch.equal(code, codes[0, :, t])
        inverse = torch.linalg.inv(second[0, t:, t:])
        error = (left[:, t] - code * steps[0]) / inverse[0, 0]
        left[:, t:] -= error[:, None] * inverse[0]


@pytest.mark.parametrize("name", ROUNDINGS)
def test_groups_are_rounded_each_by_its_own_inputs(name):
    random = torch.Generator().manual_seed(3)
    weights = torch.randn(3, 4, 9, generator=random)
    x = torch.randn(3, 80, 9, generator=random) @ torch.randn(3, 9, 9, generator=random)
    steps = mse_step(weights.flatten(0, 1), 2).view(3, 4)
    together = ROUNDINGS[name](weights, moments(x), steps, 2)
    for g in range(3):
        alone = ROUNDINGS[name](weights[g, None], moments(x)[g, None], steps[g, None], 2)
        assert torch.equal(together[0][g], alone[0][0])
        torch.testing.assert_close(together[1][g], alone[1][0])


@pytest.mark.parametrize("name", ROUNDINGS)
def test_a_layer_that_sees_nothing_is_rounded_to_the_nearest_codes(name):
    weights = torch.randn(1, 4, 9, generator=torch.Generator().manual_seed(4))
    steps = mse_step(weights[0], 3)[None]
    codes, fitted = ROUNDINGS[name](weights, torch.zeros(1, 9, 9), steps, 3)
    assert torch.equal(codes, nearest_codes(weights, steps[..., None], 3))
    assert torch.equal(fitted, steps)


def test_three_thousand_inputs_are_rounded():
    random = torch.Generator().manual_seed(5)
    n = 3000
    x = torch.randn(1, 500, n, generator=random).relu()  # fewer samples than inputs
    weights = torch.randn(1, 8, n, generator=random)
    second, steps = moments(x), mse_step(weights[0], 2)[None]
    found = errors(weights, *gptq(weights, second, steps, 2), second)
    plain = errors(weights, nearest_codes(weights, steps[..., None], 2), steps, second)
    assert (found < 0.1 * plain).all()


def test_moments_that_lost_a_direction_to_rounding_errors_are_rounded_all_the_same():
    second = torch.ones(1, 6, 6) - 0.05 * torch.eye(6)  # no second moments of anything
    weights = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(6))
    steps = mse_step(weights[0], 3)[None]
    for odd in (second, torch.full_like(second, float("inf"))):
        codes, fitted = gptq(weights, odd, steps, 3)
        assert torch.isfinite(codes * fitted[..., None]).all()
