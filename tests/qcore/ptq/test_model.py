"""QuantizedModel switches bits, folds norms, and gives its state back exactly."""

import pytest
import torch
from torch import nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import InvalidAllocation, InvalidConfig, NotCalibrated
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig, parse_bits
from qcore.network.layers import find_layers
from qcore.ptq.calibration import Correction, measure_ranges
from qcore.ptq.model import QuantizedModel, float_gap
from tests.small_nets import small_model, small_net

X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))
MIXED = ((3, 32), (8, 8), (2, 4), (1, 2), (32, 1))


def mixed(model: QuantizedModel) -> BitAllocation:
    pairs = zip(model.layers, MIXED, strict=True)
    return BitAllocation({name: LayerBits(w, a) for name, (w, a) in pairs})


def corrected(model: QuantizedModel) -> QuantizedModel:
    measure_ranges(model, [X])
    correction = Correction(model, [X])
    model.set_allocation(mixed(model))
    correction.apply()
    return model


def test_in_float_the_wrapped_network_is_the_network():
    net, model = small_net(), small_model()
    assert torch.allclose(model(X), net(X), atol=1e-5)


def test_norms_are_folded_and_gone():
    model = small_model()
    assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(model.norms) == {"stem.0", "depthwise"}


@pytest.mark.parametrize(("kind", "shape"), [
    (nn.Conv1d(4, 6, 3, groups=2), (2, 4, 9)),
    (nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
    (nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"), (2, 3, 6, 6)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1), (2, 4, 5, 5)),
    (nn.Linear(7, 3), (2, 7)),
])  # fmt: skip
def test_every_kind_of_layer_is_exact_in_float_and_close_at_eight_bits(kind, shape):
    # without what chance gave it at import: a negative output would be nothing behind a ReLU
    torch.manual_seed(0)
    kind.reset_parameters()
    net = nn.Sequential(kind, nn.ReLU()).eval()
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    model = QuantizedModel(net, find_layers(net, x[:1], "one"))
    assert torch.allclose(model(x), net(x), atol=1e-6)
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 8))
    assert 0 < float((model(x) - net(x)).detach().abs().max()) < 0.05


def test_weights_in_use_never_have_more_levels_than_their_bits_allow():
    model = corrected(small_model())
    for name, bits in model.allocation.items():
        if bits.weight != 32:
            rows = model.layers[name].effective_weight.flatten(1)
            assert all(len(row.unique()) <= 2**bits.weight for row in rows)


def test_inputs_in_use_never_have_more_levels_than_their_bits_allow():
    model = corrected(small_model())
    seen = {}
    for name, layer in model.layers.items():
        layer.register_forward_pre_hook(
            lambda module, args, name=name: seen.update({name: module.codes(args[0])})
        )
    model(X)
    for name, bits in model.allocation.items():
        if bits.activation != 32:
            assert len(seen[name].unique()) <= 2**bits.activation


def test_switching_refers_to_prepared_weights_and_makes_no_copies():
    model = small_model()
    first, second = (BitAllocation.uniform(model.spec.layers, b) for b in (3, 4))
    model.set_allocation(first)
    before = {n: layer.effective_weight.data_ptr() for n, layer in model.layers.items()}
    model.set_allocation(second)
    model.set_allocation(first)
    after = {n: layer.effective_weight.data_ptr() for n, layer in model.layers.items()}
    assert before == after


def test_the_cache_keeps_its_limit_and_results_do_not_depend_on_it():
    tight, wide = small_model(cache_bytes=1500), small_model()
    for bits in (2, 3, 4, 8, 2):
        allocation = BitAllocation.uniform(tight.spec.layers, bits)
        tight.set_allocation(allocation)
        wide.set_allocation(allocation)
        assert torch.equal(tight(X), wide(X))
        largest = max(layer.weight.nbytes for layer in tight.layers.values())
        assert tight._prepared_bytes <= max(1500, largest)


def test_the_state_reproduces_the_logits_exactly():
    model, other = corrected(small_model()), small_model()
    other.load_state(model.allocation, model.state())
    assert torch.equal(other(X), model(X))


def config_of(model: QuantizedModel) -> BitConfig:
    return BitConfig(model.spec, model.allocation, model.state(), model.norms)


def test_a_file_applied_to_the_float_model_gives_the_very_logits():
    from qcore.formats.config import dump_bits

    model = corrected(small_model())
    applied = apply_bits(small_net(), parse_bits(dump_bits(config_of(model))))
    assert torch.equal(applied(X), model(X))


def test_other_weights_are_refused_unless_allowed():
    config = config_of(corrected(small_model()))
    with pytest.raises(InvalidConfig, match="not those that were measured"):
        apply_bits(small_net(seed=9), config)
    assert apply_bits(small_net(seed=9), config, same_weights=False).allocation


def test_another_architecture_is_refused_by_layer_name():
    config = config_of(corrected(small_model()))
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.LazyLinear(4))
    net(torch.zeros(1, 1, 8, 8))
    with pytest.raises(
        InvalidConfig,
        match=r"which this model is not; .*missing in the model: stem\.0.*unexpected.*: 0, 2",
    ):
        apply_bits(net.eval(), config)


def test_a_state_of_the_wrong_size_is_refused_by_name():
    model = corrected(small_model())
    state = model.state()
    state["head"] = {**state["head"], "bias": state["head"]["bias"][:-1]}
    with pytest.raises(InvalidConfig, match="bias of layer 'head'"):
        small_model().load_state(model.allocation, state)


def test_activation_bits_before_calibration_say_so():
    model = small_model()
    with pytest.raises(NotCalibrated, match="calibration"):
        model.set_allocation(BitAllocation.uniform(model.spec.layers, 8, 8))


def test_an_allocation_of_other_layers_changes_nothing():
    model = small_model()
    before = model.allocation
    with pytest.raises(InvalidAllocation, match="missing layers"):
        model.set_allocation(BitAllocation({"stem.0": LayerBits(4)}))
    assert model.allocation == before


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1,), (1, 1)])
def test_a_bias_may_have_any_shape_that_is_added_alike(shape):
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    model[1].bias = nn.Parameter(torch.rand(shape))
    x = torch.rand(3, 6)
    found = find_layers(model, x, "net")
    assert found.spec.layers[0].biases == 4
    quantized = QuantizedModel(model, found)
    assert float_gap(model, quantized, x) < 1e-6
    assert quantized.state()["1"]["bias"].shape == (4,)
