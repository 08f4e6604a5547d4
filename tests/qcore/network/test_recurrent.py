"""Recurrent modules: the same outputs, every matrix a layer, products counted step by step."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from qcore.errors import InvalidData, UnsupportedModel
from qcore.network.layers import find_layers
from qcore.network.rewriting import expose_layers
from tests.sequence_nets import CONSTRUCTORS, FORMS, SHAPE, Cells, Rows, found_in, recurrent
from tests.variants import crossed

INPUTS, HIDDEN, STEPS, SAMPLES = 5, 7, 6, 3

every_kind = pytest.mark.parametrize("kind", CONSTRUCTORS)
every_form = pytest.mark.parametrize(
    "form", FORMS, ids=lambda f: "".join(str(int(v)) for v in f.values())
)
# torch says that it takes a slower path for a projection
quiet = pytest.mark.filterwarnings("ignore:LSTM with projections")


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def states(module, *samples):
    """Random initial states of a recurrent module."""
    count = module.num_layers * (2 if module.bidirectional else 1)
    hidden = draw(count, *samples, module.proj_size or HIDDEN)
    return (hidden, draw(count, *samples, HIDDEN)) if module.mode == "LSTM" else hidden


@quiet
@every_form
@every_kind
def test_outputs_and_states_are_those_of_the_original(kind, form):
    module = recurrent(kind, INPUTS, HIDDEN, **form)
    rewritten = expose_layers(module)
    assert rewritten is not module
    x = draw(SAMPLES, STEPS, INPUTS)
    x = x if module.batch_first else x.transpose(0, 1)
    with torch.no_grad():
        for given, samples in ((x, (SAMPLES,)), (draw(STEPS, INPUTS), ())):
            for start in (None, states(module, *samples)):
                torch.testing.assert_close(rewritten(given, start), module(given, start))


@quiet
@every_kind
def test_gradients_are_those_of_the_original(kind):
    module = recurrent(kind, INPUTS, HIDDEN, num_layers=2, bidirectional=True)
    x = draw(STEPS, SAMPLES, INPUTS)
    parameters = list(module.parameters())
    wanted = torch.autograd.grad(module(x)[0].square().sum(), parameters)
    got = torch.autograd.grad(expose_layers(module)(x)[0].square().sum(), parameters)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("cls", "settings"),
    [(nn.LSTMCell, {}), (nn.GRUCell, {}), (nn.RNNCell, {}), (nn.RNNCell, {"nonlinearity": "relu"})],
)
def test_cells_step_as_the_originals_do(cls, settings, bias):
    cell = cls(INPUTS, HIDDEN, bias=bias, **settings)
    rewritten = expose_layers(cell)
    for samples in ((SAMPLES,), ()):
        x, hidden = draw(*samples, INPUTS), draw(*samples, HIDDEN)
        state = (hidden, draw(*samples, HIDDEN)) if cls is nn.LSTMCell else hidden
        for start in (None, state):
            torch.testing.assert_close(rewritten(x, start), cell(x, start))


@quiet
@every_form
@every_kind
def test_state_dicts_of_the_original_load_and_weights_keep_their_old_names(kind, form):
    module, other = (recurrent(kind, INPUTS, HIDDEN, **form) for _ in range(2))
    rewritten = expose_layers(other)
    rewritten.load_state_dict(module.state_dict())
    for name, parameter in module.named_parameters():
        assert torch.equal(getattr(rewritten, name), parameter)
    assert sum(p.numel() for p in rewritten.parameters()) == sum(
        p.numel() for p in module.parameters()
    )


def test_dropout_between_layers_stays_while_training_and_nowhere_else():
    module = nn.GRU(INPUTS, HIDDEN, 2, dropout=0.5).train()
    x, rewritten = draw(STEPS, SAMPLES, INPUTS), expose_layers(module)
    assert not torch.equal(rewritten(x)[0], rewritten(x)[0])
    module.eval()
    torch.testing.assert_close(expose_layers(module)(x), module(x))


@quiet
@pytest.mark.parametrize(("kind", "form"), crossed(CONSTRUCTORS, [FORMS[2], FORMS[-1]]))
def test_products_are_counted_step_by_step(kind, form):
    module = recurrent(kind, INPUTS, HIDDEN, **form)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = module

        def forward(self, x):
            return (
                self.rnn(x)[0].flatten(1)
                if module.batch_first
                else self.rnn(x.transpose(0, 1))[0].transpose(0, 1).flatten(1)
            )

    found = find_layers(Net(), torch.zeros(1, STEPS, INPUTS), "net")
    matrices = {n: p for n, p in module.named_parameters() if n.startswith("weight")}
    assert [layer.weights for layer in found.spec.layers] == [p.numel() for p in matrices.values()]
    for layer, (name, matrix) in zip(found.spec.layers, matrices.items(), strict=True):
        assert layer.name == f"rnn.{name.removeprefix('weight_')}"
        assert layer.kind == "recurrent"
        assert layer.macs == STEPS * matrix.numel()
        assert (layer.inputs, layer.outputs) == (STEPS * matrix.shape[1], STEPS * len(matrix))
    assert found.spec.coverage == 1
    assert not {**found.spec.left_in_float, **found.products}
    assert found.spec.warnings == ()
    assert found.exported


def test_who_feeds_whom_is_known_through_gates_and_states():
    layers = {layer.name: layer for layer in found_in("gru-both-ways").spec.layers}
    assert layers["rnn.ih_l0"].producers == ("conv",)
    assert layers["rnn.hh_l0"].producers == ("rnn.ih_l0",)
    ends = {"rnn.ih_l0", "rnn.hh_l0", "rnn.ih_l0_reverse", "rnn.hh_l0_reverse"}
    assert set(layers["head"].producers) == ends


def test_states_of_zeros_that_the_code_makes_feed_no_layer():
    class Net(Rows):
        def forward(self, x):
            steps = self.conv(x).permute(0, 2, 1, 3).flatten(2)
            start = steps.new_zeros(1, len(x), 6)
            return self.head(self.rnn(steps, (start, torch.zeros_like(start)))[0][:, -1])

    layers = find_layers(Net(), torch.zeros(1, *SHAPE), "net").spec.layers
    assert {layer.name: layer.producers for layer in layers}["rnn.hh_l0"] == ("rnn.ih_l0",)


def test_cells_called_again_and_again_are_one_layer_each():
    found = find_layers(Cells(), torch.zeros(1, *SHAPE), "cells")
    macs = {layer.name: layer.macs for layer in found.spec.layers}
    assert macs == {
        "first.ih": 8 * 20 * 8, "first.hh": 8 * 20 * 5,
        "second.ih": 8 * 18 * 5, "second.hh": 8 * 18 * 6, "head": 24,
    }  # fmt: skip


def test_a_weight_that_two_recurrent_modules_share_is_counted_once():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.GRU(INPUTS, INPUTS), nn.GRU(INPUTS, INPUTS)
            for name in self.one._flat_weights_names:
                setattr(self.two, name, getattr(self.one, name))

        def forward(self, x):
            return self.two(self.one(x)[0])[0].flatten(1)

    found = find_layers(Net(), torch.zeros(1, STEPS, INPUTS), "net")
    assert found.spec.names == ("one.ih_l0", "one.hh_l0")
    assert found.aliases == {"one.ih_l0": ("two.ih_l0",), "one.hh_l0": ("two.hh_l0",)}


def test_code_that_asks_a_recurrent_module_for_its_sizes_still_runs():
    class Net(Rows):
        def forward(self, x):
            self.rnn.flatten_parameters()
            like = self.rnn.weight_hh_l0
            start = like.new_zeros(self.rnn.num_layers, len(x), self.rnn.hidden_size)
            steps = self.conv(x).permute(0, 2, 1, 3).flatten(2)
            return self.head(self.rnn(steps, (start, start))[1][0][-1])

    assert "rnn.hh_l0" in find_layers(Net(), torch.zeros(1, *SHAPE), "net").spec.names


def test_packed_sequences_are_refused_in_words():
    class Net(Rows):
        def forward(self, x):
            steps = self.conv(x).permute(0, 2, 1, 3).flatten(2)
            packed = pack_padded_sequence(steps, [steps.shape[1]] * len(x), batch_first=True)
            return self.head(self.rnn(packed)[1][0][-1])

    with pytest.raises(UnsupportedModel, match=r"net cannot be quantized: .*packed.*padded"):
        find_layers(Net(), torch.zeros(1, *SHAPE), "net")


def test_wrong_features_are_named_with_their_layer():
    class Net(Rows):
        def forward(self, x):
            return self.rnn(x.flatten(2))[0][:, -1]

    with pytest.raises(InvalidData, match=r"'rnn.ih_l0' takes 16 features, and is given 64"):
        find_layers(Net(), torch.zeros(1, *SHAPE), "net")


def test_weights_under_a_parametrization_are_computed_first():
    module = nn.LSTM(INPUTS, HIDDEN)
    weight_norm(module, "weight_hh_l0")
    exposed = expose_layers(module)
    assert torch.equal(exposed.hh_l0.weight, module.weight_hh_l0)


def test_a_subclass_with_a_forward_pass_of_its_own_is_left_as_it_is():
    class Own(nn.LSTM):
        def forward(self, x, hx=None):
            return super().forward(2 * x, hx)

    class Kept(nn.LSTM):
        extra = 3

    assert type(expose_layers(nn.Sequential(Own(2, 3)))[0]) is Own
    assert type(expose_layers(nn.Sequential(Kept(2, 3)))[0]) is not Kept
