"""One-bit weights are their sign times their mean magnitude, and far outliers do not move."""

import torch

from qcore.quantizers import LEARNED_QUANTIZERS

SIGN, CLIP = LEARNED_QUANTIZERS["sign"], LEARNED_QUANTIZERS["clip"]
WEIGHT = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))


def test_one_bit_is_the_sign_times_the_mean_magnitude_whatever_the_scale():
    for scale in (0.1, 5.0):
        quantized = SIGN.weight(WEIGHT, torch.tensor(scale), 1)
        assert torch.equal(quantized.sign(), torch.where(WEIGHT >= 0, 1.0, -1.0))
        assert torch.allclose(quantized.abs(), WEIGHT.abs().mean())


def test_the_gradient_passes_but_for_weights_beyond_three_deviations():
    weight = WEIGHT.clone()
    weight[0, 0] = 50.0
    weight.requires_grad_()
    SIGN.weight(weight, torch.tensor(1.0), 1).sum().backward()
    wanted = torch.ones_like(WEIGHT)
    wanted[0, 0] = 0.0
    assert torch.equal(weight.grad, wanted)


def test_more_bits_are_a_learned_clip():
    scale = torch.tensor(2.0)
    assert torch.equal(SIGN.weight(WEIGHT, scale, 3), CLIP.weight(WEIGHT, scale, 3))
    assert torch.equal(SIGN.weight_step(WEIGHT, scale, 3), CLIP.weight_step(WEIGHT, scale, 3))
