"""Who feeds whom, which norms fold, and weights that several places share."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.wired import Residual, layer, of

torch.set_num_threads(1)


def test_producers_and_consumers_reach_through_an_addition():
    found = of(Residual(), 1, 8, 8)
    assert found.spec.names == ("stem", "branch", "head")
    assert layer(found, "stem").producers == ()
    assert layer(found, "stem").consumers == ("branch", "head")
    assert layer(found, "branch").producers == ("stem",)
    assert layer(found, "head").producers == ("stem", "branch")
    assert layer(found, "head").consumers == ()
    assert found.norms == {"branch": "norm"}
    assert [spec.biases for spec in found.spec.layers] == [4, 4, 2]


def test_producers_reach_through_a_concatenation():
    class Concat(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 3, 1)
            self.norm, self.join = nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            both = torch.cat([self.left(x), self.right(x)], 1)
            return self.join(self.norm(both)).flatten(1)

    found = of(Concat(), 1, 4, 4)
    assert layer(found, "join").producers == ("left", "right")
    assert layer(found, "left").consumers == ("join",)
    # the norm reads two layers at once: it folds into neither
    assert found.norms == {}
    assert found.spec.left_in_float == {"norm.weight": 5, "norm.bias": 5}


class Pair(nn.Module):
    """Two layers and two norms, joined as `join` says."""

    def __init__(self, join):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.na, self.nb = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self, x).flatten(1)


@pytest.mark.parametrize(
    ("join", "norms"),
    [
        (lambda m, x: m.nb(m.b(m.na(m.a(x)))), {"a": "na", "b": "nb"}),
        (lambda m, x: m.nb(m.b(m.na(torch.relu(m.a(x))))), {"b": "nb"}),
        # one norm for two layers
        (lambda m, x: m.na(m.b(m.na(m.a(x)))), {}),
        # the layer's own output is also read elsewhere
        (lambda m, x: (lambda y: m.na(y) + m.nb(m.b(y)))(m.a(x)), {"b": "nb"}),
        # one layer run twice
        (lambda m, x: m.na(m.a(x)) + m.nb(m.a(x + 1)) + m.b(x), {}),
    ],
)
def test_only_a_norm_that_alone_reads_a_layer_is_folded(join, norms):
    assert of(Pair(join), 2, 3, 3).norms == norms


def test_a_norm_without_running_statistics_is_not_folded():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    found = of(model, 1, 4, 4)
    assert found.norms == {}
    assert found.spec.left_in_float == {"1.weight": 2, "1.bias": 2}


def test_linear_layers_fold_norms_over_features_but_not_over_positions():
    assert of(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), 3).norms == {"0": "1"}
    assert of(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), 4, 3).norms == {}


def test_a_layer_that_runs_twice_is_one_layer_with_the_work_of_both():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.relu(self.fc(x)))

    (spec,) = of(Twice(), 4).spec.layers
    assert (spec.macs, spec.inputs, spec.outputs, spec.weights) == (32, 8, 8, 16)
    assert spec.producers == ()


def test_one_module_under_two_names_is_one_layer_with_an_alias():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    found = of(model, 4)
    assert found.spec.names == ("0",)
    assert found.aliases == {"0": ("2",)}
    assert found.spec.layers[0].macs == 32
    assert found.spec.coverage == 1.0


def test_like_modules_that_share_a_weight_are_one_layer():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    found = of(model, 4)
    assert found.spec.names == ("0",)
    assert found.aliases == {"0": ("2",)}
    assert found.spec.layers[0].weights == 16
    assert found.spec.left_in_float == {}


def test_a_module_that_shares_a_weight_with_a_bias_of_its_own_reads_the_one_layer():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    found = of(model, 4)
    assert found.spec.names == ("0",)
    assert found.aliases == {}
    assert found.readers == {"0": ("2",)}
    assert found.spec.left_in_float == {}
    [layer] = found.spec.layers
    assert (layer.weights, layer.biases, layer.macs) == (16, 8, 32)


def test_an_unlike_module_that_shares_a_weight_keeps_a_float_copy():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 1, bias=False), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2, bias=False)
    )
    model[2].weight = model[0].weight
    found = of(model, 2, 3, 3)
    assert found.spec.names == ("0",)
    assert (found.aliases, found.readers) == ({}, {})
    assert found.spec.left_in_float == {"2.weight": 8}
    assert any("2 shares the weight of 0" in warning for warning in found.spec.warnings)


def test_a_weight_used_outside_its_layer_keeps_a_float_copy():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(self.fc(x), self.fc.weight)

    found = of(Tied(), 4)
    assert found.spec.left_in_float == {"fc.weight": 16}
    assert any("used outside" in warning for warning in found.spec.warnings)


def test_a_parametrized_weight_is_a_layer_and_says_that_it_was_computed():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    nn.utils.parametrizations.weight_norm(model[0])
    found = of(model, 4)
    assert found.spec.names == ("0", "1")
    assert found.spec.left_in_float == {}
    assert any(
        "What weight norm computes (1 weights or biases; the first is 0.weight)" in w
        for w in found.spec.warnings
    )
