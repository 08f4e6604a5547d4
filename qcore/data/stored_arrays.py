"""The arrays of a `.npz`, `.npy`, `.pt`, `.safetensors` or `.parquet` file, by name.

Nothing in it is run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcore.data.listing import shown
from qcore.data.parquet import SUFFIXES as PARQUET
from qcore.data.parquet import read_parquet
from qcore.data.stored_values import Unusable
from qcore.errors import DataUnavailable, InvalidData, QcoreError
from qcore.process.unpacking import check_unpacked, zip_sizes

MOST_BYTES = 8 * 2**30
MOST_REPEATED = 2**28
"""Bytes of a tensor whose values the file does not hold one by one."""

MAPPED = 64 * 2**20
"""Bytes from which a file is mapped, not copied: what is refused by its shape is never read."""

KEYS = ("x", "y", "x_test", "y_test", "classes")

_ALIASES = {"x_train": "x", "y_train": "y"}
_PAIR = 2


@contextmanager
def unread(path: Path) -> Iterator[None]:
    """Use what a file holds in the body.

    Raises:
        InvalidData: something in it cannot be used as numbers; errors of ours pass.
    """
    try:
        yield
    except QcoreError:
        raise
    except Exception as error:
        raise InvalidData(f"{shown(path)} cannot be used: {why(error)}.") from error


def read_stored(path: Path, notes: list[str]) -> dict[str, Any]:
    """What a file holds, by the names of KEYS where they are spelled in other ways.

    Args:
        path: A `.npz`, a `.npy` (which is x), a `.parquet`, or what torch.save wrote: a dict, a
            pair (x, y), a tensor, or a list of tensors, which are x.
        notes: Gets a sentence where names were read as others.

    Raises:
        DataUnavailable: there is no such file.
        InvalidData: it is damaged or too large, or holds something else.
    """
    stored = _read(path)
    if isinstance(stored, Tensor | np.ndarray):
        return {"x": stored}
    if isinstance(stored, list | tuple):
        return _listed(stored, path, notes)
    if not isinstance(stored, Mapping):
        raise InvalidData(
            f"{shown(path)} holds no tensors but {type(stored).__name__}; save {{'x': x, 'y': y}}."
        )
    # test samples are used as they are, and must outlive a file that is mapped
    found = {
        str(key): value.clone() if isinstance(value, Tensor) and _is_test(key) else value
        for key, value in stored.items()
    }
    for name in [name for name in found if name not in KEYS]:
        meant = _ALIASES.get(name.lower(), name.lower())
        if meant in KEYS and meant not in found:
            found[meant] = found.pop(name)
            notes.append(f"{name} was read as {meant}.")
    return found


def _is_test(key: Any) -> bool:
    return str(key).lower().endswith("_test")


def as_tensor(value: Any, what: str, path: Path) -> Tensor:
    """An array, a tensor, or a list of numbers or of equal tensors, as one tensor.

    Raises:
        InvalidData: it is something else.
    """
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_nested:
            raise InvalidData(f"{shown(path)}: {what} must be a plain tensor; save its to_dense().")
        if value.device.type != "cpu":
            raise InvalidData(f"{shown(path)}: {what} holds no numbers ({value.device.type}).")
        if value.numel() * value.element_size() > MOST_BYTES:
            raise InvalidData(
                f"{shown(path)}: {what} of {tuple(value.shape)} takes more than "
                f"{MOST_BYTES / 1e9:.1f} GB of memory. Use fewer samples."
            )
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "buifc" and value.dtype.itemsize <= 8:
        return torch.from_numpy(_native(value))
    if isinstance(value, Unusable):
        raise InvalidData(f"{shown(path)}: {what} {value.why}.")
    if isinstance(value, list | tuple) and value:
        return _stacked(value, what, path)
    if isinstance(value, bool | int | float | np.generic):
        return torch.as_tensor(value)
    kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise InvalidData(f"{shown(path)}: {what} must be an array of numbers; got {kind}.")


def _native(value: np.ndarray) -> np.ndarray:
    """An array with this machine's order of bytes, one row after the other; itself where it is."""
    native, shared = value.dtype.newbyteorder("="), value.flags.writeable
    return np.ascontiguousarray(value.astype(native, copy=not shared))


def _read(path: Path) -> Any:
    try:
        if path.is_dir():
            raise DataUnavailable(
                f"{shown(path)} is a folder, no file of tensors. Give the file; a folder of images "
                f"is named imagefolder:{shown(path)} or images:{shown(path)}."
            )
        if not path.is_file():
            raise DataUnavailable(f"There is no file {shown(path)} on this machine.")
        size = path.stat().st_size
        unpacked, plain = zip_sizes(path)
        check_unpacked(size, unpacked, shown(path), InvalidData)
        size = max(size, unpacked)
        if size > MOST_BYTES:
            raise InvalidData(
                f"{shown(path)} holds {size / 1e9:.1f} GB; at most {MOST_BYTES / 1e9:.1f} GB are "
                "read into memory. Use fewer images."
            )
        if path.suffix.lower() == ".npy" and path.stat().st_size >= MAPPED:
            return np.load(path, mmap_mode="c", allow_pickle=False)
        if path.suffix.lower() in (".npz", ".npy"):
            # numpy leaves a file open that it cannot read
            with path.open("rb") as stream:
                stored = np.load(stream, allow_pickle=False)
                if isinstance(stored, np.ndarray):
                    return stored
                with stored as archive:
                    return {key: archive[key] for key in archive.files}
        if path.suffix.lower() in PARQUET:
            return read_parquet(path, MOST_BYTES)
        if path.suffix.lower() == ".safetensors":
            # loaders of networks are not needed by any other file
            from qcore.models.loading.weights import read_weights

            return read_weights(path, most=MOST_BYTES)
        mapped = plain and path.stat().st_size >= MAPPED
        document = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        _check_claims(document, path)
        return document
    except QcoreError:
        raise
    except Exception as error:
        # what these libraries meet in a damaged file they raise in any kind
        raise InvalidData(
            f"{shown(path)} cannot be read as plain tensors ({why(error)}). Save it with "
            "numpy.savez(path, x=x, y=y) or torch.save({'x': x, 'y': y}, path)."
        ) from error


def _check_claims(document: Any, path: Path) -> None:
    """Refuse tensors that say they are far larger than what the file holds of them.

    Raises:
        InvalidData: one repeats its values, or all that it says would not fit into memory.
    """
    parts = document.values() if isinstance(document, Mapping) else document
    for part in parts if isinstance(document, Mapping | list | tuple) else (document,):
        if not isinstance(part, Tensor) or part.layout != torch.strided or part.is_meta:
            continue
        claimed = part.numel() * part.element_size()
        repeats = claimed > part.untyped_storage().nbytes()
        if claimed > (MOST_REPEATED if repeats else MOST_BYTES):
            words = ", and repeats fewer values than that (it was expanded)" if repeats else ""
            raise InvalidData(
                f"A tensor of {shown(path)} has {tuple(part.shape)} values{words}: "
                f"{claimed / 1e9:,.1f} GB. Save fewer images, each with its own values."
            )


def why(error: Exception) -> str:
    """What a library said, without its advice to read the file in a way that runs what is in it."""
    words = " ".join(str(error).split())
    if any(option in words.lower() for option in ("weights_only", "weights only", "pickle")):
        return "it is damaged, or holds objects that could run code"
    if isinstance(error, MemoryError | OverflowError):
        return "it asks for more memory than there is"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _listed(stored: Sequence[Any], path: Path, notes: list[str]) -> dict[str, Any]:
    """A pair (images, labels), or images one by one."""
    if not stored:
        raise InvalidData(f"{shown(path)} holds an empty list; save {{'x': x, 'y': y}}.")
    if len(stored) == _PAIR and all(isinstance(part, Tensor | list) for part in stored):
        x, y = stored
        labels = isinstance(y, list) or y.dim() <= 1 < x.dim()
        if len(x) == len(y) and labels and len(y) > 0:
            notes.append("The pair in the file was read as (x, y).")
            return {"x": x, "y": y}
    if all(isinstance(part, list | tuple) and len(part) == _PAIR for part in stored):
        notes.append("The pairs in the file were read as (image, class number).")
        return {"x": [part[0] for part in stored], "y": [part[1] for part in stored]}
    return {"x": list(stored)}


def _stacked(values: Sequence[Any], what: str, path: Path) -> Tensor:
    if not all(isinstance(value, Tensor) for value in values):
        try:
            return torch.as_tensor(values)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidData(
                f"{shown(path)}: {what} is a list of something other than numbers or equal tensors "
                f"({str(error)[:200]})."
            ) from error
    plain = [as_tensor(value, what, path) for value in values]
    for number, value in enumerate(plain):
        if (value.shape, value.dtype) != (plain[0].shape, plain[0].dtype):
            raise InvalidData(
                f"{shown(path)}: the tensors listed in {what} must be equal in shape and type: the "
                f"first has {tuple(plain[0].shape)} ({plain[0].dtype}), number {number + 1} has "
                f"{tuple(value.shape)} ({value.dtype})."
            )
    return torch.stack(plain)
