"""The columns of a `.parquet` file as arrays, or as rows where lists are of unequal length."""

from pathlib import Path
from typing import Any

import numpy as np

from qcore.data.listing import shown
from qcore.data.stored_values import Unusable
from qcore.errors import InvalidData, QcoreError
from qcore.process.unpacking import check_unpacked

_WIDEST = 8
"""Bytes of a value, at most."""

SUFFIXES = (".parquet", ".pq")


def read_parquet(path: Path, most: int) -> dict[str, Any]:
    """Read every column: an array (n, ...), rows of unequal length, or why it cannot be used.

    Args:
        path: The file.
        most: Bytes of its values, at most.

    Raises:
        InvalidData: it is damaged, empty or too large.
    """
    # takes a second to load, and is needed by no other file
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            size = _unpacked(file.metadata)
            check_unpacked(path.stat().st_size, size, shown(path), InvalidData)
            if size > most:
                raise InvalidData(
                    f"{shown(path)} holds {size / 1e9:.1f} GB; at most {most / 1e9:.1f} GB are "
                    "read into memory. Use fewer rows."
                )
            table = file.read()
    except QcoreError:
        raise
    except Exception as error:
        # arrow has errors of its own, of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InvalidData(
            f"{shown(path)} cannot be read as Parquet ({reason}). Save it again, or remove it."
        ) from error
    if not table.num_rows:
        raise InvalidData(f"{shown(path)} has no rows; check the file.")
    return {name: _values(table.column(name)) for name in table.column_names}


def _unpacked(facts: Any) -> int:
    """What the values of a file come to, bytes: equal ones are stored once, and read one by one.

    Facts of single columns are not asked for: pyarrow ends the process where they are damaged.
    """
    groups = map(facts.row_group, range(facts.num_row_groups))
    size = sum(int(group.total_byte_size) for group in groups)
    return max(size, facts.num_rows * facts.num_columns * _WIDEST)


def _values(column: Any) -> Any:
    """Values of a column; `Unusable` with the reason where there are none."""
    import pyarrow

    chunks = column.combine_chunks()
    if isinstance(chunks, pyarrow.ChunkedArray):  # of no chunk at all
        chunks = pyarrow.concat_arrays(chunks.chunks)
    if isinstance(chunks, pyarrow.ExtensionArray):
        chunks = chunks.storage
    if pyarrow.types.is_dictionary(chunks.type):
        chunks = chunks.dictionary_decode()
    missing = _nulls(chunks)
    if missing is not None:
        return missing
    types = pyarrow.types
    inner, lists = chunks.type, 0
    while types.is_list(inner) or types.is_large_list(inner) or types.is_fixed_size_list(inner):
        inner, lists = inner.value_type, lists + 1
    if types.is_null(inner):
        return Unusable("holds no value in any row; fill it in, or remove it")
    numeric = types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner)
    if not numeric:
        return Unusable(f"holds {inner}, and numbers are needed; turn it into numbers first")
    return _rows(chunks, lists)


def _rows(chunks: Any, lists: int) -> Any:
    """An array (n, ...) where all lists are equally long, else a list of arrays."""
    if not lists:
        return np.asarray(chunks.to_numpy(zero_copy_only=False))
    inner = _rows(chunks.flatten(), lists - 1)
    lengths = np.asarray(chunks.value_lengths().to_numpy(zero_copy_only=False))
    if len(set(lengths.tolist())) == 1 and isinstance(inner, np.ndarray) and lengths[0]:
        return inner.reshape(len(lengths), int(lengths[0]), *inner.shape[1:])
    ends = np.cumsum(lengths)
    parts = [inner[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    if isinstance(inner, np.ndarray):
        return parts
    try:
        return [np.stack(part) for part in parts]
    except ValueError:
        return Unusable("holds lists of lists of unequal length; make the inner ones equally long")


def _nulls(chunks: Any) -> Unusable | None:
    """Why a column with nulls cannot be used: how many rows have one, and which is the first."""
    mask = np.asarray(chunks.is_null().to_numpy(zero_copy_only=False)).astype(bool)
    if not mask.any() and hasattr(chunks, "flatten") and hasattr(chunks, "value_lengths"):
        inner = _null_places(chunks)
        mask[inner] = True
    if not mask.any():
        return None
    first = int(mask.argmax())
    return Unusable(
        f"is null in {int(mask.sum()):,} of {len(mask):,} rows, first in row {first:,} (the "
        "topmost is 0); fill in what is missing, or remove those rows"
    )


def _null_places(chunks: Any) -> np.ndarray:
    """Rows of lists that hold a null, however deep."""
    flat = chunks.flatten()
    lengths = np.asarray(chunks.value_lengths().to_numpy(zero_copy_only=False)).astype(np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    mask = np.asarray(flat.is_null().to_numpy(zero_copy_only=False)).astype(bool)
    if not mask.any() and hasattr(flat, "value_lengths"):
        mask[_null_places(flat)] = True
    return np.unique(rows[mask])
