"""A network must be a function of its sample: what is random, stateful or per batch is found."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from qcore.errors import UnsupportedModel
from qcore.models.loading.checks import check_behaviour
from qcore.models.loading.trial import try_network
from qcore.models.zoo import build_model
from tests.own_networks import two_layers

X = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A network with something done to its features."""

    def __init__(self, what):
        super().__init__()
        self.body, self.what = two_layers(), what
        self.part = nn.Sequential(nn.Identity())
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        return self.what(self, self.body(x))


class Inner(nn.Module):
    def forward(self, x):
        return functional.dropout(x)


def counts(net, y):
    net.seen += 1
    return y * net.seen


def alternates(net, y):
    net.calls = getattr(net, "calls", 0) + 1
    return y * (2 if net.calls == 3 else 1)


def other_generator(net, y):
    import random

    return y * random.random()


RANDOM = {
    "functional dropout": (lambda net, y: functional.dropout(y), "dropout in the network"),
    "dropout of channels": (
        lambda net, y: functional.dropout2d(y[:, :, None, None])[:, :, 0, 0],
        "dropout2d in the network",
    ),
    "noise": (lambda net, y: y + torch.randn_like(y), "randn_like in the network"),
    "permutation": (lambda net, y: y[:, torch.randperm(y.shape[1])], "randperm in the network"),
    "gumbel": (lambda net, y: functional.gumbel_softmax(y), "gumbel_softmax in the network"),
    "bernoulli": (lambda net, y: y * torch.bernoulli(0.5 + 0 * y), "bernoulli in the network"),
    "buffer": (counts, "changes seen in eval mode"),
    "third call": (alternates, "keeps something from call to call"),
    "another generator": (other_generator, "draws random numbers or keeps"),
}


@pytest.mark.parametrize("what", RANDOM)
def test_a_network_that_does_not_repeat_itself_is_refused_with_the_cause(what):
    do, words = RANDOM[what]
    with pytest.raises(UnsupportedModel, match="gives other outputs for the same inputs") as error:
        check_behaviour(Net(do).eval(), X, "net")
    assert words in str(error.value)


def test_the_module_that_draws_is_named():
    net = Net(lambda net, y: net.part(y))
    net.part = nn.Sequential(nn.Identity(), Inner())
    with pytest.raises(UnsupportedModel, match=r"dropout in part\.1 draws random numbers"):
        check_behaviour(net.eval(), X, "net")


FINE = {
    "dropout in training alone": lambda net, y: functional.dropout(y, 0.5, net.training),
    "random and not used": lambda net, y: y + 0 * torch.rand(1),
    "written in place": lambda net, y: y.add_(1),
    "rounded otherwise": lambda net, y: y * (1 + 1e-8),
}


@pytest.mark.parametrize("what", FINE)
def test_a_network_that_repeats_itself_is_taken(what):
    assert check_behaviour(Net(FINE[what]).eval(), X, "net") == []


def test_bundled_networks_are_taken_and_nothing_stays_on_them():
    for name in ("resnet8", "mobilenet"):
        net = build_model(name)
        assert check_behaviour(net, torch.rand(2, 1, 28, 28), name) == []
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_an_input_that_is_written_into_is_not_the_next_runs_input():
    class Writes(nn.Module):
        def forward(self, x):
            return x.mul_(2).flatten(1)

    before = X.clone()
    assert check_behaviour(Writes(), X, "net") == []
    assert torch.equal(X, before)


def test_several_inputs_and_outputs_are_compared():
    class Pair(nn.Module):
        def forward(self, x, y):
            return {"a": x + y, "b": [x * 2, functional.dropout(y)]}

    with pytest.raises(UnsupportedModel, match="dropout in the network"):
        check_behaviour(Pair(), {"a": X, "b": X}, "net")


# ---- alone and in a batch


def test_outputs_that_depend_on_the_batch_are_said_with_how_far():
    net = Net(lambda net, y: y - y.mean(0, keepdim=True))
    (note,) = check_behaviour(net.eval(), X, "net")
    assert "depend on the others of its batch; alone they differ by up to 1e+02 %" in note


def test_norms_without_statistics_are_named_as_the_cause():
    net = two_layers()
    net.norm = nn.BatchNorm2d(4, track_running_stats=False).eval()
    (note,) = check_behaviour(net, X, "net")
    assert note.startswith("Some batch-norms keep no running statistics: a sample's outputs")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda net, y: y.squeeze(), r"a tensor \(3,\) for one sample, and a tensor \(1, 3\)"),
        (lambda net, y: y.view(2, 3), "fails on one alone"),
        (lambda net, y: y[:, :2].reshape(2, -1), r"a tensor \(2, 1\) for one sample"),
    ],
)
def test_a_network_that_needs_a_batch_is_refused(what, words):
    with pytest.raises(UnsupportedModel, match=words):
        check_behaviour(Net(what).eval(), X, "net")


@pytest.mark.parametrize(
    ("what", "words"),
    [(torch.fft.fft, "returns complex numbers"), (torch.Tensor.to_sparse, "returns sparse")],
)
def test_outputs_that_no_judge_compares_are_said_with_what_makes_them_plain(what, words):
    network = Net(lambda net, y: what(y)).eval()
    with pytest.raises(UnsupportedModel, match=words):
        try_network(network, (1, 8, 8), (), None, "mine")
