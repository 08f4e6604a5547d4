"""TrainableModel is the float network in float and the quantized model in bits."""

import pytest
import torch
from torch import nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import InvalidParams, NotCalibrated
from qcore.qat.model import TrainableModel
from tests.small_nets import (
    found,
    small_images,
    small_model,
    small_net,
    small_options,
    small_trainable,
)

X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))
BATCHES = [x for x, _ in small_images(64).batches(32)]
MIXED = ((3, 32), (4, 8), (2, 4), (1, 2), (32, 4))


def mixed(model: TrainableModel) -> BitAllocation:
    pairs = zip(model.layers, MIXED, strict=True)
    return BitAllocation({name: LayerBits(w, a) for name, (w, a) in pairs})


def test_in_float_it_is_the_network():
    model = small_trainable()
    model.set_training(False)
    assert torch.allclose(model(X), small_net()(X), atol=1e-6)


def test_it_keeps_the_norms_and_leaves_the_given_network_alone():
    net = small_net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    model = small_trainable()
    assert [type(m) for m in model.norms.values()] == [nn.BatchNorm2d] * 2
    model(X).sum().backward()
    after = net.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not any(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("quantizer", ["clip", "lsq", "dorefa"])
def test_its_state_gives_a_quantized_model_the_same_logits(quantizer):
    model = small_trainable(quantizer=quantizer)
    model.set_allocation(mixed(model))
    model.estimate_norms(BATCHES)
    quantized = small_model()
    quantized.load_state(model.allocation, model.state())
    assert torch.allclose(quantized(X), model(X), atol=1e-4)
    again = quantized.state()
    for name, arrays in model.state().items():
        assert set(again[name]) == set(arrays)
        for key, array in arrays.items():
            assert (again[name][key] == array).all()


def test_a_trained_state_does_not_change_the_untrained_one():
    model, quantized = small_trainable(), small_model()
    allocation = BitAllocation.uniform(model.spec.layers, 3)
    quantized.set_allocation(allocation)
    before = quantized(X)
    model.set_allocation(allocation)
    quantized.load_state(allocation, model.state())
    assert not torch.equal(quantized(X), before)
    quantized.set_allocation(allocation)
    assert torch.equal(quantized(X), before)


def test_bits_use_no_more_levels_than_they_allow():
    model = small_trainable()
    model.set_allocation(mixed(model))
    for name, bits in model.allocation.items():
        if bits.weight != 32:
            assert len(model.layers[name].quantized().unique()) <= 2**bits.weight


def test_only_the_scales_in_use_get_a_gradient():
    model = small_trainable()
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 3, 4))
    model(X).sum().backward()
    for layer in model.layers.values():
        moved = {key for key, scale in layer.scales.items() if scale.grad is not None}
        assert moved == {"w3", "a4"}


def test_scales_that_were_trained_do_not_begin_again():
    model = small_trainable()
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 3, 4))
    model.after_step()
    for layer in model.layers.values():
        with torch.no_grad():
            for scale in layer.scales.values():
                scale.fill_(123.0)
    model.start_scales(BATCHES)
    for layer in model.layers.values():
        kept = {key for key, scale in layer.scales.items() if scale.item() == 123.0}
        assert kept == {"w3", "a4"}


def test_scales_never_become_negative():
    model = small_trainable()
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 3, 4))
    layer = next(iter(model.layers.values()))
    with torch.no_grad():
        layer.scales["w3"].fill_(-1.0)
    model.after_step()
    assert layer.scales["w3"].item() > 0


def test_one_clip_serves_all_widths_and_begins_at_the_one_named():
    own, one = small_trainable(), small_trainable(one_clip=4)
    for name, layer in one.layers.items():
        assert set(layer.scales) == {"w", "a"}
        assert layer.scales["w"].item() == own.layers[name].scales["w4"].item()
        assert layer.scales["a"].item() == own.layers[name].scales["a4"].item()
    with pytest.raises(InvalidParams, match="LSQ learns steps"):
        small_trainable(quantizer="lsq", one_clip=4)


def test_batch_statistics_leave_no_trace():
    model = small_trainable()
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 2))
    model.estimate_norms(BATCHES)
    before = {k: v.clone() for k, v in model.state_dict().items() if isinstance(v, torch.Tensor)}
    frozen = model(X)
    with model.batch_statistics() as network:
        assert not torch.allclose(network(X), frozen, atol=1e-3)
    assert torch.equal(model(X), frozen)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_norms_are_estimated_as_the_mean_over_batches():
    model = small_trainable()
    seen = []
    norm = model.norms["depthwise"]
    norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    model.estimate_norms(BATCHES)
    assert torch.allclose(norm.running_mean, torch.stack(seen).mean(0), atol=1e-6)
    assert norm.momentum == 0.1


def test_a_state_dict_of_other_bits_loads():
    model = small_trainable(one_clip=4)
    other = TrainableModel(small_net(), found(0), small_options(), one_clip=4)
    other.load(model.state_dict())
    other.set_allocation(mixed(other))
    model.set_allocation(mixed(model))
    assert torch.equal(model(X), other(X))


def test_bits_without_a_scale_are_named():
    model = small_trainable()
    with pytest.raises(NotCalibrated, match=r"weights of layer 'stem\.0' have no scale for 7 bits"):
        model.set_allocation(BitAllocation.uniform(model.spec.layers, 7))
