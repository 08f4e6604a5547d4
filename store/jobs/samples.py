"""Samples to look at, computed in a process of their own: the server never loads torch.

`python -m store samples 3` runs a kept configuration, and `samples --point 57` a point, on samples
of its search split; the record is kept beside the other files of the database, under the digest of
the configuration's text. A point and the configuration that was kept of it share one record.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from qcore.errors import InvalidParams
from qcore.formats.config import parse_bits
from qcore.pictures.record import MOST_FILE, SampleRecord, dump_record, parse_record
from store.bounds import Opening
from store.database import Store
from store.jobs import opening as steps
from store.jobs import records, verify
from store.jobs.opening import Look, Pool
from store.runs import points
from store.runs.files import files_folder

MOST_RECORDS = 100
"""Records that are kept; the oldest go first."""

SAMPLES = Pool(2, "other records of samples are being made", threads=0)


def record_path(store: Store, text: str) -> Path:
    """Where the record of a configuration's text lies, or would."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return files_folder(store) / "samples" / f"{digest}.json"


def read_record(store: Store, text: str) -> SampleRecord | None:
    """The record of a configuration's text; None where there is none yet.

    Raises:
        InvalidData: it is damaged; it was removed, so that it can be computed again.
    """
    return records.read(record_path(store, text), parse_record, MOST_FILE, "samples")


def content(store: Store, configuration: int | None, point: int | None) -> str:
    """The text of a kept configuration, or of a reported point.

    Raises:
        InvalidParams: neither is named or both are, or there is no such point.
        StoreError: there is no such configuration.
    """
    if (configuration is None) == (point is None):
        raise InvalidParams("Say which configuration (samples 3), or which point (--point 57).")
    if configuration is not None:
        return verify.saved(store, configuration).text
    text = points.config_text(store, int(point or 0))
    if not text:
        raise InvalidParams(f"There is no reported point {point}.")
    return text


def compute(
    store: Store,
    text: str,
    tell: Callable[[str], None] = lambda words: None,
    opening: Opening = nullcontext,
) -> tuple[SampleRecord, Path]:
    """Run a configuration on its search samples and keep the record. Loads torch.

    Args:
        store: The database.
        text: The configuration's text.
        tell: Told in a few words what is being done.
        opening: Gives what is entered while network and data are opened, to bound it.

    Raises:
        QcoreError: it cannot be shown; says why.
    """
    from qcore.pictures.look import look_at

    record = look_at(parse_bits(text, store.costs), tell=tell, opening=opening)
    path = record_path(store, text)
    records.write(path, dump_record(record))
    records.forget_oldest(path.parent, MOST_RECORDS)
    return record, path


def start(store: Store, text: str, words: Sequence[str]) -> None:
    """Compute a record in a new process, unless one is at it.

    Args:
        store: The database.
        text: The configuration's text.
        words: How `python -m store samples` names it: ["3"], or ["--point", "57"].

    Raises:
        InvalidParams: others are being computed; wait.
        StoreError: the process could not be started.
    """
    number = int(words[-1])
    named = {"configuration": None, "point": number} if len(words) > 1 else {
        "configuration": number, "point": None,
    }  # fmt: skip
    steps.start(store, {"kind": "samples", **named}, pool=SAMPLES, name=_step(store, text))


def look(store: Store, text: str) -> Look | None:
    """How far a record is that `start` began here; None where nothing was begun, or it was told.

    A failure is told once.
    """
    return steps.told(store, _step(store, text))


def _step(store: Store, text: str) -> str:
    return steps.name_of(store, "samples", record_path(store, text).stem)


def told(record: SampleRecord, path: Path) -> list[str]:
    """What the command line says of a record."""
    n, worst = len(record.divergence), record.worst
    judge = record.judge
    return [
        str(path),
        f"{n:,} of {record.total:,} search samples of {record.data}, {len(record.numbers):,} kept; "
        "no test sample was looked at",
        f"worst: sample {worst:,}, {judge.divergence_name} {record.divergence[worst]:.4g} "
        f"{judge.unit}; mean {record.divergence.mean():.4g}",
    ]
