"""Embeddings: rows with bits, nothing multiplied, no input to quantize, ids that have a row."""

import pytest
import torch
from torch import nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS, costs_of
from qcore.costs.budget import ends_of, make_options
from qcore.errors import InvalidAllocation, InvalidData
from qcore.network.layers import find_layers
from qcore.network.rewriting import expose_layers
from qcore.ptq.calibration import measure_ranges
from qcore.ptq.model import QuantizedModel
from qcore.quantizers import QUANTIZERS, quantize_rows
from tests.sequence_nets import SHAPE, Tied, Words, found_in, sequence_net

X = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(0))
IDS = (X * 255).round().long().flatten(1)[:, :12]


def facts(model, name="embed"):
    found = find_layers(model, torch.zeros(1, *SHAPE), "words")
    return found, {layer.name: layer for layer in found.spec.layers}.get(name)


def test_its_rows_are_a_layer_that_multiplies_nothing():
    found, layer = facts(Words())
    assert (layer.kind, layer.weights, layer.channels) == ("embedding", 256 * 6, 256)
    assert (layer.macs, layer.inputs, layer.biases, layer.outputs) == (0, 0, 0, 12 * 6)
    assert layer.consumers == ("rnn.ih_l0",)
    assert found.spec.coverage == 1
    assert found.spec.warnings == ()


def test_its_bytes_count_and_its_operations_and_activations_do_not():
    spec = found_in("words").spec
    eight, two = (BitAllocation.uniform(spec.layers, 8, 8).replace("embed", LayerBits(bits))
                  for bits in (8, 2))  # fmt: skip
    before, after = costs_of(spec, eight), costs_of(spec, two)
    saved = 256 * 6 * 6 // 8
    for name in COSTS:
        if name in ("weight_bytes", "model_bytes"):
            assert before[name] - after[name] == saved
        elif name == "microbits_per_weight":
            share = 8_000_000 * saved / sum(layer.weights for layer in spec.layers)
            assert before[name] - after[name] == pytest.approx(share, abs=len(spec.layers))
        elif not name.startswith("packed") and name in before:
            assert before[name] == after[name]
    embed = spec.layers[0]
    assert COSTS["model_bytes"].layer_cost(embed, LayerBits(4)) == 256 * 6 // 2 + 4 * 256
    assert COSTS["bit_ops"].layer_cost(embed, LayerBits(4)) == 0


def test_each_row_has_a_scale_of_its_own():
    net, found = sequence_net("words"), found_in("words")
    model = QuantizedModel(net, found)
    measure_ranges(model, [X])
    model.set_allocation(BitAllocation.uniform(found.spec.layers, 3, 8))
    rows = net.embed.weight.detach()
    wanted = quantize_rows(rows, QUANTIZERS["mse"].step(rows, 3), 3)
    assert torch.equal(model.layers["embed"](IDS), wanted[IDS])
    assert not wanted[0].any(), "the row of padding stays zero"


def test_wrapping_alone_changes_nothing():
    net = sequence_net("words")
    with torch.no_grad():
        torch.testing.assert_close(QuantizedModel(net, found_in("words"))(X), net(X))


def test_its_input_is_never_a_choice():
    layers = found_in("words").spec.layers
    options = make_options(layers, (2, 4), (4, 8))
    assert options["embed"] == (LayerBits(2), LayerBits(4))
    assert BitAllocation.uniform(layers, 4, 8)["embed"] == LayerBits(4)
    wrong = BitAllocation.uniform(layers, 4, 8).replace("embed", LayerBits(4, 8))
    with pytest.raises(InvalidAllocation, match=r"'embed' is an embedding.*8 activation bits"):
        QuantizedModel(sequence_net("words"), found_in("words")).set_allocation(wrong)
    assert wrong.with_float_ids(layers) == BitAllocation.uniform(layers, 4, 8)


def test_the_first_layer_that_is_pinned_is_one_that_multiplies():
    layers = found_in("words").spec.layers
    assert [layer.name for layer in ends_of(layers)] == ["rnn.ih_l0", "head"]
    pinned = make_options(layers, (2, 4), (4, 8), 8)
    assert {name for name, row in pinned.items() if row == (LayerBits(8, 8),)} == {
        "rnn.ih_l0", "head",
    }  # fmt: skip
    alone = make_options(layers[:1], (2, 4), (4, 8), 8)
    assert alone == {"embed": (LayerBits(8),)}


def test_an_id_without_a_row_is_named():
    with pytest.raises(InvalidData, match=r"'embed' has 100 rows, for the ids 0 to 99.*the id 255"):
        find_layers(Words(100), torch.ones(1, *SHAPE), "words")
    found, _ = facts(Words(100))
    model = QuantizedModel(Words(100), found)
    for value, odd in ((1.0, "255"), (-0.1, "-26")):
        with pytest.raises(InvalidData, match=rf"100 rows.*the id {odd}. Use the vocabulary"):
            model(torch.full((1, *SHAPE), value))


def test_a_class_that_scales_what_it_looks_up_keeps_doing_so():
    class Scaled(nn.Embedding):
        def forward(self, ids):
            return super().forward(ids) * 3

    net = sequence_net("words")
    net.embed.__class__ = Scaled
    found, layer = facts(net)
    assert layer.kind == "embedding"
    with torch.no_grad():
        torch.testing.assert_close(QuantizedModel(net, found)(X), net(X))


def test_rows_that_are_shortened_when_read_stay_in_float_and_the_reason_is_said():
    net = Words()
    net.embed.max_norm = 1.0
    found, layer = facts(net)
    assert layer is None
    assert found.spec.left_in_float == {"embed.weight": 256 * 6}
    assert "Embedding with max_norm" in found.spec.warnings[0]


def test_bags_of_rows_stay_in_float_and_are_listed():
    class Bags(Words):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.EmbeddingBag(256, 5), nn.Identity()

        def forward(self, x):
            return self.head(self.embed((x * 255).long().flatten(1)))

    found, layer = facts(Bags())
    assert layer is None
    assert found.spec.left_in_float == {"embed.weight": 256 * 5}
    assert "embed.weight (1,280 weights) stays in float" in found.spec.warnings[0]


def test_two_embeddings_of_one_weight_are_one_layer():
    class Twice(Words):
        def __init__(self):
            super().__init__()
            self.other = nn.Embedding(256, 6)
            self.other.weight = self.embed.weight

        def forward(self, x):
            ids = (x * 255).long().flatten(1)[:, :12]
            return self.head(self.rnn(self.embed(ids) + self.other(ids))[0].mean(1))

    found, layer = facts(Twice())
    assert found.aliases == {"embed": ("other",)}
    assert layer.weights == 256 * 6


def test_a_head_that_multiplies_with_the_rows_of_an_embedding_is_one_layer_with_it():
    net, found = sequence_net("tied"), found_in("tied")
    layer = found.spec.layers[0]
    assert (layer.name, layer.kind, found.aliases) == (
        "embed",
        "tied_embedding",
        {"embed": ("head",)},
    )
    assert (layer.weights, layer.channels, layer.biases) == (32 * 6, 32, 32)
    assert (layer.macs, layer.inputs, layer.in_channels) == (32 * 6, 6, 6)
    assert found.spec.coverage == 1
    assert not found.spec.left_in_float
    assert found.spec.warnings == ()
    model = QuantizedModel(net, found)
    with torch.no_grad():
        torch.testing.assert_close(model(X), net(X))
    assert [each.name for each in ends_of(found.spec.layers)] == ["rnn.ih_l0", "embed"]


def test_ids_and_products_read_the_same_codes_of_a_tied_weight():
    net, found = sequence_net("tied"), found_in("tied")
    model = QuantizedModel(net, found)
    measure_ranges(model, [X])
    model.set_allocation(BitAllocation.uniform(found.spec.layers, 3, 4))
    rows, layer = net.embed.weight.detach(), model.layers["embed"]
    wanted = quantize_rows(rows, QUANTIZERS["mse"].step(rows, 3), 3)
    assert torch.equal(layer(torch.arange(32)), wanted)
    features = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    product = model.activation_grid("embed", 4).quantize(features) @ wanted.T + net.head.bias
    torch.testing.assert_close(layer(features), product)
    assert model.network.head is model.network.embed


def test_a_state_dict_of_the_tied_network_loads_into_its_rewriting():
    other = expose_layers(sequence_net("tied"))
    state = {name: 2 * value for name, value in sequence_net("tied").state_dict().items()}
    other.load_state_dict(state)
    assert torch.equal(other.embed.bias, state["head.bias"])
    assert torch.equal(other.head.weight, state["embed.weight"])
    assert expose_layers(other) is other


def test_a_weight_that_is_set_up_otherwise_at_its_second_place_keeps_a_float_copy():
    net = Tied()
    net.embed.max_norm = 1.0
    found, layer = facts(net, "head")
    assert layer.kind == "linear"
    assert "head.weight" in found.spec.left_in_float
