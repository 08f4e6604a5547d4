"""A network runs in a layout that it takes, and what its forward pass raises is a sentence."""

import copy

import pytest
import torch
from torch import nn

from qcore.allocation import BitAllocation
from qcore.costs.budget import make_options
from qcore.data import Data, Images
from qcore.errors import InvalidData, QcoreError, UnsupportedModel
from qcore.network.layers import find_layers
from qcore.network.running import AGREEMENT, copied, largest_difference, layout_refusal
from qcore.ptq.model import QuantizedModel, float_gap
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.model import TrainableModel
from qcore.qat.setup import Setup
from qcore.scoring.evaluator import Evaluator
from tests.small_nets import small_net

INF = float("inf")


class Net(nn.Module):
    """A convolution, something done to its features, a linear layer."""

    def __init__(self, what, channels=3):
        super().__init__()
        self.conv, self.what = nn.Conv2d(channels, 4, 3, padding=1), what
        self.fc = nn.Linear(4 * 36, 5)

    def forward(self, x):
        return self.fc(self.what(self.conv(x).relu()))


class Images3(nn.Module):
    """A network without a convolution, which looks at the images themselves."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 36, 5)

    def forward(self, x):
        return self.fc(x.view(len(x), -1))


def strided(y):
    return torch.as_strided(y, (len(y), 144), (144, 1))


REFUSING = {
    "view": (lambda: Net(lambda y: y.view(len(y), -1)), "RuntimeError: view size"),
    "view of the images": (Images3, "RuntimeError: view size"),
    "strides": (lambda: Net(strided), "its outputs change by"),
    "own layout": (lambda: Net(lambda y: asserted(y).flatten(1)), "AssertionError: not contiguous"),
}


def asserted(y):
    assert y.is_contiguous(), "not contiguous"
    return y


def made(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def images(n, seed=0):
    pixels = torch.randint(0, 256, (n, 3, 6, 6), generator=torch.Generator().manual_seed(seed))
    return Images(pixels.to(torch.uint8), torch.arange(n) % 5)


def data():
    parts = [images(n, n) for n in (16, 17, 18)]
    return Data("d", 5, tuple("abcde"), (0.0,), (1.0,), (3, 6, 6), *parts, digest="0" * 64)


@pytest.mark.parametrize("case", REFUSING)
def test_a_network_that_needs_its_layout_is_run_in_it_everywhere(case):
    build, why = REFUSING[case]
    net = made(build)
    x = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    last = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        wanted = net(x)
    found = find_layers(net, x, "net")
    assert not found.channels_last
    (note,) = found.spec.warnings
    assert "run on contiguous images" in note
    assert why in note
    quantized = QuantizedModel(net, found)
    assert float_gap(net, quantized, x) < 1e-6
    with torch.no_grad():
        assert torch.allclose(quantized(last), wanted, atol=1e-5)
    evaluator = Evaluator(QuantizedModel(net, found), data(), batch_size=8)
    allocation = BitAllocation.uniform(found.spec.layers, 4, 8)
    point = evaluator.report(next(evaluator.score([allocation])))
    assert point.test.n == 18
    options = make_options(found.spec.layers, (4, 32), (8, 32))
    calibration = [x for x, _ in evaluator.calibration]
    setup = Setup(net, found, options, images(32), calibration, MemoryCheckpoints())
    with torch.no_grad():
        assert torch.allclose(setup.teacher(last), wanted, atol=1e-5)
    trainable = TrainableModel(net, found, options)
    trainable.start_scales([last])
    with torch.no_grad():
        assert torch.equal(trainable(last), trainable(x))


@pytest.mark.parametrize("what", [lambda y: y.flatten(1), lambda y: y.reshape(len(y), -1)])
def test_a_network_that_takes_either_layout_is_run_with_channels_last(what):
    net = made(lambda: Net(what))
    before = copy.deepcopy(net.state_dict())
    found = find_layers(net, torch.rand(1, 3, 6, 6), "net")
    assert found.channels_last
    assert found.spec.warnings == ()
    assert QuantizedModel(net, found).channels_last
    assert net.conv.weight.is_contiguous()
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_what_has_no_image_has_no_layout():
    net = nn.Sequential(nn.Linear(4, 3))
    assert layout_refusal(net, torch.rand(1, 4)) == ""


def test_errors_of_a_forward_pass_are_sentences():
    net = small_net()
    found = find_layers(net, torch.zeros(1, 1, 8, 8), "small")
    model = QuantizedModel(net, found)

    def breaks(module, args):
        if args[0].amax() > 0.5:
            raise ZeroDivisionError("bright\nimages")

    model.network.register_forward_pre_hook(breaks)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    with pytest.raises(UnsupportedModel) as error:
        model(torch.ones(2, 1, 8, 8))
    words = str(error.value)
    assert "The forward pass of small failed on a batch of shape (2, 1, 8, 8), float32" in words
    assert "ZeroDivisionError: bright images." in words


@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt, QcoreError])
def test_errors_that_are_not_the_networks_pass(kind):
    net = small_net()
    model = QuantizedModel(net, find_layers(net, torch.zeros(1, 1, 8, 8), "small"))

    def breaks(module, args):
        raise kind

    model.network.register_forward_pre_hook(breaks)
    with pytest.raises(kind) as error:
        model(torch.zeros(2, 1, 8, 8))
    assert type(error.value) is kind


def test_a_network_with_a_computed_tensor_in_an_attribute_can_be_copied():
    net = nn.Linear(2, 2)
    net.twice = net.weight * 2
    assert torch.equal(copied(net).twice, net.twice)


@pytest.mark.parametrize(
    ("one", "other", "gap"),
    [
        (torch.tensor([1.0, -2.0]), torch.tensor([1.0, -1.0]), 0.5),
        (torch.ones(2), torch.ones(3), INF),
        ((torch.ones(2), torch.ones(1)), [torch.ones(2), torch.zeros(1)], 1.0),
        ((torch.ones(2),), (torch.ones(2), torch.ones(2)), INF),
        ({"a": torch.ones(2)}, {"a": torch.ones(2)}, 0.0),
        ({"a": torch.ones(2)}, {"b": torch.ones(2)}, INF),
        (torch.tensor([1, 2]), torch.tensor([1, 2]), 0.0),
        (torch.tensor([INF, 1.0]), torch.tensor([INF, 1.0]), 0.0),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), 0.0),
        (torch.tensor([1.0]), torch.tensor([float("nan")]), INF),
        (None, None, 0.0),
        (None, torch.ones(1), INF),
        (torch.zeros(0), torch.zeros(0), 0.0),
    ],
)
def test_the_difference_of_outputs(one, other, gap):
    assert largest_difference(one, other) == pytest.approx(gap)
    assert AGREEMENT < 0.5


class Raises(nn.Module):
    def forward(self, x):
        raise ZeroDivisionError("no such luck")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (small_net().half(), r"they are float32, and it has weights in float16.*model\.float\(\)"),
        (small_net().double(), "weights in float64"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(9, 2)),
            "'1' takes 9 features, and is given 64. Use",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), Raises())),
            r"ZeroDivisionError in its module '1\.1': no such luck",
        ),
    ],
)
def test_a_first_pass_that_fails_names_the_cause(model, words):
    with pytest.raises(InvalidData, match=words):
        find_layers(model, torch.rand(1, 1, 8, 8), "net")
