"""Starts one worker process per queued run, and sees to it that none is lost or left over.

One thread per server, in charge while it holds the leader lock of its data folder; a second server
on the same folder stands by. Workers are plain subprocesses: `multiprocessing` inside a Streamlit
server would run the page again in the child.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from qcore.errors import QcoreError
from store import queue
from store.db import Store

TICK_S = 0.3
CLOSE_AFTER_S = 2.0
KILL_AFTER_S = 10.0
STOP_WAIT_S = 5.0
MAX_IDLE_ATTEMPTS = 3
LOG_TAIL = 2000
WORKERS_VARIABLE = "BITDIAL_WORKERS"
ROOT = Path(__file__).parent.parent

Command = Callable[[int, int], list[str]]


def default_cap() -> int:
    """How many runs work at once: $BITDIAL_WORKERS, or one a core, at most 4; each has a thread."""
    cores = os.cpu_count() or 1
    try:
        return max(1, int(os.environ.get(WORKERS_VARIABLE, "")))
    except ValueError:
        return min(4, cores)


@dataclass
class _Child:
    attempt: int
    process: "subprocess.Popen[bytes]"
    log: Path
    cancel_seen: float | None = None


class Supervisor:
    """Supervises the workers of one data folder.

    Args:
        store: The open database.
        cap: Most workers at once; None is `default_cap()`.
        command: (run number, attempt) -> command line of its worker; None is the real one.
        tick_s: Seconds between two looks.
    """

    def __init__(
        self,
        store: Store,
        cap: int | None = None,
        command: Command | None = None,
        tick_s: float = TICK_S,
    ) -> None:
        self.store = store
        self.cap = default_cap() if cap is None else cap
        self._command = command or self._worker_command
        self._tick_s = tick_s
        self._host = queue.host_name(store)
        self._lock = FileLock(store.folder / "supervisor.lock", timeout=0)
        self._children: dict[int, _Child] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.leading = False

    def _worker_command(self, run_id: int, attempt: int) -> list[str]:
        worker = [sys.executable, "-m", "store", "--database", self.store.url, "worker"]
        return [*worker, str(run_id), str(attempt)]

    def start(self) -> None:
        """Start supervising in a thread of its own."""
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every worker, put their runs back into the queue, and give up the lock."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        try:
            while not self._stopping.wait(self._tick_s):
                try:
                    if self._lead():
                        self._tick()
                except QcoreError as error:
                    # the database may be away for a moment; the next tick tries again
                    sys.stderr.write(f"supervisor: {error}\n")
        finally:
            self._end_children()
            if self.leading:
                self._lock.release()
                self.leading = False

    def _lead(self) -> bool:
        if self.leading:
            return True
        try:
            self._lock.acquire()
        except Timeout:
            return False
        self.leading = True
        # whoever led before is gone, and its workers end with it: theirs is ours to queue again
        for run_id, attempt in queue.running_here(self.store, self._host):
            if not self._is_worked_on(run_id):
                queue.requeue(self.store, run_id, attempt, "its server ended; queued again")
        return True

    def _is_worked_on(self, run_id: int) -> bool:
        """Whether a process holds the run's lock: exact on one host, whoever started it."""
        lock = FileLock(self.store.folder / "locks" / f"run-{run_id}.lock", timeout=0)
        try:
            with lock:
                return False
        except Timeout:
            return True

    def _tick(self) -> None:
        for run_id, child in list(self._children.items()):
            if child.process.poll() is not None:
                del self._children[run_id]
                self._reap(run_id, child)
            else:
                self._press_cancelled(run_id, child)
        for run_id, attempt in queue.running_here(self.store, self._host):
            if run_id not in self._children and not self._is_worked_on(run_id):
                queue.requeue(self.store, run_id, attempt, "its worker was lost; queued again")
        while len(self._children) < self.cap:
            claimed = queue.claim(self.store, self._host)
            if claimed is None:
                return
            try:
                self._spawn(*claimed)
            except OSError as error:
                words = f"Its worker could not be started: {error}. Submit it again."
                queue.finish(self.store, *claimed, "failed", words)

    def _spawn(self, run_id: int, attempt: int) -> None:
        logs = self.store.folder / "logs"
        logs.mkdir(exist_ok=True)
        (self.store.folder / "locks").mkdir(exist_ok=True)
        path = logs / f"run-{run_id}-{attempt}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                self._command(run_id, attempt),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                # more threads than one fight over these small tensors, and with the dashboard
                env={"OMP_NUM_THREADS": "1", **os.environ},
                start_new_session=True,
            )
        self._children[run_id] = _Child(attempt, process, path)

    def _reap(self, run_id: int, child: _Child) -> None:
        code = child.process.returncode
        if child.process.stdin is not None:
            child.process.stdin.close()
        found = queue.run(self.store, run_id)
        if found.state != "running" or found.attempt != child.attempt:
            return
        if found.want == "cancel":
            queue.finish(self.store, run_id, child.attempt, "cancelled", "stopped on request")
            return
        idle = queue.idle_attempts(self.store, run_id)
        if idle < MAX_IDLE_ATTEMPTS:
            words = f"its worker ended with code {code}; queued again"
            queue.requeue(self.store, run_id, child.attempt, words)
            return
        reason = "killed, probably out of memory" if code == -9 else f"exit code {code}"
        tail = child.log.read_text(errors="replace")[-LOG_TAIL:]
        words = (
            f"Its worker ended {idle} times in a row without measuring anything ({reason}). "
            "Look at the last log lines, then submit it again."
        )
        queue.finish(self.store, run_id, child.attempt, "failed", words, tail)

    def _press_cancelled(self, run_id: int, child: _Child) -> None:
        """A worker that does not stop on request is asked by its pipe, then killed."""
        if queue.run(self.store, run_id).want != "cancel":
            return
        if child.cancel_seen is None:
            child.cancel_seen = time.monotonic()
        waited = time.monotonic() - child.cancel_seen
        if waited > KILL_AFTER_S:
            child.process.kill()
        elif waited > CLOSE_AFTER_S + KILL_AFTER_S / 2:
            self._close(child)

    @staticmethod
    def _close(child: _Child) -> None:
        if child.process.stdin is not None and not child.process.stdin.closed:
            child.process.stdin.close()

    def _end_children(self) -> None:
        for child in self._children.values():
            self._close(child)
        deadline = time.monotonic() + STOP_WAIT_S
        for run_id, child in self._children.items():
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            words = "the server stopped; this run goes on when it is back"
            queue.requeue(self.store, run_id, child.attempt, words)
        self._children.clear()
