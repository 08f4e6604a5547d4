"""Class numbers from the ways in which labels are stored, and the names of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcore.data.listing import shown
from qcore.data.stored_arrays import as_tensor
from qcore.errors import InvalidData


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels as stored, read.

    Attributes:
        numbers: Class numbers of each array of labels, int64 (n,); None where there is none.
        classes: Number of classes; None without labels.
        names: Names of the classes in label order; () where none are given.
    """

    numbers: tuple[Tensor | None, ...]
    classes: int | None
    names: tuple[str, ...] = ()


def read_labels(
    stored: Mapping[str, Any], counts: Mapping[str, int], path: Path, notes: list[str]
) -> Labels:
    """Read labels: whole numbers (n,) or (n, 1), whole floats, truth values, one-hot, or names.

    Args:
        stored: The arrays; `classes` says how many there are, or their names.
        counts: Names of the arrays of labels, and how many images each is for.
        path: Of the file, for messages.
        notes: Gets a sentence on what was converted, or looks odd.

    Raises:
        InvalidData: they cannot be class numbers of so many images.
    """
    given, names = _given_classes(stored.get("classes"), path)
    values = {what: stored[what] for what in counts if stored.get(what) is not None}
    words = {what: _words(value) for what, value in values.items()}
    known = [found for found in words.values() if found is not None]
    if known and not names:
        names = tuple(sorted(set().union(*known)))
        notes.append(f"Classes are the {len(names)} names in the labels, in sorted order.")
        given = len(names)
    numbers: list[Tensor | None] = []
    one_hot = None
    for what, count in counts.items():
        value = values.get(what)
        if value is None:
            numbers.append(None)
            continue
        found = words[what]
        if found is not None:
            value = _numbered(found, names, what, path)
        y, hot = _class_numbers(as_tensor(value, what, path), what, count, path, notes)
        one_hot = hot if one_hot is None else one_hot
        numbers.append(y)
    classes = _classes(one_hot if given is None else given, numbers, path, notes)
    return Labels(tuple(numbers), classes, names if classes == len(names) else ())


def _class_numbers(
    y: Tensor, what: str, count: int, path: Path, notes: list[str]
) -> tuple[Tensor, int | None]:
    """Labels as class numbers int64 (n,), and the number of classes where they are one-hot."""
    place, hot = shown(path), None
    if y.dim() == 2 and y.shape == (count, 1):
        y = y[:, 0]
        notes.append(f"{what} of shape ({count}, 1) was read as ({count},).")
    elif y.dim() == 2 and len(y) == count and y.shape[1] > 1:
        y, hot = _from_one_hot(y, what, path), y.shape[1]
        notes.append(f"{what} is one-hot, of {hot} classes; it became class numbers.")
    if y.shape != (count,):
        raise InvalidData(
            f"{place}: {what} must have one class number per image (or a one-hot row), shape "
            f"({count},); got {tuple(y.shape)}."
        )
    if y.dtype == torch.bool:
        notes.append(f"{what} holds truth values; false is class 0, true class 1.")
    elif y.is_floating_point():
        y = y.double()
        odd = (y != y.round()).nonzero()
        if len(odd):
            raise InvalidData(
                f"{place}: {what} is {_value(y, odd)}; class numbers are whole numbers from 0."
            )
        notes.append(f"{what} holds floats; all are whole numbers and were taken as such.")
    elif y.is_complex():
        raise InvalidData(f"{place}: {what} is {y.dtype}; class numbers are whole numbers from 0.")
    y = y.to(torch.int64)
    if int(y.min()) < 0:
        raise InvalidData(f"{place}: {what} goes down to {int(y.min())}; classes count from 0.")
    return y, hot


def _value(y: Tensor, where: Tensor) -> str:
    return f"{float(y[where[0, 0]]):g} at place {int(where[0, 0])}"


def _from_one_hot(y: Tensor, what: str, path: Path) -> Tensor:
    plain = y.to(torch.float64) if not y.is_complex() else y.abs().double()
    binary = bool(((plain == 0) | (plain == 1)).all())
    if binary and bool((plain.sum(1) == 1).all()):
        return plain.argmax(1)
    several = int((plain.sum(1) != 1).sum())
    why = (
        f"{several} rows do not have exactly one 1"
        if binary
        else "its rows hold other numbers than 0 and 1"
    )
    raise InvalidData(
        f"{shown(path)}: {what} of shape {tuple(y.shape)} is not one-hot: {why}. One class number "
        "per image is needed."
    )


def _words(value: Any) -> list[str] | None:
    """Labels that are names; None where they are not."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "US":
        return [_text(one) for one in value.reshape(-1).tolist()]
    if isinstance(value, list | tuple) and value and all(isinstance(v, str | bytes) for v in value):
        return [_text(one) for one in value]
    return None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _numbered(words: Sequence[str], names: tuple[str, ...], what: str, path: Path) -> np.ndarray:
    place = {name: number for number, name in enumerate(names)}
    unknown = sorted(set(words) - set(place))
    if unknown:
        raise InvalidData(
            f"{shown(path)}: {what} names classes that are not in classes: "
            f"{', '.join(unknown[:10])}."
        )
    return np.array([place[word] for word in words], np.int64)


def _given_classes(given: Any, path: Path) -> tuple[int | None, tuple[str, ...]]:
    """How many classes there are, and their names, as the file says."""
    if given is None:
        return None, ()
    if isinstance(given, Mapping):
        given = _in_order(given, path)
    words = _words(given)
    if words is not None:
        if len(set(words)) != len(words):
            raise InvalidData(f"{shown(path)}: classes names one class twice.")
        return len(words), tuple(words)
    told = as_tensor(given, "classes", path)
    if told.numel() != 1 or told.is_complex() or float(told) != int(told):
        raise InvalidData(
            f"{shown(path)}: classes must be one whole number, or the names of all classes; got "
            f"shape {tuple(told.shape)}."
        )
    return int(told), ()


def _in_order(given: Mapping[Any, Any], path: Path) -> list[str]:
    """Names by number, of {0: "cat", ...} or {"cat": 0, ...}."""
    pairs = list(given.items())
    if all(isinstance(number, int) for _, number in pairs):
        pairs = [(number, name) for name, number in pairs]
    # JSON makes words of numbers
    by_number = {int(k): v for k, v in pairs if str(k).isdecimal()}
    if sorted(by_number) != list(range(len(pairs))):
        raise InvalidData(
            f"{shown(path)}: classes must name each class from 0 to {len(pairs) - 1} once."
        )
    return [str(by_number[number]) for number in range(len(pairs))]


def _classes(
    told: int | None,
    numbers: Sequence[Tensor | None],
    path: Path,
    notes: list[str],
) -> int | None:
    known = [y for y in numbers if y is not None]
    if not known:
        return None
    place, together = shown(path), torch.cat(known)
    highest = int(together.max())
    classes = highest + 1 if told is None else told
    if highest >= classes:
        raise InvalidData(
            f"{place}: labels go up to {highest}, which {classes} classes do not reach: they "
            f"count from 0 to {classes - 1}."
        )
    if classes < 2:
        raise InvalidData(f"{place}: every label is 0; at least two classes are needed.")
    if classes > len(together) and told is None:
        raise InvalidData(
            f"{place}: labels go up to {highest}, for {len(together)} images; are they class "
            "numbers?"
        )
    seen = len(torch.unique(together))
    if int(together.min()) == 1 and seen == highest:
        notes.append(
            "No image has label 0: if yours count from 1, subtract 1: classes are 0 to "
            f"{highest - 1}."
        )
    elif seen < classes:
        notes.append(f"{classes - seen} of {classes} classes have no image.")
    return classes
