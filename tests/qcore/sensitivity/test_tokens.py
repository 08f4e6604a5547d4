"""On a network with tokens the gradient score is the damage, and the elementwise one is not."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from qcore.data import Images
from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel
from qcore.scoring.evaluator import Evaluator
from qcore.sensitivity import measured
from qcore.sensitivity.measured import compute_table
from tests.small_nets import small_data

WIDTHS = (4, 5)
"""Where damage is quadratic."""

LEAST = 1e-6
"""Nats that are well above the rounding of floats."""


class Reader(nn.Module):
    """Sixteen tokens of four pixels, one block of attention, the mean of all tokens, four classes.

    Mean pooling gives every token the same gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 16)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.out = nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)
        self.first, self.second = nn.LayerNorm(16), nn.LayerNorm(16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.embed(x.flatten(1).view(-1, 16, 4))
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 4
        x = self.first(x + self.out(scores.softmax(2) @ self.value(x)))
        x = self.second(x + self.down(nn.functional.gelu(self.up(x))))
        return self.head(x.mean(1))


def reader():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = Reader()
        nn.init.normal_(net.head.weight, std=0.7)
        nn.init.normal_(net.embed.weight, std=1.0)
    return net.eval()


@pytest.fixture(scope="module")
def evaluator():
    generator = torch.Generator().manual_seed(3)
    # the tokens of an image have most in common, as the words of a sentence do
    shared = torch.randint(0, 224, (256, 1, 4), generator=generator)
    own = torch.randint(0, 32, (256, 16, 4), generator=generator)
    pixels = (shared + own).view(256, 1, 8, 8).to(torch.uint8)
    data = replace(small_data(), calibration=Images(pixels, None, (0.44,), (0.25,)))
    net = reader()
    found = find_layers(net, torch.zeros(1, 1, 8, 8), "reader")
    return Evaluator(QuantizedModel(net, found), data, batch_size=128)


@pytest.fixture(scope="module")
def tables(evaluator):
    """Every width's divergence is measured, also of those that `kl` derives from narrower ones."""
    kinds = ("gradient", "gradient_elementwise", "kl", "logit_gram")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measured, "MEASURED_UP_TO", max(WIDTHS))
        return {kind: compute_table(kind, evaluator, WIDTHS, (6,)) for kind in kinds}


def ratios(tables, kind):
    """Score over measured one-layer divergence, of every layer, part and width."""
    return [
        score / wanted
        for part in ("weight", "activation")
        for name, row in getattr(tables["kl"], part).items()
        for bits, wanted in row.items()
        if wanted > LEAST
        for score in [getattr(tables[kind], part)[name][bits]]
    ]


def test_the_score_is_the_divergence_of_one_layer_where_damage_is_quadratic(tables):
    found = ratios(tables, "gradient")
    assert len(found) >= 16
    assert min(found) > 0.85
    assert max(found) < 1.15


def test_the_curvature_of_the_answers_gives_the_same_divergence(tables):
    found = ratios(tables, "logit_gram")
    assert len(found) >= 16
    assert min(found) > 0.85
    assert max(found) < 1.15


def test_value_by_value_it_is_too_small_by_multiples(tables):
    found = ratios(tables, "gradient_elementwise")
    assert sum(ratio < 0.25 for ratio in found) >= 10


@pytest.mark.parametrize("kind", ["gradient", "logit_gram"])
def test_scores_are_the_diagonal_of_the_pairs(tables, kind):
    table = tables[kind]
    for row, (name, part, bits) in enumerate(table.pair_index):
        assert getattr(table, part)[name][bits] == table.pairs[row, row]
    assert tables["gradient_elementwise"].pairs is None
