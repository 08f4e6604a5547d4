"""What a switchable network answers to a few samples at each of its bits, kept as one JSON file.

Torch-free, so that pages can read it. Everything in it was computed by `qcore.pictures.serving`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore.allocation import BitAllocation
from qcore.errors import InvalidData, QcoreError
from qcore.judges import Judge, read_judge
from qcore.pictures.record import Panel, packed, panels_from_json, panels_to_json, unpacked

FORMAT, VERSION = "bitdial-served", 1
MOST_SERVED = 64
"""Allocations of a record."""

MOST_SAMPLES = 10
MOST_FILE = 8 * 2**20
"""Bytes of a file that is written or read."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network answers to the samples.

    Attributes:
        classes: The likeliest class of each (n,); None where the judge compares no classes.
        sure: Its probability (n,), 0..1; None as above.
        divergence: From the float network's answer (n,), in the judge's unit; zeros of its own.
    """

    classes: np.ndarray | None
    sure: np.ndarray | None
    divergence: np.ndarray


@dataclass(frozen=True, eq=False)
class Served:
    """One allocation, and what the network answers with it."""

    allocation: BitAllocation
    answers: Answers


@dataclass(frozen=True, eq=False)
class ServedRecord:
    """Some samples of a search split, and a switchable network's answers at each of its bits.

    Attributes:
        model: Name of the network.
        data: Name of the data; the samples are the first of its search split, none of its test
            split.
        judge: How answers are compared.
        total: Samples of the split.
        inputs: What the samples are.
        labels: Their class numbers (n,), or None.
        class_names: Names of the classes in label order; () where they have none.
        floats: What the float network answers.
        served: Each allocation once, at most MOST_SERVED.
    """

    model: str
    data: str
    judge: Judge
    total: int
    inputs: tuple[Panel, ...]
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    floats: Answers
    served: tuple[Served, ...]

    @property
    def count(self) -> int:
        """How many samples were answered."""
        return len(self.floats.divergence)

    def find(self, allocation: BitAllocation) -> Answers | None:
        """The answers with these bits; None where none were computed."""
        for each in self.served:
            if each.allocation == allocation:
                return each.answers
        return None


def dump_served(record: ServedRecord) -> str:
    """The record as one line of JSON; `parse_served` reads it back.

    Raises:
        InvalidData: it is larger than a file may be.
    """
    text = json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "model": record.model,
            "data": record.data,
            "judge": record.judge.to_json(),
            "total": record.total,
            "inputs": panels_to_json(record.inputs),
            "labels": None if record.labels is None else packed(record.labels),
            "class_names": list(record.class_names),
            "floats": _to_json(record.floats),
            "served": [
                {"allocation": each.allocation.to_json(), "answers": _to_json(each.answers)}
                for each in record.served
            ],
        }
    )
    if len(text.encode()) > MOST_FILE:
        raise InvalidData(
            f"The answers take {len(text):,} bytes, more than {MOST_FILE:,}: the samples of "
            "this data are too large to be kept."
        )
    return text


def parse_served(text: str) -> ServedRecord:
    """Read what `dump_served` wrote.

    Raises:
        InvalidData: it is no such record, is damaged, or was written by another version.
    """
    try:
        data = json.loads(text)
        if (data["format"], data["version"]) != (FORMAT, VERSION):
            raise ValueError("another format or version")
        record = _read(data)
        _check(record)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, QcoreError) as error:
        raise InvalidData(
            f"The record of answers cannot be read ({str(error)[:200]}); have it computed again."
        ) from error
    return record


def _to_json(answers: Answers) -> dict[str, Any]:
    return {
        "classes": None if answers.classes is None else packed(answers.classes),
        "sure": None if answers.sure is None else packed(answers.sure),
        "divergence": packed(answers.divergence),
    }


def _answers(data: Mapping[str, Any]) -> Answers:
    return Answers(
        None if data["classes"] is None else unpacked(data["classes"]),
        None if data["sure"] is None else unpacked(data["sure"]),
        unpacked(data["divergence"]),
    )


def _read(data: Mapping[str, Any]) -> ServedRecord:
    return ServedRecord(
        model=str(data["model"]),
        data=str(data["data"]),
        judge=read_judge(data["judge"]),
        total=int(data["total"]),
        inputs=panels_from_json(data["inputs"]),
        labels=None if data["labels"] is None else unpacked(data["labels"]),
        class_names=tuple(map(str, data["class_names"])),
        floats=_answers(data["floats"]),
        served=tuple(
            Served(BitAllocation.from_json(each["allocation"]), _answers(each["answers"]))
            for each in data["served"]
        ),
    )


def _check(record: ServedRecord) -> None:
    count = record.count
    if not 1 <= count <= min(MOST_SAMPLES, record.total):
        raise ValueError(f"it holds {count} samples")
    if not 1 <= len(record.served) <= MOST_SERVED:
        raise ValueError(f"it holds {len(record.served)} allocations")
    rows = [record.floats, *(each.answers for each in record.served)]
    _check_columns(rows, record, count)
    for answers in rows:
        if not (np.isfinite(answers.divergence).all() and (answers.divergence >= 0).all()):
            raise ValueError("a divergence is no number of 0 or more")
        if (answers.classes is None) != (record.floats.classes is None):
            raise ValueError("only some of its answers are classes")
        if answers.classes is not None and bool((answers.classes < 0).any()):
            raise ValueError("a class below 0")
        sure = answers.sure
        if (sure is None) != (answers.classes is None):
            raise ValueError("classes without their probabilities")
        if sure is not None and not ((sure >= 0) & (sure <= 1 + 1e-5)).all():
            raise ValueError("a probability outside 0 to 1")
    names = set(record.served[0].allocation)
    if any(set(each.allocation) != names for each in record.served):
        raise ValueError("its allocations are of different layers")


def _check_columns(rows: Sequence[Answers], record: ServedRecord, count: int) -> None:
    flat = [each.divergence for each in rows]
    for row in rows:
        flat += [each for each in (row.classes, row.sure) if each is not None]
    flat += [] if record.labels is None else [record.labels]
    if any(values.shape != (count,) for values in flat):
        raise ValueError("its arrays are not of one length")
    if any(panel.values.ndim < 2 or len(panel.values) != count for panel in record.inputs):
        raise ValueError("its inputs are not of one length")
    for values in [r.classes for r in rows if r.classes is not None]:
        if values.dtype.kind not in "iu":
            raise ValueError("a class that is no whole number")
