"""GPT-2's Conv1D becomes nn.Linear: the same numbers, and weights that get bits."""

import torch
from torch import nn

from qcore.allocation import BitAllocation
from qcore.network.layers import find_layers
from qcore.network.rewriting import expose_layers
from qcore.ptq.model import QuantizedModel, float_gap
from tests.hugging_folders import library, made


def conv1d(inputs, outputs, seed=0):
    library()
    from transformers.pytorch_utils import Conv1D

    module = Conv1D(outputs, inputs)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        module.bias.copy_(torch.randn(outputs, generator=generator))
    return module


def test_a_conv1d_becomes_the_linear_layer_that_computes_the_same_from_the_same_memory():
    module = nn.Sequential(conv1d(5, 7), nn.ReLU(), conv1d(7, 7, 1))
    rewritten = expose_layers(module)
    assert [type(part) for part in rewritten] == [nn.Linear, nn.ReLU, nn.Linear]
    x = torch.randn(4, 3, 5)
    assert torch.allclose(rewritten(x), module(x), atol=1e-6)
    assert rewritten[0].weight.shape == (7, 5)
    assert (rewritten[0].in_features, rewritten[0].out_features) == (5, 7)
    assert torch.equal(rewritten[2].weight, module[2].weight.t())
    assert rewritten[0].weight.data_ptr() == module[0].weight.data_ptr()
    assert rewritten[0].bias is module[0].bias
    assert expose_layers(rewritten) is rewritten


def test_a_weight_that_two_conv1d_share_stays_shared():
    one, other = conv1d(4, 4), conv1d(4, 4, 1)
    other.weight = one.weight
    rewritten = expose_layers(nn.Sequential(one, other))
    assert rewritten[0].weight is rewritten[1].weight


def test_all_blocks_of_gpt2_get_bits():
    network = made("GPT2LMHeadModel")
    network.config.use_cache = False
    ids = torch.randint(0, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    found = find_layers(network, ids[:1], "gpt2")
    names = [layer.name for layer in found.spec.layers if layer.kind != "embedding"]
    assert len(names) == 4 * 2 + 1
    layer = next(x for x in found.spec.layers if x.name == "transformer.h.0.attn.c_attn")
    assert (layer.in_channels, layer.channels, layer.macs) == (16, 48, 9 * 16 * 48)
    wanted = network(ids).logits.detach()
    model = QuantizedModel(network, found)
    assert float_gap(network, model, ids) < 1e-4
    gaps = []
    for bits in (8, 2):
        model.set_allocation(BitAllocation.uniform(found.spec.layers, bits))
        gaps.append(float((model(ids)["logits"] - wanted).abs().max() / wanted.abs().max()))
    assert gaps[0] < 0.1 < gaps[1]
