"""Networks that hide their layers: found, wrapped, quantized and reloaded under stable names."""

import copy

import pytest
import torch
from torch import Tensor, nn

from qcore.allocation import BitAllocation
from qcore.costs.budget import make_options
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig, dump_bits, parse_bits
from qcore.network.layers import weights_digest
from qcore.network.rewriting import expose_layers
from qcore.ptq.calibration import measure_ranges
from qcore.ptq.model import QuantizedModel
from qcore.qat.model import TrainableModel
from tests.attention_nets import NETWORKS, SWIN, found_in, vit

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=NETWORKS)
def wrapped(request):
    net = NETWORKS[request.param]()
    return net, QuantizedModel(net, found_in(request.param))


def test_all_weights_of_attention_are_layers_and_nothing_changes_in_float(wrapped):
    net, model = wrapped
    left = model.spec.left_in_float
    # only norms, tokens, positions and scales are left
    assert not [name for name in left if "proj" in name or "qkv" in name or "mlp" in name]
    counted = sum(layer.weights for layer in model.spec.layers) + sum(left.values())
    total = sum(p.numel() for p in net.parameters())
    assert total - counted == sum(layer.biases for layer in model.spec.layers)
    with torch.no_grad():
        torch.testing.assert_close(model(X), net(X), rtol=1e-4, atol=1e-5)


def test_attention_is_trained_as_the_layers_it_was_found_as():
    net = vit()
    found = found_in("vit")
    options = make_options(found.spec.layers, (4,), (32,), None)
    model = TrainableModel(net, found, options)
    with torch.no_grad():
        torch.testing.assert_close(model(X), net(X), rtol=1e-4, atol=1e-5)
    model.start_scales([X])
    model.set_allocation(BitAllocation.uniform(found.spec.layers, 4))
    model(X).square().sum().backward()
    layer = model.layers["encoder.layers.encoder_layer_0.self_attention.k_proj"]
    assert layer.weight.grad is not None
    assert layer.weight.grad.any()


def test_names_of_attention_are_stable():
    prefix = "encoder.layers.encoder_layer_0."
    parts = [f"self_attention.{p}_proj" for p in ("q", "k", "v", "out")] + ["mlp.0", "mlp.3"]
    names = found_in("vit").spec.names
    assert names[:7] == ("conv_proj", *(prefix + part for part in parts))
    assert found_in("swin").spec.names[:4] == (
        "features.0.0", "features.1.0.attn.qkv", "features.1.0.attn.proj", "features.1.0.mlp.0",
    )  # fmt: skip


def test_a_file_applied_to_the_untouched_model_gives_the_very_logits(wrapped):
    net, model = wrapped
    measure_ranges(model, [X])
    widths = BitAllocation.uniform(model.spec.layers, 5, 6)
    model.set_allocation(widths)
    config = BitConfig(model.spec, widths, model.state(), model.norms)
    before = copy.deepcopy(net.state_dict())
    applied = apply_bits(net, parse_bits(dump_bits(config)))
    assert torch.equal(applied(X), model(X))
    assert not torch.allclose(applied(X), net(X), rtol=1e-3)
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert not any(type(m).__module__.startswith("qcore") for m in net.modules())


def test_the_products_of_attention_are_counted_and_said_to_stay_in_float():
    found = found_in("vit")
    # 16 patches and the class token: queries with keys, and probabilities with values
    attentions = [f"encoder.layers.encoder_layer_{i}.self_attention" for i in (0, 1)]
    assert found.products == dict.fromkeys(attentions, 2 * 17 * 17 * 16)
    (sentence,) = found.spec.warnings
    assert "18,496 multiply-accumulates" in sentence
    assert "stay in float" in sentence


def test_rewriting_shares_parameters_and_is_done_once():
    net = vit()
    rewritten = expose_layers(net)
    assert expose_layers(rewritten) is rewritten
    weight = net.encoder.layers[0].self_attention.in_proj_weight
    with torch.no_grad():
        weight[16:32] = 7
    assert bool((rewritten.encoder.layers[0].self_attention.k_proj.weight == 7).all())
    assert rewritten.heads.head.weight is net.heads.head.weight
    assert weights_digest(rewritten) == weights_digest(net)


def test_a_network_without_hidden_layers_is_left_alone():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    assert expose_layers(net) is net


def test_a_subclass_with_a_forward_pass_of_its_own_is_left_alone():
    class Own(SWIN.ShiftedWindowAttention):
        def forward(self, x: Tensor) -> Tensor:
            return x

    net = nn.Sequential(Own(8, [2, 2], [0, 0], 2))
    assert expose_layers(net) is net


def test_the_same_attention_used_twice_stays_one():
    attention = nn.MultiheadAttention(8, 2)
    other = nn.MultiheadAttention(8, 2)
    other.in_proj_weight = attention.in_proj_weight
    rewritten = expose_layers(nn.ModuleList([attention, attention, other]))
    assert rewritten[0] is rewritten[1]
    assert rewritten[2].k_proj.weight is rewritten[0].k_proj.weight
