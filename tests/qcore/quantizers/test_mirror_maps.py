"""Mirror maps: the algebra that makes the forms equal, and what float32 does to one of them."""

import pytest
import torch
from torch import Tensor

from qcore.quantizers.mirror_maps import (
    hard_tanh,
    level_shares,
    md_softmax_step,
    md_tanh_step,
    mix,
    nearest_level,
    prox_step,
    sharpness,
    softmax_map,
    tanh_map,
    ternary_codes,
    ternary_prox_step,
)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def pull(w: Tensor) -> Tensor:
    """Gradient of a loss with several minima."""
    return 2 * (w - 0.3) + 3 * torch.sin(5 * w)


def test_mirror_descent_with_tanh_equals_its_stable_form():
    x, beta, rate = normal(500, scale=0.2), 3.0, 0.01
    w = tanh_map(x, beta, 2)
    for _ in range(50):
        x = x - rate * pull(tanh_map(x, beta, 2))
        w = md_tanh_step(w, rate * pull(w), beta)
    assert torch.allclose(w, tanh_map(x, beta, 2), atol=1e-12, rtol=0)


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_mirror_descent_with_softmax_is_exponentiated_gradient(levels):
    x, beta, rate = normal(levels, 200, scale=0.2), 2.0, 0.01
    u, target = softmax_map(x, beta), normal(levels, 200, seed=1)
    for _ in range(50):
        x = x - rate * (softmax_map(x, beta) - target)
        change = rate * (u - target)
        plain = u * torch.exp(-beta * change)
        u = md_softmax_step(u, change, beta)
        assert torch.allclose(u, plain / plain.sum(0), atol=1e-12, rtol=0)
    assert torch.allclose(u, softmax_map(x, beta), atol=1e-12, rtol=0)
    assert torch.allclose(u.sum(0), torch.ones(200, dtype=torch.float64))


def stuck_share(w: Tensor) -> float:
    """Share of weights that the form without auxiliary variables can never move again, 0..1."""
    return float((w.abs() >= 1).double().mean())


def test_in_float32_weights_without_auxiliary_variables_freeze_and_stable_ones_do_not():
    x = normal(100_000, scale=0.1).float()
    betas = (20.0, 100.0, 1000.0)
    shares = {beta: float((tanh_map(x, beta, 2).abs() >= 1).double().mean()) for beta in betas}
    assert shares[20.0] < 0.001
    assert shares[100.0] > 0.3
    assert shares[1000.0] > 0.9
    w = tanh_map(x, 100.0, 2)
    stuck = w.abs() >= 1
    change = 0.05 * w.sign()  # every weight is told to go to the other side
    for _ in range(100):
        w = md_tanh_step(w, change, 100.0)
        x = x - change
    assert torch.equal(w[stuck], tanh_map(normal(100_000, scale=0.1).float(), 100.0, 2)[stuck])
    assert (tanh_map(x, 100.0, 2).sign() != w.sign())[stuck].all()


def test_the_gaussian_shares_of_two_levels_are_a_tanh():
    x, levels = normal(50), torch.tensor([-1.0, 1.0], dtype=torch.float64)
    w = mix(softmax_map(level_shares(x, levels), 2.5), levels)
    assert torch.allclose(w, torch.tanh(2.5 * x))


@pytest.mark.parametrize("levels", [2, 3])
def test_soft_weights_become_the_hard_ones(levels):
    x = normal(2000)
    apart = (x.abs() > 0.01) if levels == 2 else ((x.abs() - 0.5).abs() > 0.01)
    soft = tanh_map(x, 1e4, levels)
    assert torch.equal(soft[apart].round(), hard_tanh(x, levels)[apart])
    assert len(hard_tanh(x, levels).unique()) == levels


@pytest.mark.parametrize("codes", [(-1, 1), (-1, 0, 1), (-2, -1, 0, 1), (-4, -2, -1, 0, 3)])
def test_softmax_takes_any_levels(codes):
    levels = torch.tensor(codes, dtype=torch.float64)
    x = normal(3000, scale=2.0)
    shares = softmax_map(level_shares(x, levels), 1e5)
    middles = (levels[1:] + levels[:-1]) / 2
    apart = (x[:, None] - middles).abs().amin(1) > 1e-2
    assert torch.allclose(mix(shares, levels)[apart], nearest_level(x, levels)[apart])


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_every_map_is_strictly_monotone_onto_the_inside_and_inverts_the_gradient_of_phi(beta):
    x = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    for levels in (2, 3):
        w = tanh_map(x, beta, levels)
        assert (w.diff() > 0).all()
        assert (w.abs() < 1).all()
        ends = tanh_map(torch.tensor([-1e3, 1e3], dtype=torch.float64), beta, levels)
        assert ends.tolist() == pytest.approx([-1, 1])
    # two levels: Phi(w) = ((1 + w) log(1 + w) + (1 - w) log(1 - w)) / (2 b)
    w = tanh_map(x, beta, 2).requires_grad_()
    phi = ((1 + w) * torch.log(1 + w) + (1 - w) * torch.log(1 - w)) / (2 * beta)
    (slope,) = torch.autograd.grad(phi.sum(), w)
    assert torch.allclose(slope, x, atol=1e-9)
    # softmax: Phi(u) = sum u log u / b, whose gradient is x but for what is the same for all levels
    for levels in (2, 3, 5):
        x = normal(levels, 400, seed=levels)
        u = softmax_map(x, beta).requires_grad_()
        (slope,) = torch.autograd.grad((u * u.log()).sum() / beta, u)
        assert torch.allclose(slope - slope.mean(0), x - x.mean(0), atol=1e-9)
        # monotone: (P(x) - P(y)) (x - y) > 0 for any two that do not differ by a constant alone
        y = normal(levels, 400, seed=levels + 10)
        moved = ((softmax_map(x, beta) - softmax_map(y, beta)) * (x - y)).sum(0)
        assert (moved > 0).all()


def test_at_infinite_sharpness_mirror_descent_is_the_straight_through_estimator():
    x = normal(500, scale=0.5)
    straight, rate = x.clone(), 0.01
    for _ in range(30):
        # sharp enough that every weight is at a level
        x = x - rate * pull(tanh_map(x, 1e12, 2))
        straight = straight - rate * pull(hard_tanh(straight, 2))
    assert torch.equal(x, straight)


def test_the_ternary_proximal_step_goes_to_the_means_of_the_classes():
    x = torch.tensor([1.0, 0.6, 0.1, -0.2, -0.9, -0.5], dtype=torch.float64)  # 0.7 mean: 0.385
    assert ternary_codes(x).tolist() == [1, 1, 0, 0, -1, -1]
    target = torch.tensor([0.8, 0.8, 0, 0, -0.7, -0.7], dtype=torch.float64)
    assert torch.allclose(ternary_prox_step(x, 0.25), (x + 0.25 * target) / 1.25)
    assert torch.allclose(ternary_prox_step(x, 1e9), target)
    zeros = torch.zeros(4)
    assert torch.equal(ternary_prox_step(zeros, 1.0), zeros)


def test_a_proximal_step_moves_towards_the_nearest_level_and_no_further():
    levels = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    x = torch.tensor([0.05, 0.3, 0.8, -1.5], dtype=torch.float64)
    moved = prox_step(x, levels, 0.1)
    assert torch.allclose(moved, torch.tensor([0.0, 0.2, 0.9, -1.4], dtype=torch.float64))


def test_sharpness_rises_in_equal_factors_to_its_largest():
    values = [sharpness(step, 1000, 2e4, 2) for step in range(1000)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(2e4 ** (1 / 500))
    assert values[2] / values[1] == pytest.approx(values[0])
    assert values[-1] == pytest.approx(2e4)


def test_a_saturated_weight_stays_at_its_end_without_nan():
    ends = torch.tensor([-1.0, 1.0])
    for change in (-1e6, 0.0, 1e6):
        assert torch.equal(md_tanh_step(ends, torch.full((2,), change), 1e4).abs(), torch.ones(2))
