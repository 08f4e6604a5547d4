import gzip
import struct
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.networks.make_subset import balanced_index
from qcore.allocation import ModelSpec
from qcore.data import (
    SHIPPED_FASHION,
    Images,
    check_data_fits,
    load_data,
    read_fashion_mnist,
)
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from qcore.models._torchvision import torchvision
from tests.pictures import rows

torch.set_num_threads(1)

# ---- the shipped subset


def test_the_shipped_subset_is_small_and_balanced():
    assert SHIPPED_FASHION.stat().st_size < 10_000_000
    licence = SHIPPED_FASHION.with_suffix(".LICENSE").read_text(encoding="utf-8")
    assert "MIT License" in licence
    assert "Copyright © 2017 Zalando SE" in licence
    with np.load(SHIPPED_FASHION, allow_pickle=False) as stored:
        assert np.bincount(stored["train_labels"]).tolist() == [1000] * 10
        assert np.bincount(stored["test_labels"]).tolist() == [1000] * 10
        assert stored["train_images"].shape == stored["test_images"].shape == (10_000, 28, 28)
        index = stored["train_index"]
        assert len(np.unique(index)) == 10_000
        assert index.max() < 60_000


def test_subsets_are_balanced_and_seeded():
    labels = np.arange(100) % 5
    index = balanced_index(labels, 4, seed=1)
    assert np.bincount(labels[index]).tolist() == [4] * 5
    assert np.array_equal(index, balanced_index(labels, 4, seed=1))
    assert not np.array_equal(index, balanced_index(labels, 4, seed=2))


def test_fashion_mnist_splits_are_disjoint_and_the_test_images_are_all_there():
    data = load_data("fashion-mnist", calibration=300, search=500)
    assert (len(data.calibration), len(data.search), len(data.test)) == (300, 500, 10_000)
    assert data.input_shape == (1, 28, 28)
    assert (data.classes, len(data.class_names)) == (10, 10)
    assert data.search.pixels.dtype == torch.uint8
    assert data.search.labels.dtype == torch.int64
    # all 60,000 images of the set differ from one another
    assert len(rows(data.calibration) | rows(data.search)) == 800


def test_the_seed_decides_the_splits():
    one, same, other = (
        load_data("fashion-mnist", calibration=20, search=30, seed=seed) for seed in (1, 1, 2)
    )
    assert one.digest == same.digest != other.digest
    assert torch.equal(one.search.pixels, same.search.pixels)
    assert rows(one.search) != rows(other.search)
    assert torch.equal(one.test.pixels, other.test.pixels)


def test_the_digest_names_the_sizes_too():
    digests = {
        load_data("fashion-mnist", calibration=c, search=s).digest for c, s in ((20, 30), (30, 20))
    }
    assert len(digests) == 2


def test_normalised_pixels_have_about_zero_mean_and_unit_deviation():
    data = load_data("fashion-mnist", calibration=1, search=4000)
    images = torch.cat([batch for batch, _ in data.search.batches(512)])
    assert float(images.mean()) == pytest.approx(0, abs=0.02)
    assert float(images.std()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("calibration", "search", "message"),
    [
        (0, 10, "At least one calibration image"),
        (10, 0, "At least one search image"),
        (6000, 4001, "6000 calibration and 4001 search images .* has 10000 images"),
    ],
)
def test_counts_that_cannot_be_are_refused(calibration, search, message):
    with pytest.raises(InvalidParams, match=message):
        load_data("fashion-mnist", calibration=calibration, search=search)


def test_an_unknown_data_set_is_refused():
    with pytest.raises(InvalidParams, match="Unknown data set 'emnist'"):
        load_data("emnist", calibration=1, search=1)


# ---- images


def test_a_batch_is_scaled_and_normalised_in_order():
    pixels = torch.arange(3 * 2 * 2 * 2, dtype=torch.uint8).view(3, 2, 2, 2)
    images = Images(pixels, torch.tensor([4, 5, 6]), mean=(0.1, 0.2), std=(0.5, 0.25))
    batches = list(images.batches(2))
    assert [len(batch) for batch, _ in batches] == [2, 1]
    got = torch.cat([batch for batch, _ in batches])
    mean, std = torch.tensor([0.1, 0.2]), torch.tensor([0.5, 0.25])
    expected = (pixels / 255 - mean.view(1, 2, 1, 1)) / std.view(1, 2, 1, 1)
    assert got.dtype == torch.float32
    assert torch.allclose(got, expected)
    assert torch.cat([labels for _, labels in batches]).tolist() == [4, 5, 6]


def test_images_without_labels_give_none():
    assert [labels for _, labels in Images(torch.zeros(2, 1, 3, 3)).batches(1)] == [None, None]


@given(st.integers(1, 12), st.integers(1, 15))
def test_batches_hold_every_image_once(count, size):
    images = Images(torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1))
    got = torch.cat([batch for batch, _ in images.batches(size)]).flatten() * 255
    assert got.round().int().tolist() == list(range(count))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (torch.zeros(0, 1, 2, 2), "shape"),
        (torch.zeros(2, 2), "shape"),
        (torch.full((1, 1, 2, 2), float("nan")), "NaN"),
        (torch.full((1, 1, 2, 2), float("inf")), "infinite"),
        (torch.full((1, 1, 2, 2), 1.5), "0..1"),
        (torch.full((1, 1, 2, 2), -0.5), "0..1"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.int64), "int64"),
    ],
)
def test_images_that_cannot_be_used_are_refused(pixels, message):
    with pytest.raises(InvalidData, match=message):
        Images(pixels)


@pytest.mark.parametrize("labels", [torch.zeros(3, dtype=torch.int64), torch.zeros(2)])
def test_labels_that_do_not_match_are_refused(labels):
    with pytest.raises(InvalidData, match="labels"):
        Images(torch.zeros(2, 1, 2, 2), labels)


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(InvalidParams, match="batch size"):
        next(Images(torch.zeros(2, 1, 2, 2)).batches(0))


# ---- fitting a model


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((3, 28, 28), 10, "3 channel.*has 1"),
        ((1, 32, 32), 10, "32x32 pixels.*28x28"),
        ((1, 28, 28), 1000, "1000 outputs.*10 classes"),
    ],
)
def test_data_that_does_not_fit_the_model_is_refused(shape, classes, message):
    data = load_data("fashion-mnist", calibration=1, search=1)
    model = ModelSpec("net", "0" * 64, (), input_shape=shape, classes=classes)
    with pytest.raises(InvalidData, match=message):
        check_data_fits(data, model)


def test_data_that_fits_passes(photos):
    model = ModelSpec("net", "0" * 64, (), input_shape=(1, 28, 28), classes=10)
    check_data_fits(load_data("fashion-mnist", calibration=1, search=1), model)
    without_labels = load_data(f"images:{photos}", calibration=1, search=1)
    check_data_fits(without_labels, ModelSpec("net", "", (), input_shape=(3, 224, 224), classes=7))


# ---- the full Fashion-MNIST


def write_idx(path, array):
    header = struct.pack(f">{1 + array.ndim}i", 0x800 + array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def idx_folder(tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for stem, count in (("train", 30), ("t10k", 12)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        write_idx(folder / f"{stem}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8))
    return folder


def test_the_four_files_are_read(idx_folder, tmp_path):
    (train_x, train_y), (test_x, test_y) = read_fashion_mnist([tmp_path / "no", idx_folder])
    assert train_x.shape == (30, 28, 28)
    assert train_x.dtype == torch.uint8
    assert train_y.dtype == torch.int64
    assert test_x.shape == (12, 28, 28)
    assert test_y.tolist() == [number % 10 for number in range(12)]
    expected = np.random.default_rng(0).integers(0, 256, (30, 28, 28), np.uint8)
    assert np.array_equal(train_x.numpy(), expected)


def test_the_full_set_is_found_under_a_root(idx_folder, tmp_path):
    data = load_data("fashion-mnist", calibration=10, search=20, root=tmp_path, full=True)
    assert len(data.test) == 12
    assert data.input_shape == (1, 28, 28)


def test_missing_files_are_named_with_what_to_do(tmp_path):
    with pytest.raises(DataUnavailable, match="dataset-fashion-mnist"):
        read_fashion_mnist([tmp_path])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(b"no gzip"),
        lambda path: path.write_bytes(gzip.compress(b"")),
        lambda path: path.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\0" * 20)),
        lambda path: write_idx(path, np.zeros((29, 28, 28), np.uint8)),
    ],
)
def test_damaged_files_are_refused(idx_folder, damage):
    damage(idx_folder / "train-images-idx3-ubyte.gz")
    with pytest.raises(InvalidData, match=r"train-images|29, 28, 28"):
        read_fashion_mnist([idx_folder])


# ---- CIFAR


class FakeCifar:
    """Stands in for torchvision's reader, whose files carry fixed checksums."""

    classes = tuple(f"class {number}" for number in range(10))

    def __init__(self, root, train, download):
        count = 20 if train else 6
        self.data = np.random.default_rng(train).integers(0, 256, (count, 32, 32, 3), np.uint8)
        self.targets = [number % 10 for number in range(count)]


def test_cifar_comes_channels_first(monkeypatch, tmp_path):
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", FakeCifar)
    data = load_data("cifar10", calibration=8, search=12, root=tmp_path)
    assert data.input_shape == (3, 32, 32)
    assert (data.classes, len(data.mean)) == (10, 3)
    expected = FakeCifar(None, False, False).data.transpose(0, 3, 1, 2)
    assert np.array_equal(data.test.pixels.numpy(), expected)


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("File not found")])
def test_a_download_that_fails_says_what_to_do(monkeypatch, tmp_path, error):
    def refuse(root, train, download):
        raise error

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", refuse)
    with pytest.raises(DataUnavailable, match=r"CIFAR-100 is not in .*On a machine that is online"):
        load_data("cifar100", calibration=8, search=12, root=tmp_path)
