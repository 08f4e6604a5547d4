"""Correction restores each channel's mean and spread; ranges refuse NaN."""

import pytest
import torch

from qcore.allocation import BitAllocation
from qcore.errors import InvalidData
from qcore.ptq.calibration import Correction, measure_ranges
from tests.small_nets import small_model

X = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def outputs(model):
    seen = {}
    handles = [
        layer.register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: output.detach().clone()})
        )
        for name, layer in model.layers.items()
    ]
    logits = model(X)
    for handle in handles:
        handle.remove()
    return seen, logits


def test_corrected_channels_have_the_float_mean_and_normed_ones_the_float_spread():
    model = small_model()
    correction = Correction(model, [X])
    wanted, _ = outputs(model)
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 2))
    correction.apply()
    seen, _ = outputs(model)
    for name, layer in model.layers.items():
        others = [d for d in range(seen[name].dim()) if d != 1]
        assert torch.allclose(seen[name].mean(others), wanted[name].mean(others), atol=1e-4)
        if layer.normed:
            assert torch.allclose(seen[name].std(others), wanted[name].std(others), rtol=1e-3)


def test_correction_brings_the_outputs_nearer_to_float():
    model = small_model()
    correction = Correction(model, [X])
    _, wanted = outputs(model)
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 2))
    _, plain = outputs(model)
    correction.apply()
    _, corrected = outputs(model)
    assert (corrected - wanted).square().mean() < (plain - wanted).square().mean()


def test_correction_in_several_batches_is_close_to_one_batch():
    whole, parts = small_model(), small_model()
    one, several = Correction(whole, [X]), Correction(parts, list(X.split(8)))
    for model, correction in ((whole, one), (parts, several)):
        model.set_allocation(BitAllocation.uniform(model.spec.layers, 4))
        correction.apply()
    assert torch.allclose(whole(X), parts(X), atol=0.05 * float(whole(X).abs().max()))


def test_no_images_and_nan_are_refused():
    with pytest.raises(InvalidData, match="at least one sample"):
        measure_ranges(small_model(), [])
    with pytest.raises(InvalidData, match="NaN"):
        measure_ranges(small_model(), [X * float("nan")])
