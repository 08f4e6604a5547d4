"""Codes made block by block are those of passes of the whole network, to the bit."""

import pytest
import torch
from torch import nn

from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel
from qcore.rounding import by_block
from qcore.rounding import table as table_module
from qcore.rounding.table import RoundedWeights
from qcore.trees import call
from tests.hugging_folders import made
from tests.qcore.network.test_blocks import Chain, linear, plain, texts


class Shared(Chain):
    """Two of its blocks have one layer."""

    def __init__(self, block):
        super().__init__(block)
        self.body[2][0] = self.body[0][0]


def pair():
    return nn.Sequential(linear(), linear())


NETWORKS = {
    **{
        kind: (lambda kind=kind: made(kind), texts)
        for kind in ("GPT2LMHeadModel", "LlamaForCausalLM")
    },
    "shared": (lambda: Shared(pair), plain),
    "no blocks": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), plain),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_codes_are_those_of_whole_passes(kind, monkeypatch):
    make, data = NETWORKS[kind]
    network, batches = make().eval(), [data(5), data(3)]
    model = QuantizedModel(network, find_layers(network, batches[0], "net"))
    whole = RoundedWeights(model, batches, "gptq")
    whole.make([2, 3])
    walked = []
    walk = by_block._by_block
    monkeypatch.setattr(by_block, "_by_block", lambda *args: walked.append(1) or walk(*args))
    monkeypatch.setattr(table_module, "MOMENT_BYTES", 1)
    told = []
    parts = RoundedWeights(model, batches, "gptq")
    parts.make([2, 3], lambda done, total: told.append(done))
    assert told == list(range(1, len(told) + 1))
    assert bool(walked) == (kind not in ("shared", "no blocks"))
    assert whole.entries.keys() == parts.entries.keys()
    for key, (codes, steps) in whole.entries.items():
        assert (parts.entries[key][0] == codes).all()
        assert (parts.entries[key][1] == steps).all()


@torch.no_grad()
def test_a_quantized_model_is_left_at_its_bits(monkeypatch):
    network, batches = made("LlamaForCausalLM"), [texts(3)]
    model = QuantizedModel(network, find_layers(network, batches[0], "net"))
    for name in model.layers:
        codes = torch.zeros_like(model.layers[name].weight)
        model.layers[name].set_bits(codes, None)
    monkeypatch.setattr(table_module, "MOMENT_BYTES", 1)
    table = RoundedWeights(model, batches, "gptq")
    table.make([3])
    assert all(not layer.quantized.any() for layer in model.layers.values())
    assert table.entries
    # and the float network's inputs were looked at all the same
    other = RoundedWeights(
        QuantizedModel(network, find_layers(network, batches[0], "net")), batches, "gptq"
    )
    other.make([3])
    assert all((other.entries[k][0] == v[0]).all() for k, v in table.entries.items())
    assert call(model, batches[0]) is not None
