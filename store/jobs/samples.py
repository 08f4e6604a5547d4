"""Samples to look at, computed in a process of their own: the server never loads torch.

`python -m store samples 3` runs a kept configuration, and `samples --point 57` a point, on samples
of its search split; the record is kept beside the other files of the database, under the digest of
the configuration's text. A point and the configuration that was kept of it share one record.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from qcore.formats.config import parse_bits
from qcore.pictures.record import MOST_FILE, SampleRecord, dump_record, parse_record
from store.database import Store
from store.jobs import records
from store.jobs.background import Background
from store.jobs.opening import Look
from store.runs.files import files_folder

MOST_RECORDS = 100
"""Records that are kept; the oldest go first."""

SAMPLES = Background("samples", "records of samples")


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


def compute(
    store: Store, text: str, tell: Callable[[str], None] = lambda words: None
) -> tuple[SampleRecord, Path]:
    """Run a configuration on its search samples and keep the record. Loads torch.

    Args:
        store: The database.
        text: The configuration's text.
        tell: Told in a few words what is being done.

    Raises:
        QcoreError: it cannot be shown; says why.
    """
    from qcore.pictures.look import look_at

    record = look_at(parse_bits(text, store.costs), tell=tell)
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
    SAMPLES.start(store, record_path(store, text).stem, words)


def look(store: Store, text: str) -> Look | None:
    """How far a record is that `start` began here; None where nothing was begun, or it was told.

    A failure is told once.
    """
    return SAMPLES.look(store, record_path(store, text).stem)


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
