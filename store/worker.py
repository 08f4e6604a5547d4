"""The process that executes one run: prepare, search, store every point as it comes.

Started by the supervisor with a pipe as standard input: its end of file means the supervisor is
gone, and the worker ends too. It imports torch only once it has a run to work on.
"""

import importlib
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from filelock import FileLock, Timeout

from qcore import __version__
from qcore.config import dump_bits
from qcore.engine import Event, Reported, drive
from qcore.errors import QcoreError, StoreError
from qcore.problem import Point, Progress, RunSpec
from qcore.searches import SEARCHES
from store import points, queue
from store.db import Store, now, open_store

BEAT_S = 2.0
GRACE_S = 3.0
TUNED = "ptq+tuned"
DONE, FAILED, PARENT_GONE, LOCKED, FENCED = 0, 1, 75, 76, 77

Prepare = Callable[..., Any]


class Signals:
    """What this worker was told from outside."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.parent_gone = threading.Event()
        self.fenced = threading.Event()
        self.over = threading.Event()


def watch_parent(signals: Signals) -> None:
    """Stop when standard input ends; leave hard if stopping takes longer than three seconds."""
    while True:
        try:
            # os.read, because a buffered read would abort the interpreter at its exit
            if os.read(0, 1) == b"":
                break
        except OSError:
            break
    signals.parent_gone.set()
    signals.stop.set()
    if not signals.over.wait(GRACE_S):
        os._exit(PARENT_GONE)


def keep_beating(store: Store, run_id: int, attempt: int, signals: Signals) -> None:
    """Beat every two seconds, and pass on a wish to cancel."""
    while not signals.over.wait(BEAT_S):
        try:
            if queue.beat(store, run_id, attempt) == "cancel":
                signals.stop.set()
        except queue.Fenced:
            signals.fenced.set()
            signals.stop.set()
            return
        except QcoreError as error:
            # a database that is away for a moment must not end the search
            sys.stderr.write(f"beat: {error}\n")


def default_prepare(spec: RunSpec, **callbacks: Any) -> Any:
    """`qcore.prepare.prepare`, imported now because it brings torch."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return importlib.import_module("qcore.prepare").prepare(spec, **callbacks)


def provenance(run: queue.Run, point: Point) -> dict[str, Any]:
    """Where a configuration comes from, for its file."""
    spec = run.spec
    torch = sys.modules.get("torch")
    return {
        "run": run.id,
        "run_name": run.name,
        "search": spec.search,
        "params": dict(spec.params),
        "limits": dict(spec.limits),
        "seed": spec.seed,
        "data": spec.data,
        "calibration_images": spec.calibration_images,
        "search_images": spec.search_images,
        "device": point.device,
        "created": now(),
        "bitdial": __version__,
        "torch": str(getattr(torch, "__version__", "")).split("+")[0],
        "python": platform.python_version(),
    }


def work(
    store: Store,
    run_id: int,
    attempt: int,
    signals: Signals,
    prepare: Prepare | None = None,
) -> int:
    """Execute one attempt of a run; returns the process's exit code."""
    run = queue.run(store, run_id)
    try:
        return _search(store, run, attempt, signals, prepare or default_prepare)
    except queue.Fenced:
        return FENCED
    except QcoreError as error:
        queue.finish(store, run_id, attempt, "failed", str(error), traceback.format_exc())
        return FAILED
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        queue.finish(store, run_id, attempt, "failed", words, traceback.format_exc())
        raise


def _search(store: Store, run: queue.Run, attempt: int, signals: Signals, prepare: Prepare) -> int:
    spec, held = run.spec, (run.id, attempt)
    if spec.search not in SEARCHES:
        names = ", ".join(SEARCHES)
        raise StoreError(f"This bitdial has no search {spec.search!r}; known: {names}.")
    search = SEARCHES[spec.search]
    params = search.read_params(spec.params)
    prepared: Any = prepare(
        spec,
        load_table=lambda key: points.load_table(store, key),
        save_table=lambda key, table: points.save_table(store, key, prepared.model.digest, table),
        on_progress=lambda words: queue.note(store, *held, "progress", words),
    )
    points.save_model(store, prepared.model, spec.data, prepared.float_point)
    stored = points.points_of(store, [run.id])
    seen = {s.point.key for s in stored}
    # what an earlier attempt reported is neither looked at on the test split nor tuned again
    reported = {s.point.key: s.point for s in stored if s.has_config}
    queue.note(store, *held, "prepared", "Searching")

    def on_event(event: Event) -> None:
        if isinstance(event, Progress):
            queue.progress(store, *held, event.step, event.total, event.message)
        elif isinstance(event, Reported):
            keep_report(event.point)
        elif event.key not in seen:
            points.add_point(store, *held, event)

    def report(point: Point) -> Point:
        return reported.get(point.key) or prepared.report(point)

    def keep_report(point: Point) -> None:
        if point.key not in reported:
            config = prepared.config(point, provenance(run, point))
            points.add_report(store, *held, point, dump_bits(config))
        tuned_key = (TUNED, point.allocation.digest)
        if spec.tuning and tuned_key not in reported and not signals.stop.is_set():
            tuned = prepared.tuned(point)
            config = prepared.config(tuned, provenance(run, tuned))
            points.add_report(store, *held, tuned, dump_bits(config))

    outcome = drive(
        search,
        prepared.problem,
        params,
        spec.seed,
        score=prepared.score,
        report=report,
        # without their test scores: a search must never see those
        known=[replace(s.point, test=None) for s in stored if s.point.stage != TUNED],
        on_event=on_event,
        should_stop=signals.stop.is_set,
    )
    if signals.fenced.is_set():
        return FENCED
    if signals.parent_gone.is_set():
        queue.requeue(store, *held, "the server stopped; this run goes on when it is back")
        return PARENT_GONE
    state = "cancelled" if outcome.stopped else "done"
    queue.finish(store, *held, state, f"{len(outcome.points)} allocations measured")
    return DONE


def main(
    url: str, run_id: int, attempt: int, *, prepare: Prepare | None = None, piped: bool = True
) -> int:
    """The worker process: lock, beat, work. Returns the exit code."""
    if piped and hasattr(os, "nice"):
        os.nice(10)  # the dashboard stays smooth while its workers take what is left
    store = open_store(url)
    signals = Signals()
    lock = FileLock(store.folder / "locks" / f"run-{run_id}.lock", timeout=0)
    (store.folder / "locks").mkdir(exist_ok=True)
    try:
        lock.acquire()
    except Timeout:
        return LOCKED
    if piped:
        threading.Thread(target=watch_parent, args=(signals,), daemon=True).start()
    beating = threading.Thread(
        target=keep_beating, args=(store, run_id, attempt, signals), daemon=True
    )
    beating.start()
    started = time.monotonic()
    try:
        return work(store, run_id, attempt, signals, prepare)
    finally:
        signals.over.set()
        beating.join(BEAT_S)
        lock.release()
        sys.stderr.write(f"worker ended after {time.monotonic() - started:.1f} s\n")
