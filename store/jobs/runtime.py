"""What a switchable network answers at each of its bits, computed in a process of its own.

`python -m store runtime 3` runs the network that run 3 has trained on ten samples of its search
split, at every allocation that was measured of it (of many those on some front), and keeps the
record beside the other files of the database. The server then only looks answers up.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from qcore.allocation import BitAllocation, ModelSpec
from qcore.costs import COSTS, costs_of
from qcore.costs.formulas import CostModel
from qcore.errors import InvalidParams, StoreError
from qcore.front import front_points
from qcore.pictures.served import (
    MOST_FILE,
    MOST_SERVED,
    ServedRecord,
    dump_served,
    parse_served,
)
from qcore.searches import SEARCHES, metanetwork
from store.bounds import Opening
from store.database import Store
from store.jobs import opening as steps
from store.jobs import records
from store.jobs.opening import Look, Pool
from store.runs import points, queue
from store.runs.checkpoints import has_stage, trained_stage
from store.runs.files import files_folder
from store.runs.points import StoredPoint

MOST_RECORDS = 100
"""Records that are kept; the oldest go first."""

RUNTIME = Pool(2, "other networks at run time are being looked at", threads=0)


def _stage_of(run: queue.Run) -> str:
    """The stage that holds a run's switchable network; "" where it leaves none."""
    return SEARCHES[run.spec.search].leaves if run.spec.search in SEARCHES else ""


def missing(store: Store, run: queue.Run) -> str:
    """Why the network of a run cannot be run here, in a sentence; "" where it can."""
    stage = _stage_of(run)
    if not stage:
        return (
            f"Run {run.id} trains no network that switches; choose one of "
            f"{', '.join(sorted(name for name in SEARCHES if SEARCHES[name].leaves))}."
        )
    if run.origin:
        return (
            f"The results of run {run.id} were {run.origin}, without the network that was trained."
        )
    if run.state != "done":
        return f"Run {run.id} is {run.state}: its network is not trained to the end."
    if not has_stage(store, run.id, stage):
        return f"The file of the network that run {run.id} has trained is not on this machine."
    return ""


def measured(store: Store, run: queue.Run) -> list[StoredPoint]:
    """Points that were measured on the network of a run, then or later, on the same samples.

    Each allocation once, as it was tested where it was; of many those that are on the front of some
    cost, at most MOST_SERVED, evenly over their weights.
    """
    stage = _stage_of(run)
    if not stage:
        return []
    later = [
        each.id
        for each in queue.all_runs(store, run.spec.model)
        if each.spec.search == metanetwork.SEARCH.name
        and each.spec.params.get("run") == run.id
        and _samples(each) == _samples(run)
    ]
    wanted = {(run.id, stage), *((number, f"run-{run.id}/{stage}") for number in later)}
    found: dict[BitAllocation, StoredPoint] = {}
    for stored in points.points_of(store, [run.id, *later]):
        if (stored.run_id, stored.point.stage) not in wanted:
            continue
        known = found.get(stored.point.allocation)
        if known is None or (known.point.test is None and stored.point.test is not None):
            found[stored.point.allocation] = stored
    model = points.model_facts(store, run.spec.model)
    if model is None:
        return []
    return chosen(list(found.values()), model, run.spec.objective, store.costs)


def chosen(
    stored: Sequence[StoredPoint],
    model: ModelSpec,
    objective: str,
    costs: Mapping[str, CostModel] = COSTS,
    most: int = MOST_SERVED,
) -> list[StoredPoint]:
    """At most so many points, those on the front of some cost first, in rising weight bytes.

    Args:
        stored: Points of one network.
        model: Prices them.
        objective: What is minimised, "kl" or "loss".
        costs: The costs there are.
        most: How many.
    """
    ordered = sorted(stored, key=lambda each: (_bytes(each, model), each.id))
    if len(ordered) <= most:
        return ordered
    values = [each.point.search.value(objective) for each in ordered]
    prices = [costs_of(model, each.point.allocation, costs) for each in ordered]
    on: set[int] = set()
    for name in costs:
        priced = [at for at, row in enumerate(prices) if name in row]
        rows = front_points([prices[at][name] for at in priced], [values[at] for at in priced])
        on |= {priced[at] for at in rows}
    kept = sorted(on)
    steps = np.linspace(0, len(kept) - 1, min(most, len(kept))).round().astype(int)
    return [ordered[kept[step]] for step in sorted(set(steps.tolist()))]


def record_path(store: Store, run: queue.Run, allocations: Sequence[BitAllocation]) -> Path:
    """Where the record of a run's network at these bits lies, or would."""
    # a number may be given again once its run was deleted: when it was made tells them apart
    asked = [run.id, run.created, run.spec.to_json(), [each.digest for each in allocations]]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]
    return files_folder(store) / "runtime" / f"{digest}.json"


def read_record(path: Path) -> ServedRecord | None:
    """The record of a file; None where there is none yet.

    Raises:
        InvalidData: it is damaged; it was removed, so that it can be computed again.
    """
    return records.read(path, parse_served, MOST_FILE, "answers")


def compute(
    store: Store,
    run_id: int,
    tell: Callable[[str], None] = lambda words: None,
    opening: Opening = nullcontext,
) -> tuple[ServedRecord, Path]:
    """Run the network of a run at each of its bits and keep the record. Loads torch.

    Args:
        store: The database.
        run_id: The run.
        tell: Told in a few words what is being done.
        opening: Gives what is entered while network and data are opened, to bound it.

    Raises:
        QcoreError: there is no such network here; says why.
    """
    run = queue.run(store, run_id)
    if reason := missing(store, run):
        raise InvalidParams(reason)
    asked = [each.point.allocation for each in measured(store, run)]
    if not asked:
        raise InvalidParams(
            f"No bits of the network of run {run.id} were measured; search its bits first."
        )
    data = trained_stage(store, run.id, _stage_of(run))
    if data is None:
        raise StoreError(f"The file of the network that run {run.id} has trained is damaged.")
    from qcore.pictures.serving import serve

    record = serve(run.spec, data, asked, tell=tell, opening=opening)
    path = record_path(store, run, asked)
    records.write(path, dump_served(record))
    records.forget_oldest(path.parent, MOST_RECORDS)
    return record, path


def start(store: Store, run: queue.Run, path: Path) -> None:
    """Compute the record of a run in a new process, unless one is at it.

    Raises:
        InvalidParams: others are being computed; wait.
        StoreError: the process could not be started.
    """
    request = {"kind": "runtime", "run": run.id}
    steps.start(store, request, pool=RUNTIME, name=_step(store, path))


def look(store: Store, path: Path) -> Look | None:
    """How far a record is that `start` began here; None where nothing was begun, or it was told.

    A failure is told once.
    """
    return steps.told(store, _step(store, path))


def _step(store: Store, path: Path) -> str:
    return steps.name_of(store, "runtime", path.stem)


def told(record: ServedRecord, path: Path) -> list[str]:
    """What the command line says of a record."""
    lines = [
        str(path),
        f"{record.count:,} of {record.total:,} search samples of {record.data} at "
        f"{len(record.served):,} allocations; no test sample was looked at",
    ]
    if record.floats.classes is not None:
        changes = [
            int(np.not_equal(each.answers.classes, record.floats.classes).sum())
            for each in record.served
            if each.answers.classes is not None
        ]
        lines.append(
            f"answers other than the float network's: {min(changes)} to {max(changes)} of "
            f"{record.count}"
        )
    return lines


def _samples(run: queue.Run) -> tuple[object, ...]:
    """What makes the scores of two runs comparable: the samples, and what they are judged by."""
    spec = run.spec
    return spec.images, spec.search_images, spec.images_seed, str(spec.judge), spec.objective


def _bytes(stored: StoredPoint, model: ModelSpec) -> int:
    return COSTS["weight_bytes"].total(model, stored.point.allocation)
