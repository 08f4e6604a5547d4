"""Weights that are computed before each pass are read once: layers like any other."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from qcore.allocation import BitAllocation
from qcore.errors import UnsupportedModel
from qcore.network.layers import find_layers, weights_digest
from qcore.network.rewriting import expose_layers
from qcore.ptq.model import QuantizedModel, float_gap

X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


class Doubled(nn.Module):
    """A parametrization of nobody's library."""

    def forward(self, weight):
        return 2 * weight


def doubled(module):
    parametrize.register_parametrization(module, "weight", Doubled())
    return module


def pruned(module):
    prune.l1_unstructured(module, "weight", 0.5)
    return prune.random_structured(module, "weight", 1, dim=0)


def bias_pruned(module):
    return prune.l1_unstructured(module, "bias", 0.5)


def old_weight_norm(module):
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(module)


WRAPS = {
    "old weight norm": old_weight_norm,
    "old spectral norm": nn.utils.spectral_norm,
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "pruning": pruned,
    "pruned bias": bias_pruned,
    "own": doubled,
    "two": lambda module: doubled(parametrizations.weight_norm(module)),
}


class Net(nn.Module):
    """A convolution, a transposed one and a linear layer."""

    def __init__(self, wrap, all_):
        super().__init__()
        self.conv = wrap(nn.Conv2d(1, 8, 3, padding=1))
        self.up = nn.ConvTranspose2d(8, 8, 3)
        self.fc = nn.Linear(8, 10)
        if all_:
            self.up, self.fc = wrap(self.up), wrap(self.fc)

    def forward(self, x):
        return self.fc(self.up(self.conv(x).relu()).mean((2, 3)))


def net(wrap, all_):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net(WRAPS[wrap], all_).eval()


@pytest.mark.parametrize("all_", [False, True])
@pytest.mark.parametrize("wrap", WRAPS)
def test_every_way_of_computing_a_weight_is_read_through(wrap, all_):
    model = net(wrap, all_)
    with torch.no_grad():
        wanted, state = model(X), {n: v.clone() for n, v in model.state_dict().items()}
    found = find_layers(model, X, "net")
    assert found.spec.names == ("conv", "up", "fc")
    assert [layer.weights for layer in found.spec.layers] == [72, 576, 80]
    assert (found.spec.coverage, found.spec.left_in_float, found.products) == (1.0, {}, {})
    (note,) = found.spec.warnings
    assert f"({3 if all_ else 1} weights or biases; the first is conv." in note
    quantized = QuantizedModel(model, found)
    assert float_gap(model, quantized, X) < 1e-6
    quantized.set_allocation(BitAllocation.uniform(found.spec.layers, 2, 32))
    assert not torch.allclose(quantized(X), wanted)
    # the network itself is as it was
    assert all(torch.equal(v, state[n]) for n, v in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(X), wanted)


@pytest.mark.parametrize("wrap", WRAPS)
def test_what_is_read_does_not_depend_on_when(wrap):
    model = net(wrap, True)
    digest = weights_digest(model)
    assert weights_digest(model) == digest
    plain = expose_layers(model)
    assert weights_digest(plain) == digest
    assert expose_layers(plain) is plain
    modes = copy.deepcopy(plain).train()
    assert {m.training for m in modes.modules()} == {True}
    if "old" not in wrap:
        # spectral norm goes on estimating in training mode, and is read as in eval mode
        assert weights_digest(model.train()) == digest
        assert all(module.training for module in model.modules())


def test_one_computed_weight_in_two_modules_stays_one():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), nn.Conv2d(1, 1, 3, bias=False))
    model[1].weight = model[0].weight
    for module in model:
        doubled(module)
    shared = model[0].parametrizations.weight.original
    model[1].parametrizations.weight.original = shared
    found = find_layers(nn.Sequential(model, nn.Flatten()), X, "net")
    assert [layer.weights for layer in found.spec.layers] == [9]


@pytest.mark.parametrize("wrap", ["old weight norm", "weight norm"])
def test_a_recurrent_weight_is_read_through(wrap):
    lstm = nn.LSTM(8, 4, batch_first=True)
    if wrap == "weight norm":
        lstm = parametrizations.weight_norm(lstm, "weight_hh_l0")
    else:
        with pytest.warns(FutureWarning):
            lstm = nn.utils.weight_norm(lstm, "weight_hh_l0")
    plain = expose_layers(nn.Sequential(lstm))[0]
    with torch.no_grad():
        assert torch.allclose(plain(X[:, 0])[0], lstm(X[:, 0])[0], atol=1e-6)
    assert "hh_l0.weight" in dict(plain.named_parameters())


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3, 64))

    def forward(self, x):
        return x.flatten(1) @ self.w.t()


class Hooked(nn.Module):
    """A linear module whose weight a hook of nobody's library makes."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 3)
        del self.fc.weight
        self.fc.raw = nn.Parameter(torch.ones(3, 64))
        self.fc.register_forward_pre_hook(lambda m, x: setattr(m, "weight", m.raw * 2))

    def forward(self, x):
        return self.fc(x.flatten(1))


class Standardised(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight / self.weight.norm())


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 3)

    def forward(self, x):
        return x.flatten(1)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Functional(), "made by functions"),
        (Hooked(), r"1 convolution and linear modules \(the first is fc\) are no parameters"),
        (nn.Sequential(nn.Flatten(), Standardised(64, 3)), "a Standardised. do more than multiply"),
        (Idle(), "none of its 1 convolution and linear modules ran"),
        (nn.Sequential(nn.Flatten()), "it has no convolution or linear module"),
    ],
)
def test_a_network_without_layers_is_told_why(model, why):
    with pytest.raises(UnsupportedModel, match=why):
        find_layers(model, X, "net")
