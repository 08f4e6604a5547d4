"""Gathers that count the samples of a batch are read sample by sample."""

import numpy as np
import pytest
import torch
from onnx import helper

from qcore.models.loading.onnx.file import read_onnx
from qcore.models.loading.onnx.gathered import within_samples
from qcore.models.loading.onnx.operators import Flatten
from tests.qcore.models.loading.test_onnx_sizes import followed, numbers, save, tensor

RNG = np.random.default_rng(0)
N = helper.make_node


def read_by(found, data):
    """What the gather within samples gives."""
    return np.take(data.reshape(found.rows), found.places, axis=1)


@pytest.mark.parametrize("rest", [(), (3,)])
@pytest.mark.parametrize("shape", [(5,), (2, 4)])
def test_a_gather_of_flattened_values_is_one_of_each_sample(shape, rest):
    data = RNG.normal(size=(4 * 6, *rest))
    places = RNG.integers(0, 6, shape)
    index = 6 * np.arange(4).reshape(-1, *[1] * len(shape)) + places
    found = within_samples("Gather", 0, data, index)
    assert np.array_equal(read_by(found, data), np.take(data, index, axis=0))


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_gather_by_several_numbers_is_one_of_each_sample(depth):
    data = RNG.normal(size=(3, 4, 5, 2))
    parts = np.stack([RNG.integers(0, size, (6, 7)) for size in data.shape[1:depth]], -1)
    index = np.zeros((3, 6, 7, depth), np.int64)
    index[..., 0] = np.arange(3)[:, None, None]
    index[..., 1:] = parts
    found = within_samples("GatherND", 0, data, index)
    assert np.array_equal(read_by(found, data), data[tuple(np.moveaxis(index, -1, 0))])


@pytest.mark.parametrize(
    ("op", "axis", "index"),
    [
        ("Gather", 0, [[5, 4], [3, 2], [1, 0]]),  # backwards
        ("Gather", 0, [[0, 1], [2, 3], [4, 6]]),  # of another place
        ("Gather", 0, [[0, 2], [2, 4], [4, 6]]),  # of the next sample
        ("Gather", 1, [[0, 1], [2, 3], [4, 5]]),
        ("GatherND", 0, [[1], [0], [2]]),
        ("GatherND", 1, [[0], [1], [2]]),
    ],
)
def test_what_mixes_samples_stays_as_it_is(op, axis, index):
    assert within_samples(op, axis, RNG.normal(size=(6, 2)), np.array(index)) is None


def test_numbers_of_a_matrix_lie_as_onnx_says():
    x = torch.arange(24).reshape(2, 3, 4)
    sizes = {axis: tuple(Flatten(axis)(x).shape) for axis in (-1, 0, 1, 2, 3)}
    assert sizes == {-1: (6, 4), 0: (1, 24), 1: (2, 12), 2: (6, 4), 3: (24, 1)}


def samples_counted():
    """Nodes that give the number of every sample of c, (n, 1), as `number`."""
    return [
        N("Shape", ["c"], ["s"], name="shape"),
        N("Gather", ["s", "zero"], ["n"], name="count"),
        N("Squeeze", ["n"], ["n0"], name="one"),
        N("Range", ["from", "n0", "by"], ["r"], name="range"),
        N("Unsqueeze", ["r", "one"], ["number"], name="column"),
    ]


FLAT = [
    N("Mul", ["number", "each"], ["first"], name="first"),
    N("Add", ["first", "places"], ["index"], name="index"),
    N("Flatten", ["m"], ["flat"], name="flat", axis=2),
    N("Gather", ["flat", "index"], ["g"], name="mask"),
]
PAIRS = [
    N("Unsqueeze", ["number", "two"], ["number3"], name="deep"),
    N("Mul", ["pairs", "nothing"], ["zeros"], name="zeros"),
    N("Add", ["number3", "zeros"], ["all"], name="all"),
    N("Add", ["pairs", "all0"], ["place"], name="place"),
    N("Concat", ["all", "place"], ["index"], name="both", axis=2),
    N("GatherND", ["m", "index"], ["g"], name="mask"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["flat", "pairs"])
def test_a_mask_that_is_read_by_numbers_of_samples_can_be_followed(way, tmp_path):
    middle = FLAT
    if way == "pairs":
        spread = N("Mul", ["number3", "nothing"], ["all0"], name="spread")
        middle = [*PAIRS[:3], spread, *PAIRS[3:]]
    nodes = [
        N("Conv", ["x", "w"], ["c"], name="conv"),
        N("ReduceMean", ["c", "axes"], ["m"], name="mean", keepdims=0),
        *samples_counted(), *middle,
        N("Reshape", ["g", "rows"], ["f"], name="rows"),
        N("Gemm", ["f", "h"], ["y"], name="head", transB=1),
    ]  # fmt: skip
    pairs = numbers("pairs", 3, 1, 1, 2)
    pairs.dims[:] = [1, 4, 1]
    tensors = [
        tensor("w", 4, 1, 3, 3), tensor("h", 3, 4), numbers("axes", 2, 3), numbers("zero", 0),
        numbers("one", 1), numbers("two", 2), numbers("each", 4), numbers("places", 3, 1, 1, 2),
        numbers("rows", -1, 4), numbers("nothing", 0), pairs, scalar("from", 0), scalar("by", 1),
    ]  # fmt: skip
    path = save(tmp_path / "n.onnx", nodes, tensors)
    followed(path, ["conv", "head"])
    network = read_onnx(path).network
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = torch.cat([network(each[None]) for each in x])
        assert torch.allclose(network(x), alone, atol=1e-6)


def scalar(name, value):
    stored = numbers(name, value)
    del stored.dims[:]
    return stored
