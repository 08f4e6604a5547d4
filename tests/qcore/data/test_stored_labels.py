"""Labels are read from the ways in which people store them, and what was converted is said."""

import numpy as np
import pytest
import torch

from qcore.data import load_data
from qcore.data.tensor_file import read_tensors
from qcore.errors import InvalidData

N = 40
X = np.random.default_rng(0).integers(0, 256, (N, 1, 6, 6), dtype=np.uint8)
Y = np.arange(N) % 4


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("stored", "note"),
    [
        (Y, ""),
        (Y.astype(np.uint16), ""),
        (Y.astype(">i4"), ""),
        (Y[:, None], "was read as (40,)"),
        (Y.astype(np.float32), "all are whole numbers"),
        (Y.astype(">f8"), "all are whole numbers"),
        (Y[:, None].astype(np.float16), "all are whole numbers"),
        (np.eye(4)[Y], "one-hot, of 4 classes"),
        (np.eye(4, dtype=bool)[Y], "one-hot, of 4 classes"),
        (np.eye(4, dtype=np.int64)[Y], "one-hot, of 4 classes"),
    ],
)
def test_labels_as_people_store_them(tmp_path, stored, note):
    found = read_tensors(save(tmp_path / "d.npz", x=X, y=stored))
    assert found.y.dtype == torch.int64
    assert found.y.tolist() == Y.tolist()
    assert found.classes == 4
    assert any(note in words for words in found.notes) if note else found.notes == ()


def test_truth_values_are_two_classes(tmp_path):
    found = read_tensors(save(tmp_path / "d.npz", x=X, y=Y > 1))
    assert found.y.tolist() == (Y > 1).astype(int).tolist()
    assert (found.classes, found.notes[0]) == (
        2,
        "y holds truth values; false is class 0, true class 1.",
    )


@pytest.mark.parametrize("width", [5, 41])
def test_one_hot_labels_say_how_many_classes_there_are(tmp_path, width):
    found = read_tensors(save(tmp_path / "d.npz", x=X, y=np.eye(width)[Y]))
    assert found.classes == width
    assert f"{width - 4} of {width} classes have no image." in found.notes


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.eye(4)[Y] * 0.9, "other numbers than 0 and 1"),
        (np.eye(4)[Y] + np.eye(4)[(Y + 1) % 4], "40 rows do not have exactly one 1"),
        (np.zeros((N, 4)), "40 rows"),
        (Y + 0.25, r"y is 0\.25 at place 0; class numbers are whole"),
        (np.where(Y == 3, np.nan, Y), r"y is nan at place 3"),
        (np.where(Y == 3, np.inf, Y), r"down to|are they|whole"),
        (Y[None], r"\(40,\); got \(1, 40\)"),
        (np.zeros((N, 4, 2)), "got"),
        (Y[:, None][:20], "got"),
        (Y.astype(np.complex64), "complex64"),
    ],
)
def test_what_is_no_class_number_is_refused(tmp_path, y, message):
    with pytest.raises(InvalidData, match=message):
        read_tensors(save(tmp_path / "d.npz", x=X, y=y))


NAMES = np.array(["cat", "dog", "eel", "fox"])


@pytest.mark.parametrize("names", [NAMES, NAMES.astype("S"), NAMES[:, None]])
def test_classes_may_be_given_by_name(tmp_path, names):
    path = save(tmp_path / "d.npz", x=X, y=Y, classes=names)
    found = read_tensors(path)
    assert (found.classes, found.names, found.notes) == (4, tuple(NAMES.tolist()), ())
    data = load_data(f"tensors:{path}", calibration=10, search=10)
    assert data.class_names == found.names
    assert data.classes == 4


@pytest.mark.parametrize(
    "given",
    [
        ["cat", "dog", "eel", "fox"],
        ("cat", "dog", "eel", "fox"),
        {0: "cat", 1: "dog", 2: "eel", 3: "fox"},
        {"cat": 0, "fox": 3, "dog": 1, "eel": 2},
        {"3": "fox", "0": "cat", "1": "dog", "2": "eel"},
    ],
)
def test_names_of_classes_in_a_torch_file(tmp_path, given):
    torch.save({"x": torch.from_numpy(X), "y": Y.tolist(), "classes": given}, tmp_path / "d.pt")
    assert read_tensors(tmp_path / "d.pt").names == ("cat", "dog", "eel", "fox")


@pytest.mark.parametrize("classes", [6, 6.0, np.array([6]), np.uint8(6), np.array(6.0)])
def test_a_number_of_classes_may_be_any_whole_number(tmp_path, classes):
    assert read_tensors(save(tmp_path / "d.npz", x=X, y=Y, classes=classes)).classes == 6


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (4.5, "one whole number, or the names"),
        ([3, 4], "one whole number, or the names"),
        (["a", "b", "a", "c"], "one class twice"),
        (["a", "b"], "which 2 classes do not reach"),
        ({0: "a", 2: "b"}, "name each class from 0 to 1"),
        ({"a": 1, "b": 1}, "name each class"),
    ],
)
def test_classes_that_cannot_be_are_refused(tmp_path, classes, message):
    torch.save(
        {"x": torch.from_numpy(X), "y": torch.from_numpy(Y), "classes": classes}, tmp_path / "d.pt"
    )
    with pytest.raises(InvalidData, match=message):
        read_tensors(tmp_path / "d.pt")


def test_labels_may_be_names(tmp_path):
    found = read_tensors(save(tmp_path / "d.npz", x=X, y=NAMES[::-1][Y]))
    assert found.names == ("cat", "dog", "eel", "fox")
    assert found.y.tolist() == (3 - Y).tolist()
    told = read_tensors(save(tmp_path / "e.npz", x=X, y=NAMES[Y], classes=NAMES[::-1]))
    assert told.y.tolist() == (3 - Y).tolist()
    with pytest.raises(InvalidData, match="not in classes: fox"):
        read_tensors(save(tmp_path / "f.npz", x=X, y=NAMES[Y], classes=NAMES[:3]))


def test_named_labels_of_both_arrays_share_their_numbers(tmp_path):
    path = save(
        tmp_path / "d.npz", x=X[:20], y=NAMES[Y[:20] % 2 + 2], x_test=X[20:], y_test=NAMES[Y[20:]]
    )
    found = read_tensors(path)
    assert found.y.tolist() == (Y[:20] % 2 + 2).tolist()
    assert found.y_test.tolist() == Y[20:].tolist()
