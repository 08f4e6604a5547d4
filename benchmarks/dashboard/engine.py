"""What the engine costs, what more processes gain, and how soon a killed search goes on.

    python -m benchmarks.dashboard.engine [overhead speedup resume idle reads]

Overhead: seconds between evaluations over seconds of evaluating, of a real run in this process.
Speed-up: one population through each evaluator, taking turns in one process. Resume: a real
`streamlit run app.py` whose worker, then whose server, is killed; seconds to the next new point.
Idle: a server and a supervisor with nothing to do. Reads: what a page reads while four processes
write as fast as they can. Writes benchmarks/results/engine.json, each part with the load average.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.dashboard.server import ROOT, Dashboard, free_port
from qcore.allocation import BitAllocation
from qcore.problem import Point, Window
from qcore.run_spec import RunSpec
from qcore.scoring.executors import open_evaluator
from store import Store, Supervisor, all_runs, create_run, open_store, points_of, run
from store.workers import worker

RESULTS = Path(__file__).parents[1] / "results"
AIM_OVERHEAD = 0.02
SPEC = RunSpec(
    "resnet20",
    "fashion-mnist",
    "random",
    {"evaluations": 24},
    weight_bits=(2, 3, 4, 8),
    calibration_images=256,
    search_images=1024,
)
WRITES = 400
IDLE_S = 10.0
KILLS = 6

Row = dict[str, Any]


class Timed:
    """A prepared problem that adds up the seconds spent in scoring, and stops after the last.

    CPU seconds of this process decide, because they are the same on a busy machine; the wall clock
    is given beside them.
    """

    def __init__(self, prepared: Any, stop: Callable[[], None]) -> None:
        self._prepared, self._stop = prepared, stop
        self.inside, self.evaluations = np.zeros(2), 0
        self.first, self.last = clocks(), clocks()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prepared, name)

    def score(
        self, allocations: Sequence[BitAllocation], stage: str = "ptq", images: Window | None = None
    ) -> Iterator[Point]:
        """Score one at a time, and look at the clock around each."""
        for allocation in allocations:
            started = clocks()
            if not self.evaluations:
                self.first = started
            (point,) = self._prepared.score([allocation], stage, images)
            self.last = clocks()
            self.inside += self.last - started
            self.evaluations += 1
            if self.evaluations == SPEC.params["evaluations"]:
                self._stop()  # reports on the test split are not what is measured
            yield point


def clocks() -> "np.ndarray":
    """CPU seconds of this process, wall-clock seconds."""
    return np.array([time.process_time(), time.perf_counter()])


def prepare(spec: RunSpec, **callbacks: Any) -> Any:
    """The real prepare, with one thread."""
    return worker.default_prepare(spec, **callbacks)


def overhead(folder: Path) -> Row:
    """A real run, in this process: the engine's and the store's share of its time."""
    store = open_store(folder / "overhead.db")
    run_id = create_run(store, SPEC, host="here")
    signals, timed = worker.Signals(), []

    def watched(spec: RunSpec, **callbacks: Any) -> Timed:
        timed.append(Timed(prepare(spec, **callbacks), signals.stop.set))
        return timed[0]

    worker.work(store, run_id, 1, signals, watched)
    (one,) = timed
    outside = one.last - one.first - one.inside
    ms = 1e3 / one.evaluations
    return {
        "evaluations": one.evaluations,
        "stored": len(points_of(store, [run_id])),
        "evaluation_cpu_ms": one.inside[0] * ms,
        "engine_cpu_ms": outside[0] * ms,
        "share": outside[0] / one.inside[0],
        "share_by_wall_clock": outside[1] / one.inside[1],
    }


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A Dask cluster on this machine: a scheduler and workers of one thread; its address."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    base = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = [*base, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    base = [sys.executable, "-m", "distributed.cli.dask_worker"]
    one = [*base, address, "--host", "127.0.0.1", "--nworkers", "1", "--nthreads", "1"]
    with tempfile.TemporaryDirectory() as scratch:
        commands = [scheduler, *[[*one, "--local-directory", scratch, "--no-dashboard"]] * workers]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        processes = [
            subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for command in commands
        ]
        try:
            yield address
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(20)


def seconds_of(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def speedup(folder: Path) -> Row:
    """Twelve allocations through each evaluator in turn; the better of two after a first round."""
    store = open_store(folder / "speedup.db")
    callbacks = {
        "on_progress": lambda words: None,
        "load_table": lambda key: None,
        "save_table": lambda key, table: None,
    }
    store.engine.dispose()
    prepared = prepare(SPEC, **callbacks)
    population = allocations_of(prepared, 12)
    rows: Row = {}
    with cluster(2) as address:
        places = {"inline": "inline", "procs:2": "procs:2", "cluster of 2": address}
        scores: dict[str, list[Any]] = {}
        for name, place in places.items():
            with open_evaluator(place, prepared) as score:

                def work(score: Any = score, name: str = name) -> None:
                    scores[name] = [point.search for point in score(population, "ptq", None)]

                first = seconds_of(work)
                again = [seconds_of(work) for _ in range(2)]
                rows[name] = {"first_s": first, "s": min(again), "all_s": again}
        for name in rows:
            rows[name]["speed_up"] = rows["inline"]["s"] / rows[name]["s"]
            rows[name]["same_scores"] = scores[name] == scores["inline"]
    return rows


def allocations_of(prepared: Any, count: int) -> list[BitAllocation]:
    """Distinct allocations, the same every time."""
    rng = np.random.default_rng(0)
    options = prepared.problem.options
    found: dict[str, BitAllocation] = {}
    while len(found) < count:
        bits = {name: choices[rng.integers(len(choices))] for name, choices in options.items()}
        one = BitAllocation(bits)
        found[one.digest] = one
    return list(found.values())


def wait_for(condition: Callable[[], bool], most_s: float = 120.0) -> float:
    """Seconds until a condition holds."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > most_s:
            raise SystemExit(f"It did not happen within {most_s:g} s.")
        time.sleep(0.01)
    return time.perf_counter() - started


def resume(folder: Path) -> Row:
    """Kill the worker, then the server, of a real search; seconds to its next new point."""
    dashboard = Dashboard(folder / "resume", BITDIAL_WORKERS="1").start()
    store = dashboard.store()
    rows: dict[str, list[float]] = {"worker killed": [], "server killed": [], "of it, boot": []}
    try:
        long = {"evaluations": 2000}
        run_id = create_run(store, RunSpec(**{**spec_fields(SPEC), "params": long}))

        def further() -> Callable[[], bool]:
            before = run(store, run_id).evaluations
            return lambda: run(store, run_id).evaluations > before

        wait_for(lambda: run(store, run_id).evaluations > 3)
        for _ in range(KILLS):
            (process,) = dashboard.workers(run_id)
            process.kill()
            process.wait(10)
            rows["worker killed"].append(wait_for(further()))
        for _ in range(KILLS):
            dashboard.signal(signal.SIGKILL)
            wait_for(lambda: dashboard.processes() == [])
            after, started = further(), time.perf_counter()
            dashboard.start()
            rows["of it, boot"].append(time.perf_counter() - started)
            wait_for(after)
            rows["server killed"].append(time.perf_counter() - started)
    finally:
        dashboard.stop()
    return {name: {"median_s": statistics.median(s), "all_s": s} for name, s in rows.items()}


def spec_fields(spec: RunSpec) -> Row:
    """The fields of a spec."""
    return {name: getattr(spec, name) for name in RunSpec.__dataclass_fields__}


def idle(folder: Path) -> Row:
    """CPU share and memory of a server, and of a supervisor alone, with nothing to do."""
    dashboard = Dashboard(folder / "idle").start()
    try:
        time.sleep(2.0)
        server = psutil.Process(dashboard.pid)
        before = sum(server.cpu_times()[:2])
        time.sleep(IDLE_S)
        share = (sum(server.cpu_times()[:2]) - before) / IDLE_S
        memory = server.memory_info().rss
    finally:
        dashboard.stop()
    supervisor = Supervisor(open_store(folder / "supervisor.db"))
    started = time.process_time()
    time.sleep(IDLE_S)
    without = time.process_time() - started
    supervisor.start()
    time.sleep(1.0)
    started = time.process_time()
    time.sleep(IDLE_S)
    spent = time.process_time() - started - without
    supervisor.stop()
    return {
        "server_cpu_share": share,
        "server_memory_mib": memory / 2**20,
        "supervisor_cpu_share": spent / IDLE_S,
    }


def reads(folder: Path) -> Row:
    """Milliseconds of what a page reads, alone and while four processes write at full speed."""
    store = open_store(folder / "reads.db")
    ids = [create_run(store, SPEC, host="here") for _ in range(4)]
    words = [
        sys.executable,
        "-m",
        "benchmarks.dashboard.writer",
        store.url,
        str(WRITES),
        *map(str, ids),
    ]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as writers:
        if writers.stdout is not None:
            writers.stdout.readline()  # they have started
        busy: dict[str, list[float]] = {name: [] for name in READ}
        started = time.perf_counter()
        while writers.poll() is None:
            for name, read in READ.items():
                busy[name].append(seconds_of(partial(read, store, ids)))
            time.sleep(0.02)
        wrote = 2 * 4 * WRITES / (time.perf_counter() - started)
    row: Row = {
        "points": len(points_of(store, ids)),
        "writes_per_s": wrote,
        "writers_exit_code": writers.returncode,
    }
    for name, read in READ.items():
        calm = [seconds_of(partial(read, store, ids)) for _ in range(100)]
        row[name] = {"while_writing": percentiles(busy[name]), "afterwards": percentiles(calm)}
    return row


READ: dict[str, Callable[[Store, Sequence[int]], object]] = {
    "all runs": lambda store, ids: all_runs(store),
    "all points of one run": lambda store, ids: points_of(store, ids[:1]),
}
"""What a page asks of the store: the runs each second, a run's points when it has new ones."""


def percentiles(seconds: Sequence[float]) -> Row:
    """Median and 99th percentile in ms, and how many."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"median_ms": 1e3 * cuts[49], "p99_ms": 1e3 * cuts[98], "n": len(seconds)}


PARTS: dict[str, Callable[[Path], Row]] = {
    "overhead": overhead,
    "speedup": speedup,
    "resume": resume,
    "idle": idle,
    "reads": reads,
}


def main() -> None:
    """Measure the parts asked for, print and store them, and say whether the aim was met."""
    # so that a run cut short leaves no process either
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    arguments = parser.parse_args()
    chosen = arguments.parts or list(PARTS)
    path = RESULTS / "engine.json"
    rows: Row = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            row = PARTS[name](Path(folder))
            rows[name] = {"load_average": os.getloadavg()[0], "cores": os.cpu_count(), **row}
            print(name, json.dumps(rows[name], indent=1))
            path.write_text(json.dumps(rows, indent=1) + "\n")
    if "overhead" in rows:
        share = rows["overhead"]["share"]
        verdict = "pass" if share <= AIM_OVERHEAD else "FAIL"
        print(f"{verdict}: the engine takes {share:.2%} of an evaluation; aim {AIM_OVERHEAD:.0%}")


if __name__ == "__main__":
    main()
