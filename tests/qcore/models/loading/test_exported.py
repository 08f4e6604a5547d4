"""A program's operations become layers that compute the same, whatever their weights are called."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qcore.errors import UnsupportedModel
from qcore.models.loading import exported, load_network
from qcore.models.loading.exported import difference, with_modules
from qcore.network.layers import find_layers
from tests.own_networks import two_layers
from tests.variants import some

X = torch.rand(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """What is given, on weights that stand in the network itself or in one part of it."""

    def __init__(self, do):
        super().__init__()
        self.do = do
        generator = torch.Generator().manual_seed(1)

        def weight(*shape):
            return nn.Parameter(torch.rand(shape, generator=generator) - 0.5)

        self.w1, self.w2, self.bias = weight(2, 2, 3, 3), weight(2, 2, 3, 3), weight(2)
        self.part = nn.Module()
        self.part.w1, self.part.w2 = weight(2, 2, 3, 3), weight(2, 2, 3, 3)
        self.part.weight, self.part.bias = weight(2, 2, 3, 3), weight(2)
        self.part.inner = nn.Conv2d(2, 2, 1)
        self.part.up = nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1, groups=2)
        self.part.same = nn.Conv2d(2, 2, (3, 2), padding="same", dilation=2)
        self.part.norm = nn.BatchNorm2d(2)
        nn.init.uniform_(self.part.norm.running_var, 0.5, 2)
        nn.init.uniform_(self.part.norm.weight)
        self.part.bare = nn.BatchNorm2d(2, affine=False)
        self.lin = nn.Linear(2, 2)
        self.wide = weight(1, 2)
        self.fc = nn.Linear(2, 3)
        self.tied = nn.Linear(2, 2)
        self.tied.weight = self.lin.weight
        self.register_buffer("fixed", torch.rand(2, 2, 3, 3, generator=generator))

    def forward(self, x):
        return self.fc(self.do(self, x).mean((2, 3)))


def flat(net, x, *layers):
    y = x.mean((2, 3))
    for layer in layers:
        y = layer(y)
    return y[:, :, None, None]


CASES = {
    "two weights of the network": (
        lambda n, x: F.conv2d(F.conv2d(x, n.w1), n.w2), ["w1_layer", "w2_layer"]),
    "two weights of one part": (
        lambda n, x: F.conv2d(F.conv2d(x, n.part.w1), n.part.w2),
        ["part.w1_layer", "part.w2_layer"]),
    "a weight beside others": (
        lambda n, x: F.conv2d(F.conv2d(x, n.part.weight, n.part.bias), n.part.w2),
        ["part", "part.w2_layer"]),
    "a part that has parts": (
        lambda n, x: n.part.inner(F.conv2d(x, n.part.weight)), ["part", "part.inner"]),
    "the part first": (
        lambda n, x: F.conv2d(n.part.inner(x), n.part.weight), ["part.inner", "part"]),
    "by keyword": (lambda n, x: F.conv2d(x, weight=n.w1, bias=n.bias), ["w1_layer"]),
    "one weight in two ways": (
        lambda n, x: F.conv2d(F.conv2d(x, n.w1, padding=1), n.w1, stride=2),
        ["w1_layer"]),
    "one layer twice": (lambda n, x: n.part.inner(n.part.inner(x)), ["part.inner"]),
    "one weight, two biases": (
        lambda n, x: F.conv2d(F.conv2d(x, n.w1, n.bias), n.w1, n.part.bias), ["w1_layer"]),
    "transposed": (lambda n, x: n.part.up(x)[:, :2], ["part.up"]),
    "padded to the same size": (lambda n, x: n.part.same(x), ["part.same"]),
    "norms": (lambda n, x: n.part.bare(n.part.norm(n.part.inner(x))), ["part.inner"]),
    "linear twice": (lambda n, x: flat(n, x, n.lin, n.lin), ["lin"]),
    "tied": (lambda n, x: flat(n, x, n.lin, n.tied), ["lin"]),
    "a bias of shape (1, n)": (
        lambda n, x: flat(n, x, n.lin, lambda y: F.linear(y, n.tied.weight, n.wide)), ["lin"]),
    "a weight that is a buffer": (lambda n, x: F.conv2d(x, n.fixed), ["fixed_layer"]),
    "a weight that is computed": (lambda n, x: F.conv2d(n.part.inner(x), n.w1 * 2), ["part.inner"]),
}  # fmt: skip


def program(do, decomposed=False):
    net = Net(do).eval()
    made = torch.export.export(net, (X,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, of its own classes
        return net, made.run_decompositions() if decomposed else made


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("case", some(CASES, 5))
def test_every_operation_becomes_a_layer_that_computes_the_same(case, decomposed):
    do, names = CASES[case]
    net, made = program(do, decomposed)
    network = with_modules(made)
    x = torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert torch.allclose(network(x), net(x), atol=1e-5)
    assert difference(made, network) < 1e-5
    found = find_layers(network, x, "net")
    # of two names of one tensor a program keeps either
    got = [name.replace("tied", "lin") for name in found.spec.names]
    assert got == [*names, "fc"]


def saved(folder, do=None):
    net = two_layers() if do is None else Net(do).eval()
    x = torch.rand(2, 1, 8, 8) if do is None else X
    made = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    torch.export.save(made, folder / "net.pt2")
    return folder / "net.pt2"


@pytest.fixture(autouse=True)
def _leave(monkeypatch):
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", "pt2")


def test_how_far_a_program_and_its_layers_differ_is_said(tmp_path):
    loaded = load_network("pt2", "", saved(tmp_path), None, None, {})
    assert any("differ from the program's by at most" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda module: module.weight.data.mul_(1.1), r"differ from the program's by \S+ %"),
        (lambda module: module.weight.data.fill_(float("nan")), "differ from the program's"),
        (lambda module: setattr(module, "groups", 7), "cannot be run as layers"),
    ],
)
def test_layers_that_compute_something_else_are_refused(tmp_path, monkeypatch, change, words):
    path, plain = saved(tmp_path), exported._module

    def wrong(node, tensors):
        made = plain(node, tensors)
        if isinstance(made, nn.Conv2d):
            made.weight = nn.Parameter(made.weight.detach().clone())
            change(made)
        return made

    monkeypatch.setattr(exported, "_module", wrong)
    with pytest.raises(UnsupportedModel, match=words):
        load_network("pt2", "", path, None, None, {})
