"""Columns of Parquet files, samples of unequal length, and masks made of their lengths."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from qcore.data.columns import column_data
from qcore.errors import DataUnavailable, InvalidData
from qcore.inputs import parse_input

N = 12
RNG = np.random.default_rng(0)
LENGTHS = [3 + at % 6 for at in range(N)]
ROWS = [RNG.integers(1, 50, length).tolist() for length in LENGTHS]
TEXT = ("ids:int64:8<50=0", "mask:bool:8")


def read(path, *inputs, counts=(4, 4)):
    wanted = tuple(map(parse_input, inputs))
    return column_data(f"tensors:{path}", "tensors", path, wanted, counts, 0, False)


def together(data, name):
    """A column of all splits."""
    return torch.cat([s.columns[name] for s in (data.calibration, data.search, data.test)])


def save(path, **columns):
    parquet.write_table(pa.table(columns), path, row_group_size=5)
    return path


def test_a_parquet_file_gives_what_the_arrays_in_it_would(tmp_path):
    x, y = RNG.normal(size=(N, 2, 20)).astype(np.float32), np.arange(N) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    nested = pa.array(x.tolist(), pa.list_(pa.list_(pa.float32())))
    forms = {
        "nested": nested,
        "fixed": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 40),
        "large": pa.array(x.reshape(N, 40).tolist(), pa.large_list(pa.float64())),
    }
    expected = read(tmp_path / "a.npz", "x:float32:2x20")
    for kind, column in forms.items():
        path = save(tmp_path / f"{kind}.parquet", x=column, y=pa.array(y))
        found = read(path, "x:float32:2x20")
        for one, other in ((found.test, expected.test), (found.search, expected.search)):
            assert torch.equal(one.columns["x"], other.columns["x"])
            assert torch.equal(one.labels, other.labels)
        assert any("(40,) was read as (2, 20)" in n for n in found.notes) == (kind != "nested")


def test_a_frame_of_pandas_is_read(tmp_path):
    frame = pd.DataFrame({"a": np.arange(N) * 0.5, "flag": np.arange(N) % 2 == 0, "text": "words"})
    frame["labels"] = pd.Categorical(np.arange(N) % 3)
    frame.to_parquet(tmp_path / "a.pq")
    data = read(tmp_path / "a.pq", "a:float32:1", "flag:bool:")
    assert sorted(together(data, "a").flatten().tolist()) == [0.5 * k for k in range(N)]
    assert together(data, "flag").sum() == N // 2
    assert sorted(data.test.labels.tolist() + data.search.labels.tolist())[0] == 0
    assert any("also holds text, not used" in note for note in data.notes)


def parquet_rows(path):
    return save(path, ids=pa.array(ROWS, pa.list_(pa.int32())))


def torch_rows(path):
    torch.save({"ids": [torch.tensor(row) for row in ROWS]}, path)
    return path


def plain_rows(path):
    torch.save({"ids": ROWS}, path)
    return path


@pytest.mark.parametrize(
    ("suffix", "write"), [("parquet", parquet_rows), ("pt", torch_rows), ("pt", plain_rows)]
)
def test_samples_of_unequal_length_are_filled_up_and_masked(suffix, write, tmp_path):
    data = read(write(tmp_path / f"a.{suffix}"), *TEXT)
    ids, mask = together(data, "ids"), together(data, "mask")
    found = {tuple(row[own].tolist()) for row, own in zip(ids, mask, strict=True)}
    assert found == {tuple(row) for row in ROWS}
    assert not bool(ids[~mask].any())
    assert sorted(mask.sum(1).tolist()) == sorted(LENGTHS)
    words = " ".join(data.notes)
    assert f"{sum(n < 8 for n in LENGTHS)} samples of ids were padded to 8 with 0" in words
    assert "mask was made of the samples' lengths" in words


def test_samples_that_are_too_long_are_cut_and_their_mask_is_full(tmp_path):
    data = read(parquet_rows(tmp_path / "a.parquet"), "ids:int64:4<50=1", "attention_mask:int64:4")
    assert any(
        f"{sum(n > 4 for n in LENGTHS)} samples of ids were cut to 4" in n for n in data.notes
    )
    lengths = together(data, "attention_mask").sum(1)
    assert sorted(lengths.tolist()) == sorted(min(n, 4) for n in LENGTHS)


def test_other_fillings_shapes_and_sounds(tmp_path):
    path = save(tmp_path / "a.parquet", x=pa.array([[0.5] * n for n in LENGTHS]))
    data = read(path, "x:float32:1x8=-1")
    assert together(data, "x").shape == (N, 1, 8)
    assert set(together(data, "x").unique().tolist()) <= {-1.0, 0.5}
    steps = [RNG.normal(size=(n, 3)) for n in LENGTHS]
    torch.save({"x": [torch.from_numpy(step) for step in steps]}, tmp_path / "a.pt")
    data = read(tmp_path / "a.pt", "x:float32:8x3=0", "mask:float32:8")
    assert together(data, "x").shape == (N, 8, 3)
    assert sorted(together(data, "mask").sum(1).tolist()) == sorted(LENGTHS)


def test_a_column_of_lengths_makes_the_mask(tmp_path):
    ids = np.tile(np.arange(1, 9), (N, 1))
    for name in ("lengths", "length", "ids_lengths"):
        np.savez(tmp_path / "a.npz", ids=ids, **{name: LENGTHS})
        data = read(tmp_path / "a.npz", *TEXT)
        assert sorted(together(data, "mask").sum(1).tolist()) == sorted(LENGTHS)
    np.savez(tmp_path / "a.npz", ids=ids[:, :6])
    narrow = read(tmp_path / "a.npz", *TEXT)
    assert together(narrow, "mask").sum(1).tolist() == [6] * N
    np.savez(tmp_path / "a.npz", ids=ids, lengths=[0.5] * N)
    with pytest.raises(InvalidData, match="whole numbers"):
        read(tmp_path / "a.npz", *TEXT)
    np.savez(tmp_path / "a.npz", ids=ids)
    with pytest.raises(InvalidData, match="has no mask; it holds ids"):
        read(tmp_path / "a.npz", *TEXT)


def test_states_and_labels_of_unequal_length(tmp_path):
    tags = [[at % 3 for at in range(n)] for n in LENGTHS]
    path = save(tmp_path / "a.parquet", ids=pa.array(ROWS), y=pa.array(tags))
    data = read(path, "ids:int64:8<50=0", "state:float32:2x4=zeros")
    assert together(data, "state").shape == (N, 2, 4)
    labels = torch.cat([s.labels for s in (data.calibration, data.search, data.test)])
    assert labels.shape == (N, 8)
    assert sorted((labels >= 0).sum(1).tolist()) == sorted(LENGTHS)


def changed(place, value):
    rows = [list(row) for row in ROWS]
    rows[place] = value
    return pa.array(rows, pa.list_(pa.int64()))


WRONG = {
    "a null": ({"ids": changed(3, None)}, "ids is null in 1 of 12 rows, first in row 3"),
    "a null in a list": ({"ids": changed(5, [1, None])}, "in 1 of 12 rows, first in row 5"),
    "nulls in numbers": ({"ids": pa.array([None, 1] * 6)}, "in 6 of 12 rows, first in row 0"),
    "text": ({"ids": pa.array(["a"] * N)}, "ids holds string, and numbers are needed"),
    "an empty sample": ({"ids": changed(7, [])}, "ids of sample 7 is empty"),
    "an id beyond the vocabulary": ({"ids": changed(2, [1, 99])}, "holds the id 99"),
    "no such column": ({"tokens": changed(0, [1])}, "has no ids, mask; it holds tokens"),
    "lists in lists": ({"ids": pa.array([[[1, 2]] * n for n in LENGTHS])},
                       "takes samples of shape"),
    "all unequal": ({"ids": pa.array([[[1] * k for k in range(1, n)] for n in LENGTHS])},
                    "lists of lists of unequal length"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_columns_that_cannot_be_used_are_named(case, tmp_path):
    columns, words = WRONG[case]
    path = save(tmp_path / "a.parquet", **columns)
    with pytest.raises(InvalidData) as caught:
        read(path, *TEXT)
    assert words in str(caught.value)


def test_nothing_said_of_padding_is_refused_with_both_lengths(tmp_path):
    path = parquet_rows(tmp_path / "a.parquet")
    with pytest.raises(InvalidData, match="have 3 to 8 places, and input 'ids' takes 8"):
        read(path, "ids:int64:8<50", "mask:bool:8")


def test_files_that_are_no_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(DataUnavailable, match="no file"):
        read(path, *TEXT)
    path.write_bytes(b"PAR1 no more of it")
    with pytest.raises(InvalidData, match="cannot be read as Parquet"):
        read(path, *TEXT)
    save(path, ids=pa.array([], pa.list_(pa.int64())))
    with pytest.raises(InvalidData, match="has no rows"):
        read(path, *TEXT)


ODD = {
    "complex": (lambda ids: ids.astype(np.complex64), "complex numbers"),
    "too large": (lambda ids: ids.astype(np.uint64) + np.uint64(2**63), "2\\^63 and more"),
}


@pytest.mark.parametrize("case", ODD)
def test_numbers_that_would_be_changed_silently_are_refused(case, tmp_path):
    change, words = ODD[case]
    path = tmp_path / "t.npz"
    np.savez(path, ids=change(np.ones((6, 3), np.int64)))
    inputs = (parse_input("ids:int64:3<9"),)
    with pytest.raises(InvalidData, match=words):
        column_data(f"tensors:{path}", "tensors", path, inputs, (2, 2), 0, False)


def test_a_column_of_nothing_is_said_so(tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"ids": [[] for _ in range(6)]}), path)
    inputs = (parse_input("ids:int64:3<9=0"),)
    with pytest.raises(InvalidData, match="holds no value in any row"):
        column_data(f"tensors:{path}", "tensors", path, inputs, (2, 2), 0, False)
