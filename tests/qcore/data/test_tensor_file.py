"""Tensors from a file: read by two formats, split by the seed, and checked."""

import numpy as np
import pytest
import torch

from qcore.data import load_data
from qcore.data.splits import Images, normalisation_note
from qcore.data.tensor_file import read_tensors
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from tests.own_networks import Payload, tensor_file
from tests.pictures import rows

X = np.random.default_rng(0).integers(0, 256, (40, 1, 6, 6), dtype=np.uint8)
Y = np.arange(40) % 4


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_both_formats_give_the_same_splits(tmp_path, suffix):
    path = tensor_file(tmp_path / f"d{suffix}")
    data = load_data(f"tensors:{path}", calibration=20, search=30)
    assert (len(data.calibration), len(data.search), len(data.test)) == (20, 30, 10)
    assert len(rows(data.calibration) | rows(data.search) | rows(data.test)) == 60
    assert (data.classes, data.input_shape) == (3, (1, 8, 8))
    again = load_data(f"tensors:{path}", calibration=20, search=30)
    other = load_data(f"tensors:{path}", calibration=20, search=30, seed=1)
    assert data.digest == again.digest != other.digest
    reference = np.load(tensor_file(tmp_path / "r.npz"))
    place = {x.tobytes(): int(y) for x, y in zip(reference["x"], reference["y"], strict=True)}
    pairs = zip(data.search.pixels.numpy(), data.search.labels.tolist(), strict=True)
    assert all(place[x.tobytes()] == y for x, y in pairs)


def test_test_images_of_the_file_are_the_test_split(tmp_path):
    path = save(tmp_path / "d.npz", x=X[:30], y=Y[:30], x_test=X[30:], y_test=Y[30:])
    data = load_data(f"tensors:{path}", calibration=10, search=10, training=True)
    assert np.array_equal(data.test.pixels.numpy(), X[30:])
    assert len(data.training) == 10


def test_images_without_labels_are_label_free(tmp_path):
    data = load_data(f"tensors:{save(tmp_path / 'd.npz', x=X)}", calibration=10, search=10)
    assert data.classes is None
    assert data.test.labels is None


def test_grey_images_and_channels_last_are_understood(tmp_path):
    assert read_tensors(save(tmp_path / "a.npz", x=X[:, 0])).x.shape == (40, 1, 6, 6)
    moved = read_tensors(save(tmp_path / "b.npz", x=np.zeros((4, 5, 5, 3), np.uint8)))
    assert moved.x.shape == (4, 3, 5, 5)
    assert "channels last" in moved.notes[0]


NAN = np.full((40, 1, 6, 6), 0.5, np.float32)
NAN[3, 0, 2, 2] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": X}, "has no x; it holds images"),
        ({"x": X[0, 0]}, r"shape \(n, channels, height, width\)"),
        ({"x": X[:0]}, "none of them 0"),
        ({"x": X.astype(np.int32)}, r"torch\.int32; images are uint8"),
        ({"x": NAN}, "1 images of x hold NaN"),
        ({"x": X.astype(np.float32)}, r"look like 0\.\.255"),
        ({"x": X / 100.0 - 1.0}, "look normalised already"),
        ({"x": X, "y": Y[:-1]}, r"shape \(40,\); got \(39,\)"),
        ({"x": X, "y": Y / 2}, "whole numbers"),
        ({"x": X, "y": Y - 1}, "down to -1"),
        ({"x": X, "y": Y + 1000}, "are they class numbers"),
        ({"x": X, "y": Y * 0}, "at least two classes"),
        ({"x": X, "y": Y, "classes": 3}, "which 3 classes do not reach"),
        ({"x": X, "y": Y, "x_test": X}, "only one of x and x_test"),
        ({"x": X, "x_test": X[:, :, :3]}, "x_test of"),
        ({"x": np.array(["a", "b"])}, "array of numbers"),
    ],
)
def test_what_cannot_be_images_and_labels_is_refused(tmp_path, arrays, message):
    with pytest.raises(InvalidData, match=message):
        read_tensors(save(tmp_path / "d.npz", **arrays))


def test_labels_that_count_from_one_and_missing_classes_are_noted(tmp_path):
    found = read_tensors(save(tmp_path / "d.npz", x=X, y=Y + 1))
    assert "No image has label 0" in found.notes[0]
    found = read_tensors(save(tmp_path / "e.npz", x=X, y=Y, classes=7))
    assert (found.classes, found.notes) == (7, ("3 of 7 classes have no image.",))


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_code_and_damage_in_a_file_of_tensors(tmp_path, suffix):
    marker, path = tmp_path / "ran", tmp_path / f"d{suffix}"
    if suffix == ".npz":
        np.savez(path, x=np.array([Payload(marker)], dtype=object))
    else:
        torch.save({"x": Payload(marker)}, path)
    with pytest.raises(InvalidData, match="cannot be read as plain tensors"):
        read_tensors(path)
    assert not marker.exists()
    whole = tensor_file(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidData, match="cannot be read as plain tensors"):
        read_tensors(path)
    with pytest.raises(DataUnavailable, match="nowhere"):
        read_tensors(tmp_path / f"nowhere{suffix}")


def test_too_few_images_for_the_splits(tmp_path):
    path = save(tmp_path / "d.npz", x=X, y=Y)
    with pytest.raises(InvalidParams, match="leave none to test on"):
        load_data(f"tensors:{path}", calibration=20, search=20)


@pytest.mark.parametrize(
    ("mean", "std", "odd"),
    [((0.5,), (0.289,), False), ((0.0,), (1.0,), True), ((0.5,), (1.0,), True),
     ((0.1,), (0.289,), True), ((0.5,), (0.05,), True)],
)  # fmt: skip
def test_odd_normalisation_is_noted(mean, std, odd):
    pixels = torch.randint(0, 256, (64, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    images = Images(pixels.to(torch.uint8), None, mean, std)
    assert bool(normalisation_note(images)) is odd
