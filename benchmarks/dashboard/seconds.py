"""Where the CPU seconds of a search go: a default portfolio at three cost levels, phase by phase.

    python -m benchmarks.dashboard.seconds [resnet20 resnet8 mobilenet] [--tuning]

Each network is searched twice in processes of their own, by the code that a worker runs: first in
an empty data folder, then as another run in the same one. A phase's seconds are those of this
process's CPU, with what it calls of another phase taken out; all that is done on test images, and
all that tunes, is a phase of its own. Reports are three at most, so that what one of them takes can
be read off. Writes benchmarks/results/seconds.json, with the load average.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.dashboard.server import ROOT

RESULTS = Path(__file__).parents[1] / "results"
MODELS = ("resnet20", "resnet8", "mobilenet")
LEVELS, REPORTED = 3, 3

IMPORTS, OTHER = "imports", "other"
TEST, TUNING = "test images", "tuning"

PHASES: dict[str, tuple[str, ...]] = {
    "data": ("qcore.prepare.load_data", "qcore.prepare.fitted_targets"),
    "network and its layers": ("qcore.prepare.load_model", "qcore.prepare.found_layers"),
    "ranges of inputs": ("qcore.scoring.evaluator.measure_ranges",),
    "steps and grids": (
        "qcore.ptq.model.QuantizedModel.nearest_step",
        "qcore.ptq.model.QuantizedModel.activation_grid",
    ),
    "float answers": ("qcore.scoring.evaluator.Evaluator._float_answers",),
    "choice of the correction": ("qcore.scoring.evaluator.choose_correction",),
    "float moments": ("qcore.ptq.calibration.Correction.__init__",),
    "corrections": ("qcore.ptq.calibration.Correction.apply",),
    "evaluations": ("qcore.scoring.evaluator.Evaluator._scores",),
    "prefixes": ("qcore.sensitivity.prefix.PrefixReplay.__init__",),
    "sensitivity tables": ("qcore.prepare.compute_table",),
    TEST: ("qcore.scoring.evaluator.Evaluator.report",),
    TUNING: ("qcore.scoring.evaluator.tune",),
    "solving": ("store.workers.attempt.drive",),
    "files": ("qcore.prepare.Prepared.config", "store.workers.attempt.dump_bits"),
    "database": tuple(
        f"store.runs.{name}"
        for name in (
            "points.add_point", "points.add_report", "points.save_model", "points.points_of",
            "points.load_table", "points.save_table", "queue.note", "queue.progress",
            "queue.settle", "queue.events", "queue.run", "queue.finish",
        )
    ),
}  # fmt: skip
"""Phase to the functions whose seconds are its own."""

WHOLE = (TEST, TUNING)
"""Phases that keep what they call of other phases."""

Row = dict[str, Any]


class Clock:
    """Adds up the CPU seconds of the phase that is going on."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._open = [OTHER]
        self._since = time.process_time()

    def turn(self) -> None:
        """Give the seconds since the last turn to the phase that is going on."""
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def watched(self, phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, with its seconds counted as a phase's."""

        @wraps(work)
        def counted(*args: Any, **named: Any) -> Any:
            inside = self._open[-1] if self._open[-1] in WHOLE else phase
            self.calls[phase] += inside == phase
            self.turn()
            self._open.append(inside)
            try:
                return work(*args, **named)
            finally:
                self.turn()
                self._open.pop()

        return counted


def watch(clock: Clock) -> None:
    """Put a counted function into the place of each of PHASES."""
    for phase, places in PHASES.items():
        for place in places:
            holder, name = held(place)
            setattr(holder, name, clock.watched(phase, getattr(holder, name)))


def held(place: str) -> tuple[Any, str]:
    """The module or class that a dotted name lies in, and its last part."""
    path, _, name = place.rpartition(".")
    try:
        return importlib.import_module(path), name
    except ModuleNotFoundError:
        outer, _, inner = path.rpartition(".")
        return getattr(importlib.import_module(outer), inner), name


def search_once(model: str, folder: str, tuning: bool) -> Row:
    """Run one search in this process, as a worker does; seconds and calls of each phase."""
    # before anything else, because what is imported is a phase
    worker, store_of = (importlib.import_module(m) for m in ("store.workers.worker", "store"))
    importlib.import_module("torch").set_num_threads(1)
    importlib.import_module("qcore.prepare")
    from qcore.run_spec import RunSpec

    clock = Clock()
    clock.seconds[IMPORTS] = time.process_time()
    clock.calls[IMPORTS] = 1
    watch(clock)
    store = store_of.open_store(Path(folder) / "bitdial.db")
    spec = RunSpec(
        model, "fashion-mnist", "portfolio", {"points": LEVELS}, reported=REPORTED, tuning=tuning
    )
    run_id = store_of.create_run(store, spec, host="here")
    code = worker.work(store, run_id, 1, worker.Signals())
    clock.turn()
    points = store_of.points_of(store, [run_id])
    return {
        "exit_code": code,
        "points": len(points),
        "scores": [[p.point.allocation.digest, p.point.search.kl] for p in points],
        "total_s": sum(clock.seconds.values()),
        "phases": {
            name: {"cpu_s": clock.seconds[name], "calls": clock.calls[name]}
            for name in (IMPORTS, *PHASES, OTHER)
        },
    }


def searched(model: str, folder: Path, tuning: bool) -> Row:
    """The same in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.dashboard.seconds", model, "--here", str(folder)]
    done = subprocess.run(
        [*words, *["--tuning"] * tuning],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "BITDIAL_RECORDINGS": "no"},
        capture_output=True,
        text=True,
        check=True,
    )
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def told(rows: dict[str, Row]) -> str:
    """A network's two searches side by side."""
    first, again = rows["first"], rows["again"]
    lines = [f"{'':26} {'first':>8} {'again':>8}  calls"]
    for name, row in first["phases"].items():
        other = again["phases"][name]
        lines.append(
            f"{name:26} {row['cpu_s']:8.2f} {other['cpu_s']:8.2f}  {row['calls']}, {other['calls']}"
        )
    lines.append(f"{'all':26} {first['total_s']:8.2f} {again['total_s']:8.2f}")
    same = first["scores"] == again["scores"]
    lines.append(f"{first['points']} points; the same to the last bit: {'yes' if same else 'NO'}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS, help="networks")
    parser.add_argument("--tuning", action="store_true", help="tune what is reported, too")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(search_once(given.models[0], given.here, given.tuning)))
        return
    path = RESULTS / "seconds.json"
    kept: Row = json.loads(path.read_text()) if path.exists() else {}
    for model in given.models:
        with tempfile.TemporaryDirectory() as folder:
            rows = {
                name: searched(model, Path(folder), given.tuning) for name in ("first", "again")
            }
        print(f"{model}\n{told(rows)}\n", flush=True)
        same = rows["first"].pop("scores") == rows["again"].pop("scores")
        name = f"{model}, tuned" if given.tuning else model
        kept[name] = {"load_average": os.getloadavg()[0], "same_scores": same, **rows}
        path.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
