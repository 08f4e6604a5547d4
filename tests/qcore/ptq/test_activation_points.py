"""Inputs are quantized right where a layer reads them: behind whatever joined or shaped them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.allocation import BitAllocation, LayerBits
from qcore.network.layers import find_layers
from qcore.ptq.calibration import measure_ranges
from qcore.ptq.model import QuantizedModel
from qcore.quantizers import Histogram, mse_grid

X = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(0))


def shuffle(x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    return torch.stack([left, right], 2).flatten(1, 2)


JOINS = {
    "add": lambda a, b: a + b,
    "add in place": lambda a, b: a.clone().add_(b),
    "concatenate": lambda a, b: torch.cat([a, b], 1),
    "multiply": lambda a, b: a * torch.sigmoid(b.mean((2, 3), keepdim=True)),
    "functional relu": lambda a, b: functional.relu(a) + 0 * b,
    "functional pool": lambda a, b: functional.adaptive_avg_pool2d(a, 3) + b.mean(),
    "shuffle": lambda a, b: shuffle(torch.cat([a, b], 1)),
}


class Joined(nn.Module):
    """Two layers, joined, and a third that reads the result."""

    def __init__(self, join):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 3, padding=1)
        self.join = join
        self.head = nn.LazyConv2d(3, 1)
        self(X)

    def joined(self, x: Tensor) -> Tensor:
        return self.join(self.a(x), self.b(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.joined(x)).mean((2, 3))


def wrap(net: nn.Module) -> QuantizedModel:
    model = QuantizedModel(net.eval(), find_layers(net, X, "net"))
    measure_ranges(model, [X])
    return model


def on_grid(values: Tensor, bits: int) -> Tensor:
    """Values rounded to the grid that their own histogram gives."""
    histogram = Histogram()
    histogram.add(values)
    return mse_grid(histogram, bits).quantize(values)


@pytest.mark.parametrize("join", JOINS)
@torch.no_grad()
def test_what_a_layer_reads_is_quantized_behind_the_operation_before_it(join):
    net = Joined(JOINS[join])
    model = wrap(net)
    assert model.spec.layers[-1].producers == ("a", "b")
    bits = {"a": LayerBits(32), "b": LayerBits(32), "head": LayerBits(32, 3)}
    model.set_allocation(BitAllocation(bits))
    read = on_grid(net.joined(X), 3)
    assert len(read.unique()) <= 8
    torch.testing.assert_close(model(X), net.head(read).mean((2, 3)))


class Shared(nn.Module):
    """One tensor read by two layers and by an addition."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.stem = nn.Conv2d(2, 3, 1)
        self.left, self.right = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return (self.left(x) + self.right(x) + x).flatten(1)


@pytest.mark.parametrize(("left", "right"), [(4, 4), (2, 5)])
@torch.no_grad()
def test_layers_that_read_one_tensor_see_it_at_their_own_bits_and_an_addition_in_float(left, right):
    net = Shared()
    model = wrap(net)
    bits = {"stem": 32, "left": left, "right": right}
    model.set_allocation(BitAllocation({name: LayerBits(32, b) for name, b in bits.items()}))
    x = net.stem(X)
    expected = net.left(on_grid(x, left)) + net.right(on_grid(x, right)) + x
    torch.testing.assert_close(model(X), expected.flatten(1))
    same = model.layers["left"].grid == model.layers["right"].grid
    assert same == (left == right)


@torch.no_grad()
def test_attention_reads_quantized_inputs_at_all_four_projections():
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(3)
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1, 2)
            return self.attention(x, x, x, need_weights=False)[0].mean(1)

    net = Attend()
    model = wrap(net)
    seen = {}
    for name, layer in model.layers.items():
        layer.operation = _spied(layer.operation, seen, name)
    model.set_allocation(BitAllocation.uniform(model.spec.layers, 32, 2))
    model(X)
    assert list(seen) == [f"attention.{part}_proj" for part in ("q", "k", "v", "out")]
    assert all(len(values.unique()) <= 4 for values in seen.values())
    query, key, value, _ = seen.values()
    assert torch.equal(query, key)
    assert torch.equal(query, value)


def _spied(operation, seen, name):
    def call(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen[name] = x
        return operation.call(x, weight, bias)

    return replace(operation, call=call)
