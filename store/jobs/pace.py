"""How fast this machine trains a network: measured once in a process of its own, and kept.

`python -m store pace resnet8` measures it; `run --minutes 30` and the form turn minutes into epochs
by it. It is kept beside the other files of the database, by host, network, data and device.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from qcore.errors import InvalidData
from qcore.qat.pace import Pace
from qcore.run_spec import RunSpec
from store.bounds import Opening
from store.database import Store
from store.jobs import opening as steps
from store.jobs import records
from store.jobs.opening import Look, Pool
from store.runs.files import files_folder
from store.runs.queue import host_name

PACES = Pool(1, "other measurements of speed are being made", threads=0)
"""One at a time: two would slow each other down."""


def pace_path(store: Store, spec: RunSpec) -> Path:
    """Where the pace of a run's network on this machine lies, or would."""
    inputs = "float" if set(spec.activation_bits) == {32} else "quantized"
    said = [host_name(store), os.cpu_count(), spec.model, spec.data, spec.device, inputs]
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]
    return files_folder(store) / "pace" / f"{digest}.json"


def read_pace(store: Store, spec: RunSpec) -> Pace | None:
    """The pace of a run's network on this machine; None where there is none, or a damaged one."""
    try:
        return Pace.from_json(json.loads(pace_path(store, spec).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, InvalidData):
        return None


def forget(store: Store, spec: RunSpec) -> None:
    """Take the pace of a run's network away, so that it is measured again."""
    with contextlib.suppress(OSError):
        pace_path(store, spec).unlink()


def compute(store: Store, spec: RunSpec, opening: Opening = contextlib.nullcontext) -> Pace:
    """Measure it and keep it. Loads torch; takes some seconds.

    Args:
        store: The database.
        spec: Of a run on the network.
        opening: Gives what is entered while network and data are opened, to bound it.

    Raises:
        QcoreError: the network cannot be trained on these data; says why.
    """
    from store.jobs.measured_pace import measure_pace

    inputs = set(spec.activation_bits) != {32}
    found = measure_pace(spec.model, spec.data, device=spec.device, inputs=inputs, opening=opening)
    records.write(pace_path(store, spec), json.dumps(found.to_json()))
    return found


def start(store: Store, spec: RunSpec) -> None:
    """Measure it in a new process, unless one is at it.

    Raises:
        InvalidParams: another is being measured; wait.
        StoreError: the process could not be started.
    """
    request = {"kind": "pace", "spec": spec.to_json()}
    steps.start(store, request, pool=PACES, name=_step(store, spec))


def look(store: Store, spec: RunSpec) -> Look | None:
    """How far what `start` began here is; None where nothing was begun, or it was told."""
    return steps.told(store, _step(store, spec))


def _step(store: Store, spec: RunSpec) -> str:
    return steps.name_of(store, "pace", pace_path(store, spec).stem)


def told(pace: Pace) -> str:
    """What the command line says of a pace."""
    return (
        f"{1 / pace.train_seconds:,.0f} samples a second in training, "
        f"{1 / max(pace.look_seconds, 1e-9):,.0f} looked at; {pace.images:,} training samples; "
        f"a run starts in {pace.start_seconds:.0f} s"
    )
