"""The quantizers that learn their bits: closed-form gradients, inferred bits, honest codes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qcore.errors import InvalidParams
from qcore.quantizers import LEARNED_QUANTIZERS
from qcore.quantizers.dq import PARAMETRIZATIONS, Grid, codes_of, uniform
from qcore.quantizers.power_of_two import POWER_OF_TWO
from tests.variants import examples

U1, U2, U3 = (PARAMETRIZATIONS[name] for name in ("bits-step", "bits-range", "step-range"))
ALL = (U1, U2, U3, POWER_OF_TWO)
every = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
SIGNS = pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])


def normal(n: int = 400, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, generator=generator, dtype=torch.float64)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def gradients(kind, first: float, second: float, x: Tensor, g: Tensor, signed: bool = True):
    a, b, x = number(first), number(second), x.clone().requires_grad_(True)
    kind.quantize(x, kind.grid(a, b, signed, False), signed).backward(g)
    return a.grad, b.grad, x.grad


def level(x: Tensor, step: float, n: int, signed: bool) -> tuple[Tensor, Tensor, Tensor]:
    q = (x / step).round().clamp(-n if signed else 0, n) * step
    top = torch.where(x > n * step, 1.0, torch.where((x < -n * step) & signed, -1.0, 0.0)).double()
    clipped = (x > n * step) | (x < (-n * step if signed else 0))
    return q, top, ~clipped


@SIGNS
@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_gradients_of_all_three_equal_their_closed_forms(bits, signed):
    x, g, n = normal(), normal(seed=1), codes_of(bits, signed)
    step = 2.0 / n
    q, top, inside = level(x, step, n, signed)
    power = 2 ** (bits - 1 if signed else bits) * math.log(2)
    by_step = torch.where(inside, (q - x) / step, 0.0)
    cases = {
        U3.name: (step, 2.0, by_step, top),
        U1.name: (float(bits), step, power * step * top, by_step + n * top),
        U2.name: (
            float(bits),
            2.0,
            torch.where(inside, -power / n * (q - x), 0.0),
            torch.where(inside, (q - x) / 2.0, top),
        ),
    }
    for kind in (U1, U2, U3):
        first, second, by_first, by_second = cases[kind.name]
        a, b, along = gradients(kind, first, second, x, g, signed)
        assert a == pytest.approx(float((g * by_first).sum()), rel=1e-10, abs=1e-10)
        assert b == pytest.approx(float((g * by_second).sum()), rel=1e-10, abs=1e-10)
        assert torch.equal(along, g * inside)


def test_gradients_of_the_powers_of_two_equal_their_closed_forms():
    x, g = normal(scale=0.6), normal(seed=1)
    low, high, along = gradients(POWER_OF_TWO, 0.25, 1.0, x, g)
    below, above = x.abs() <= 0.25, x.abs() > 1.0
    assert float(low) == pytest.approx(float((g * x.sign() * below).sum()), rel=1e-10)
    assert float(high) == pytest.approx(float((g * x.sign() * above).sum()), rel=1e-10)
    slope = torch.exp2(x.abs().log2().round()) / x.abs()
    wanted = torch.where(below | above, 0.0, g * slope)
    assert torch.allclose(along, wanted, rtol=1e-10)


def test_step_and_range_have_a_bounded_decoupled_gradient_and_bits_and_step_has_not():
    norms = {}
    for bits in range(2, 9):
        n, largest = codes_of(bits, True), {U1.name: 0.0, U3.name: 0.0}
        step = 1.0 / n
        for x in normal(60).tolist():
            one = torch.tensor([x], dtype=torch.float64)
            for kind, first, second in ((U1, float(bits), step), (U3, step, 1.0)):
                a, b, _ = gradients(kind, first, second, one, torch.ones_like(one))
                largest[kind.name] = max(largest[kind.name], float(a.hypot(b)))
                if kind is U3:
                    assert a == 0 or b == 0
                    assert abs(a) <= 0.5
        norms[bits] = largest
        assert largest[U3.name] <= 1
    growth = [norms[b + 1][U1.name] / norms[b][U1.name] for b in range(2, 8)]
    assert min(growth) >= 1.8


@every
@settings(max_examples=examples(60), deadline=None)
@given(
    first=st.floats(0.01, 8),
    second=st.floats(0.01, 8),
    powers=st.booleans(),
    signed=st.booleans(),
    low=st.integers(2, 4),
)
def test_inferred_bits_cover_the_codes_used(kind, first, second, powers, signed, low):
    if kind is POWER_OF_TWO:
        signed = True
    a, b = kind.project(number(first), number(second), signed, powers, low, 8)
    grid = kind.grid(a.detach(), b.detach(), signed, powers)
    x = torch.cat([torch.linspace(-r, r, 4001, dtype=torch.float64) for r in (3, 40, 3000)])
    quantized = kind.quantize(x, grid, signed)
    bits = int(grid.bits.item())
    assert low <= bits <= 8
    assert len(quantized.unique()) <= 2**bits
    assert float(quantized.max()) == pytest.approx(grid.reach.item())
    if kind is not POWER_OF_TWO:
        codes = quantized / grid.step
        assert torch.allclose(codes, codes.round(), atol=1e-6)
        assert codes.abs().max().round() <= codes_of(bits, signed)
    else:
        assert torch.equal(quantized.abs().log2(), quantized.abs().log2().round())


@SIGNS
def test_the_bits_of_step_and_range_are_the_formulas(signed):
    for n in range(1, 128):
        grid = U3.grid(number(0.25), number(0.25 * n), signed, False)
        assert int(grid.bits.item()) == math.ceil(math.log2(n + 1)) + signed


def test_bits_follow_step_and_range_as_the_paper_says():
    step, reach = number(0.25), number(1.25)
    U3.grid(step, reach, True, False).bits.backward()
    assert reach.grad == pytest.approx(1 / (1.5 * math.log(2)))
    assert step.grad == pytest.approx(-1.25 / (0.25 * 1.5 * math.log(2)))


def test_a_range_between_two_steps_is_rounded_before_use_and_stays_decoupled():
    step, reach = number(0.25), number(1.6)
    x = torch.tensor([5.0], dtype=torch.float64)
    out = U3.quantize(x, U3.grid(step, reach, True, False), True)
    out.backward()
    assert out == 1.5
    assert (float(step.grad), float(reach.grad)) == (0.0, 1.0)


def test_steps_of_powers_of_two_are_so_and_keep_their_gradient():
    step, reach = number(0.3), number(1.3)
    grid = U3.grid(step, reach, True, True)
    assert grid.step.item() == 0.25
    grid.step.backward()
    assert step.grad == 1


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_all_parametrizations_begin_at_the_same_grid(kind, bits):
    first, second = kind.start(0.125, bits, True)
    grid = kind.grid(number(first), number(second), True, False)
    assert int(grid.bits.item()) == bits
    if kind is not POWER_OF_TWO:
        assert grid.step.item() == pytest.approx(0.125)
        assert grid.reach.item() == pytest.approx(0.125 * codes_of(bits, True))


@pytest.mark.parametrize("name", ["dq", "power-of-two"])
def test_frozen_quantizers_learn_no_scale_and_fit_sixteen_bits(name):
    quantizer = LEARNED_QUANTIZERS[name]
    scale = torch.tensor(0.25, requires_grad=True)
    weight = torch.linspace(-900_000, 900_000, 401).requires_grad_(True)
    quantized = quantizer.weight(weight, scale, 8)
    quantized.sum().backward()
    assert scale.grad is None
    assert not quantizer.learns
    assert (quantized / 0.25).abs().max() <= 32767


def test_frozen_weights_are_those_that_were_learned():
    x = normal().float()
    grid = Grid(torch.tensor(0.125), torch.tensor(0.875), torch.tensor(4.0))
    frozen = LEARNED_QUANTIZERS["dq"].weight(x, grid.step, 4)
    assert torch.equal(frozen, uniform(x, grid))
    powers = POWER_OF_TWO.grid(torch.tensor(0.03125), torch.tensor(4.0), True, False)
    frozen = LEARNED_QUANTIZERS["power-of-two"].weight(x, powers.step, int(powers.bits))
    assert torch.equal(frozen, POWER_OF_TWO.quantize(x, powers, True))


def test_powers_of_two_are_for_weights():
    with pytest.raises(InvalidParams, match="for weights"):
        POWER_OF_TWO.grid(number(0.1), number(1.0), False, False)
