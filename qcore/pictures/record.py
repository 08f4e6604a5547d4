"""The record of some samples and both networks' answers: plain arrays, kept as one JSON file.

Torch-free, so that pages can read it. Everything in it was computed by `qcore.pictures.look`.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qcore.errors import InvalidData, QcoreError
from qcore.formats.config import BitConfig
from qcore.judges import Judge, read_judge

FORMAT, VERSION = "bitdial-samples", 1
MOST_BYTES = 4 * 2**20
"""Of all arrays of a record; so many samples are kept as fit."""

MOST_FILE = 64 * 2**20
"""Bytes of a file that is read."""

DTYPES = (
    *("bool", "uint8", "uint16", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
FORMS = ("planes", "curves", "ids")


@dataclass(frozen=True, eq=False)
class Panel:
    """One input of the samples.

    Attributes:
        name: What the network calls it; "" for the image of a network of images.
        form: "planes" (k, planes, height, width), uint8 pixels or numbers; "curves" (k, channels,
            length); or "ids" (k, length).
        values: Of the k kept samples, in that form.
        whole: Sizes of one sample before it was made smaller to be shown.
    """

    name: str
    form: str
    values: np.ndarray
    whole: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Answer:
    """What both networks give for one output.

    Attributes:
        judge: How the output is compared.
        weight: How much it counts where there are several.
        divergence: Of each kept sample (k,), in the judge's unit.
        arrays: Named values of the kept samples; `qcore.pictures.views` says which for each judge.
        form: How a signal is laid out, "planes" or "curves"; "" elsewhere.
        worded: True where its tokens are those of the network's input.
    """

    judge: Judge
    weight: float
    divergence: np.ndarray
    arrays: Mapping[str, np.ndarray]
    form: str = ""
    worded: bool = False


@dataclass(frozen=True, eq=False)
class SampleRecord:
    """Some samples of a search split, and what a network and its quantized self answer.

    Attributes:
        model: Name of the network.
        data: Name of the data; the samples are of its search split, never of its test split.
        judge: How the networks' answers are compared.
        divergence: Of every sample that was looked at (n,), in the judge's unit.
        total: Samples of the split; only the first n were looked at where it is larger.
        numbers: Which samples are kept (k,), rising: their places in the split, from 0.
        inputs: What the samples are.
        answers: One for each output that is compared.
        labels: Class numbers of the kept samples (k,), or None.
        class_names: Names of the classes in label order; () where they have none.
        words: Token numbers to their words, where a tokenizer is known.
        notes: Sentences on what is not shown, and why.
    """

    model: str
    data: str
    judge: Judge
    divergence: np.ndarray
    total: int
    numbers: np.ndarray
    inputs: tuple[Panel, ...]
    answers: tuple[Answer, ...]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    words: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> int:
        """Number of the sample whose answers differ most; of equal ones the first."""
        return int(np.argmax(self.divergence))

    def place(self, number: int) -> int:
        """Where a sample lies among the kept ones.

        Raises:
            InvalidData: it is not kept; says which are.
        """
        found = np.flatnonzero(self.numbers == number)
        if not len(found):
            raise InvalidData(
                f"Sample {number:,} is not kept here; {len(self.numbers):,} of "
                f"{len(self.divergence):,} are, from {self.numbers[0]:,} to {self.numbers[-1]:,}."
            )
        return int(found[0])

    def word(self, token: int) -> str:
        """A token as its word, or as its number where no word is known."""
        return self.words.get(int(token), str(int(token)))


def unshown(config: BitConfig) -> str | None:
    """Why the samples of a configuration cannot be shown; None where they can."""
    if not config.state:
        return "it holds bits alone: measure it first, then look at what that gives."
    if not config.provenance.get("data"):
        return "it does not say on which data it was measured."
    return None


def dump_record(record: SampleRecord) -> str:
    """The record as one line of JSON; `parse_record` reads it back."""
    return json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "model": record.model,
            "data": record.data,
            "judge": record.judge.to_json(),
            "divergence": packed(record.divergence),
            "total": record.total,
            "numbers": packed(record.numbers),
            "inputs": panels_to_json(record.inputs),
            "answers": [
                {
                    "judge": answer.judge.to_json(),
                    "weight": answer.weight,
                    "divergence": packed(answer.divergence),
                    "arrays": {name: packed(values) for name, values in answer.arrays.items()},
                    "form": answer.form,
                    "worded": answer.worded,
                }
                for answer in record.answers
            ],
            "labels": None if record.labels is None else packed(record.labels),
            "class_names": list(record.class_names),
            "words": {str(token): word for token, word in record.words.items()},
            "notes": list(record.notes),
        }
    )


def parse_record(text: str) -> SampleRecord:
    """Read what `dump_record` wrote.

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
            f"The record of samples cannot be read ({error}); have it computed again."
        ) from error
    return record


def _read(data: Mapping[str, Any]) -> SampleRecord:
    return SampleRecord(
        model=str(data["model"]),
        data=str(data["data"]),
        judge=read_judge(data["judge"]),
        divergence=unpacked(data["divergence"]),
        total=int(data["total"]),
        numbers=unpacked(data["numbers"]),
        inputs=panels_from_json(data["inputs"]),
        answers=tuple(
            Answer(
                read_judge(each["judge"]),
                float(each["weight"]),
                unpacked(each["divergence"]),
                {str(name): unpacked(values) for name, values in each["arrays"].items()},
                str(each["form"]),
                bool(each["worded"]),
            )
            for each in data["answers"]
        ),
        labels=None if data["labels"] is None else unpacked(data["labels"]),
        class_names=tuple(map(str, data["class_names"])),
        words={int(token): str(word) for token, word in data["words"].items()},
        notes=tuple(map(str, data["notes"])),
    )


def _check(record: SampleRecord) -> None:
    kept = len(record.numbers)
    columns = [panel.values for panel in record.inputs]
    for answer in record.answers:
        columns += [answer.divergence, *answer.arrays.values()]
    columns += [] if record.labels is None else [record.labels]
    if not kept or any(len(values) != kept for values in columns):
        raise ValueError("its arrays are not of one length")
    if not 0 <= int(record.numbers.min()) <= int(record.numbers.max()) < len(record.divergence):
        raise ValueError("it names samples that were not looked at")


def panels_to_json(inputs: Sequence[Panel]) -> list[dict[str, Any]]:
    """Inputs as JSON data; `panels_from_json` reads them back."""
    return [
        {
            "name": panel.name,
            "form": panel.form,
            "values": packed(panel.values),
            "whole": list(panel.whole),
        }
        for panel in inputs
    ]


def panels_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[Panel, ...]:
    """Read what `panels_to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: they are no such inputs, or of an unknown form.
    """
    found = tuple(
        Panel(
            str(each["name"]),
            str(each["form"]),
            unpacked(each["values"]),
            tuple(int(size) for size in each["whole"]),
        )
        for each in data
    )
    if any(panel.form not in FORMS for panel in found):
        raise ValueError("an input of an unknown form")
    return found


def packed(values: np.ndarray) -> dict[str, Any]:
    """An array as JSON data; `unpacked` reads it back."""
    plain = np.ascontiguousarray(values)
    return {
        "dtype": plain.dtype.name,
        "shape": list(plain.shape),
        "base64": base64.b64encode(plain.astype(plain.dtype.newbyteorder("<")).tobytes()).decode(),
    }


def unpacked(data: Mapping[str, Any]) -> np.ndarray:
    """Read what `packed` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is no such array.
    """
    if data["dtype"] not in DTYPES:
        raise ValueError(f"an array of {str(data['dtype'])[:20]!r}")
    dtype = np.dtype(data["dtype"]).newbyteorder("<")
    raw = base64.b64decode(data["base64"], validate=True)
    found = np.frombuffer(raw, dtype).reshape([int(size) for size in data["shape"]])
    return found.astype(np.dtype(data["dtype"]))
