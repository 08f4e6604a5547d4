"""Every product of matrices is in an account, whatever it was called by; weights may be buffers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from qcore.allocation import BitAllocation
from qcore.costs import costs_of
from qcore.network.layers import find_layers
from qcore.network.products import FREE, PRODUCTS

X = torch.rand(1, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A layer, and something computed beside it with weights of the network's own."""

    def __init__(self, do, kind=nn.Parameter):
        super().__init__()
        self.first, self.do = nn.Linear(6, 6, bias=False), do
        for name, shape in {"w": (6, 6), "b": (5, 6, 6), "k": (4, 2, 3), "v": (6,)}.items():
            value = torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)))
            if kind is nn.Parameter:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        gates = [(12, 6), (12, 3), (9, 6), (9, 3)]
        self.gates = nn.ParameterList(nn.Parameter(torch.rand(shape)) for shape in gates)

    def forward(self, x):
        x = self.first(x)
        self.do(self, x)
        return x


def lstm(net, x):
    state = torch.zeros(1, 1, 3)
    torch.lstm(x[None], (state, state), list(net.gates)[:2], False, 1, 0.0, False, False, False)


def gru_cell(net, x):
    torch.gru_cell(x, torch.zeros(1, 3), net.gates[2], w_hh=net.gates[3])


def inside_inference_mode(net, x):
    with torch.inference_mode():
        F.linear(x, net.w)


PRODUCTS_BY_HAND = {
    "linear": (lambda net, x: F.linear(x, net.w), 36),
    "linear by keyword": (lambda net, x: F.linear(input=x, weight=net.w), 36),
    "with a bias": (lambda net, x: F.linear(x, weight=net.w, bias=net.v), 36),
    "matmul": (lambda net, x: x @ net.w, 36),
    "turned": (lambda net, x: x @ net.w.t(), 36),
    "matmul from the right": (lambda net, x: net.w.__rmatmul__(x), 36),
    "mv": (lambda net, x: net.w @ x[0], 36),
    "dot": (lambda net, x: net.v @ x[0], 6),
    "addmm": (lambda net, x: torch.addmm(input=x, mat1=x, mat2=net.w), 36),
    "batches": (lambda net, x: torch.matmul(x, net.b), 180),
    "einsum of three": (lambda net, x: torch.einsum("bi,ij,jk->bk", x, net.w, net.w), None),
    "einsum with dots": (lambda net, x: torch.einsum("...i,ij->...j", x, net.w), 36),
    "tensordot": (lambda net, x: torch.tensordot(x, net.w, dims=1), 36),
    "bilinear": (lambda net, x: F.bilinear(x, x, net.b), 180),
    "distances": (lambda net, x: torch.cdist(x, net.w), 36),
    # 2 groups, 4 channels out of 2 each, 3 taps, 4 places
    "convolution": (lambda net, x: F.conv1d(x.expand(4, 6)[None], weight=net.k, groups=2), 96),
    # 4 x 6 inputs, each with 2 x 3 weights
    "transposed": (lambda net, x: F.conv_transpose1d(x.expand(4, 6)[None], weight=net.k), 144),
    "attention": (
        lambda net, x: F.scaled_dot_product_attention(
            query=net.b[None], key=net.b[None], value=net.b[None]
        ),
        2 * 5 * 6 * 6 * 6,
    ),
    # three and four gates of three, one step
    "gru cell": (gru_cell, 9 * (6 + 3)),
    "lstm": (lstm, 12 * (6 + 3)),
    "inference mode": (inside_inference_mode, 36),
    "number by number": (lambda net, x: x * net.v + net.w.sum(0).relu().softmax(0), 0),
    "moved": (lambda net, x: torch.cat([x, net.w]).gather(0, torch.zeros(1, 6).long()), 0),
    "looked up": (lambda net, x: F.embedding(torch.tensor([1]), net.w), 0),
}


@pytest.mark.parametrize("what", PRODUCTS_BY_HAND)
def test_a_product_is_counted_however_it_is_called(what):
    do, macs = PRODUCTS_BY_HAND[what]
    net = Net(do).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(X)
    found = find_layers(net, X, "net")
    assert [layer.macs for layer in found.spec.layers] == [36]
    if macs is None:
        macs = counter.get_total_flops() // 2 - 36
    assert sum(found.products.values()) == macs
    assert not any("is not known" in words for words in found.spec.warnings)
    # torch's own counter where it knows the operator: it knows none of these
    if what not in ("bilinear", "distances", "mv", "dot", "lstm", "inference mode", "attention"):
        assert counter.get_total_flops() == 2 * (36 + macs)


def test_an_operator_that_may_be_a_product_and_is_not_known_is_named():
    net = Net(lambda net, x: torch.linalg.solve(net.w + 9 * torch.eye(6), x.t())).eval()
    (words,) = (w for w in find_layers(net, X, "net").spec.warnings if "is not known" in w)
    assert "aten._linalg_solve_ex, first used in the model itself" in words


def test_no_operator_is_both_a_product_and_free():
    assert FREE.isdisjoint(PRODUCTS)


@pytest.mark.parametrize("kind", [nn.Parameter, torch.Tensor])
@pytest.mark.parametrize(
    "do",
    [
        lambda net, x: x @ net.w,
        lambda net, x: F.linear(x, weight=net.w.t().contiguous()),
        lambda net, x: torch.mv(net.w, x[0]),
        lambda net, x: F.linear(input=x, weight=net.w),
    ],
)
def test_a_buffer_that_is_multiplied_with_is_a_weight(do, kind):
    net = Net(do, kind).eval()
    spec = find_layers(net, X, "net").spec
    assert spec.left_in_float["w"] == 36
    assert not {"b", "k", "v"} & set(spec.left_in_float) or kind is nn.Parameter
    assert any(words.startswith("w (36 weights) stays in float") for words in spec.warnings)
    if kind is torch.Tensor:
        assert spec.coverage == 0.5
        eight = BitAllocation.uniform(spec.layers, 8)
        assert costs_of(spec, eight)["model_bytes"] >= 36 + 4 * 36


def test_statistics_of_norms_are_no_weights():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)).eval()
    left = find_layers(net, torch.rand(1, 1, 8, 8), "net").spec.left_in_float
    assert set(left) == {"2.weight", "2.bias"}


def test_a_buffer_that_a_layer_is_given_is_an_input():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(6, 6)
            self.register_buffer("table", torch.rand(1, 6))

        def forward(self, x):
            return self.first(x) + self.first(self.table)

    assert find_layers(Table().eval(), X, "net").spec.left_in_float == {}
