"""Label maps of another size than a network's: refused, or scaled where the judge says so."""

import numpy as np
import pytest
import torch
from torch import nn

from qcore.data.samples import Samples
from qcore.data.splits import Images, assemble
from qcore.errors import InvalidData, InvalidParams
from qcore.inputs import parse_input
from qcore.judges import parse_judge
from qcore.judges.tally import tally
from qcore.scoring.targets import fitted_targets, nearest

SCALED = parse_judge("map:targets=nearest")


class Gives(nn.Module):
    """Maps of a size, two classes at each place."""

    def __init__(self, *size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return torch.ones(len(x), 2, *self.size) * torch.tensor([0.0, 1.0]).view(
            1, 2, *[1] * len(self.size)
        )


def data_of(labels, size=(8, 8)):
    n = len(labels)
    pixels = torch.randint(0, 256, (n, 3, *size), dtype=torch.uint8)
    splits = [Images(pixels[i : i + 2], labels[i : i + 2]) for i in (0, 2, 4)]
    return assemble("maps", (), splits, [torch.arange(2)] * 3)


def maps(*size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(-1, 2, (6, *size))).short()


@pytest.mark.parametrize("factor", [(2, 2), (3, 2), (4, 5)])
def test_every_place_has_the_label_of_the_block_it_stands_for(factor):
    small = maps(4, 6)
    large = torch.from_numpy(np.kron(small.numpy(), np.ones((1, *factor), np.int16)))
    assert torch.equal(nearest(large, (4, 6)), small)
    assert torch.equal(nearest(small, tuple(large.shape[1:])), large)


@pytest.mark.parametrize(("there", "size"), [((9, 9), (3, 3)), ((10, 15), (4, 6)), ((7,), (3,))])
def test_a_label_is_the_one_at_the_centre_of_its_place(there, size):
    labels = maps(*there)
    found = nearest(labels, size)
    for place in np.ndindex(size):
        centre = tuple(
            int((at + 0.5) * old / new) for at, old, new in zip(place, there, size, strict=True)
        )
        assert torch.equal(found[(slice(None), *place)], labels[(slice(None), *centre)])


def test_other_sizes_are_refused_with_the_switch_that_scales_them():
    labels = maps(8, 8)
    with pytest.raises(InvalidData, match=r"targets are 8x8.*map:targets=nearest"):
        fitted_targets(data_of(labels), Gives(2, 2), parse_judge("map"))
    with pytest.raises(InvalidParams, match="known: same, nearest"):
        parse_judge("map:targets=bilinear")


@pytest.mark.parametrize("size", [(4, 4), (2, 2), (3, 3), (16, 16)])
def test_all_splits_are_scaled_where_it_is_chosen_and_it_is_said(size):
    labels = maps(8, 8)
    data = fitted_targets(data_of(labels), Gives(*size), SCALED)
    for at, split in enumerate((data.calibration, data.search, data.test)):
        assert torch.equal(split.labels, nearest(labels[2 * at : 2 * at + 2], size))
    assert data.notes[-1].startswith(f"Targets of 8x8 were scaled to the {size[0]}x{size[1]}")
    assert fitted_targets(data_of(labels), Gives(8, 8), SCALED).notes == ()


@pytest.mark.parametrize(
    ("given", "wanted", "words"),
    [((8, 8), (12, 12), "by a whole number"), ((8, 8), (4, 2), "another form")],
)
def test_what_scaling_makes_nothing_of_is_refused(given, wanted, words):
    with pytest.raises(InvalidData, match=words):
        fitted_targets(data_of(maps(*given)), Gives(*wanted), SCALED)


def test_maps_along_time_are_scaled_too_and_scored_where_a_label_counts():
    labels = maps(12).long()
    inputs = (parse_input("sound:float32:48"),)
    parts = [Samples({"sound": torch.randn(2, 48)}, inputs, labels[i : i + 2]) for i in (0, 2, 4)]
    data = assemble("rolls", (), parts, [torch.arange(2)] * 3)
    network, judge = Gives(4), parse_judge("map:targets=nearest:measure=pixels")
    test = fitted_targets(data, network, judge).test
    seen = judge.read(network(test.columns["sound"]), test.columns["sound"])
    score = tally(judge, [(test.columns["sound"], test.labels)], [seen], [seen]).accuracy
    rows = [row[row >= 0] for row in nearest(labels[4:], (4,)).numpy()]
    assert score == pytest.approx(np.mean([np.mean(row == 1) if len(row) else 0 for row in rows]))
